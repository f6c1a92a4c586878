"""The published networks written anew from their layer tables, with their names of weights, and nothing of ours."""

import torch
from torch import nn
from torch.nn import functional


def instance_norm(width, keeps):
    return nn.InstanceNorm2d(width, track_running_stats=keeps)


class Block(nn.Module):
    def __init__(self, width, keeps):
        super().__init__()
        halves = [[nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), instance_norm(width, keeps)] for _ in range(2)]
        self.conv_block = nn.Sequential(*halves[0], nn.ReLU(True), *halves[1])

    def forward(self, x):
        return x + self.conv_block(x)


class Holder(nn.Module):
    def __init__(self, parts):
        super().__init__()
        self.model = nn.Sequential(*parts)

    def forward(self, x):
        return self.model(x)


def generator(channels=1, outputs=1, width=4, blocks=9, keeps=False):
    w = width
    return Holder(
        [nn.ReflectionPad2d(3), nn.Conv2d(channels, w, 7), instance_norm(w, keeps), nn.ReLU(True)]
        + [nn.Conv2d(w, 2 * w, 3, 2, 1), instance_norm(2 * w, keeps), nn.ReLU(True)]
        + [nn.Conv2d(2 * w, 4 * w, 3, 2, 1), instance_norm(4 * w, keeps), nn.ReLU(True)]
        + [Block(4 * w, keeps) for _ in range(blocks)]
        + [nn.ConvTranspose2d(4 * w, 2 * w, 3, 2, 1, 1), instance_norm(2 * w, keeps), nn.ReLU(True)]
        + [nn.ConvTranspose2d(2 * w, w, 3, 2, 1, 1), instance_norm(w, keeps), nn.ReLU(True)]
        + [nn.ReflectionPad2d(3), nn.Conv2d(w, outputs, 7), nn.Tanh()]
    )


def discriminator(channels=1, width=4, keeps=False):
    w = width
    parts = [nn.Conv2d(channels, w, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for before, after, stride in ((w, 2 * w, 2), (2 * w, 4 * w, 2), (4 * w, 8 * w, 1)):
        parts += [nn.Conv2d(before, after, 4, stride, 1), instance_norm(after, keeps), nn.LeakyReLU(0.2, True)]
    return Holder([*parts, nn.Conv2d(8 * w, 1, 4, 1, 1)])


class Nested(nn.Module):
    """A module under a name, as often as there are names."""

    def __init__(self, names, inner):
        super().__init__()
        name, *more = names
        self.name = name
        self.add_module(name, Nested(more, inner) if more else inner)

    def forward(self, x):
        return getattr(self, self.name)(x)


def double(before, after):
    parts = []
    for a in (before, after):
        parts += [nn.Conv2d(a, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(True)]
    return nn.Sequential(*parts)


class Extractor(nn.Module):
    def __init__(self, channels=3, width=4, later=False):
        super().__init__()
        w, inner = width, "double_conv" if later else "conv"
        pooled = "maxpool_conv" if later else "mpconv"

        def twice(before, after):
            return Nested([inner], double(before, after))

        self.inc = twice(channels, w) if later else Nested(["conv"], twice(channels, w))
        for k, (a, b) in enumerate(((w, 2 * w), (2 * w, 4 * w), (4 * w, 8 * w), (8 * w, 8 * w))):
            self.add_module(f"down{k + 1}", Nested([pooled], nn.Sequential(nn.MaxPool2d(2), twice(a, b))))
        for k, (a, b) in enumerate(((16 * w, 4 * w), (8 * w, 2 * w), (4 * w, w), (2 * w, w))):
            self.add_module(f"up{k + 1}", Nested(["conv"], twice(a, b)))
        self.outc = Nested(["conv"], nn.Conv2d(w, 1, 1))

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        x4 = self.down3(x3)
        x = self.down4(x4)
        for up, skip in ((self.up1, x4), (self.up2, x3), (self.up3, x2), (self.up4, x1)):
            bigger = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = up(torch.cat([skip, bigger], dim=1))
        return self.outc(x)
