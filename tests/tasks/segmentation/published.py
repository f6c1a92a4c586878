"""The published networks of the jaw joint, written anew from their layer tables with their names of weights."""

import torch
from torch import nn
from torch.nn import functional


class BatchAlways(nn.BatchNorm3d):
    """Keeps running statistics and never uses them."""

    def forward(self, x):
        return functional.batch_norm(x, None, None, self.weight, self.bias, True, 0.1, self.eps)


class Unit(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.relu1 = nn.PReLU(width)
        self.conv1 = nn.Conv3d(width, width, 5, padding=2)
        self.bn1 = BatchAlways(width)

    def forward(self, x):
        return self.relu1(self.bn1(self.conv1(x)))


class Block(nn.Module):
    """One way down or up; both rectifiers are made before the convolutions."""

    def __init__(self, before, after, convolutions, up):
        super().__init__()
        self.up, width = up, after // 2 if up else after
        if up:
            self.up_conv = nn.ConvTranspose3d(before, width, 2, stride=2)
        else:
            self.down_conv = nn.Conv3d(before, width, 2, stride=2)
        self.bn1 = BatchAlways(width)
        self.relu1 = nn.PReLU(width)
        self.relu2 = nn.PReLU(after)
        self.ops = nn.Sequential(*(Unit(after) for _ in range(convolutions)))

    def forward(self, x, skip=None):
        x = self.relu1(self.bn1(self.up_conv(x) if self.up else self.down_conv(x)))
        x = x if skip is None else torch.cat([x, skip], dim=1)
        return self.relu2(self.ops(x) + x)


class First(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = width
        self.conv1 = nn.Conv3d(1, width, 5, padding=2)
        self.bn1 = BatchAlways(width)
        self.relu1 = nn.PReLU(width)

    def forward(self, x):
        return self.relu1(self.bn1(self.conv1(x)) + x.repeat(1, self.width, 1, 1, 1))


class Last(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv3d(width, 2, 5, padding=2)
        self.bn1 = BatchAlways(2)
        self.conv2 = nn.Conv3d(2, 2, 1)
        self.relu1 = nn.PReLU(2)

    def forward(self, x):
        return self.conv2(self.relu1(self.bn1(self.conv1(x))))


class VNet(nn.Module):
    """Logits; the published one goes on to shares."""

    def __init__(self, width=16):
        super().__init__()
        w = width
        self.in_tr = First(w)
        self.down_tr32 = Block(w, 2 * w, 2, False)
        self.down_tr64 = Block(2 * w, 4 * w, 3, False)
        self.down_tr128 = Block(4 * w, 8 * w, 3, False)
        self.down_tr256 = Block(8 * w, 16 * w, 3, False)
        self.up_tr256 = Block(16 * w, 16 * w, 3, True)
        self.up_tr128 = Block(16 * w, 8 * w, 3, True)
        self.up_tr64 = Block(8 * w, 4 * w, 2, True)
        self.up_tr32 = Block(4 * w, 2 * w, 1, True)
        self.out_tr = Last(2 * w)

    def forward(self, x):
        a = self.in_tr(x)
        b = self.down_tr32(a)
        c = self.down_tr64(b)
        d = self.down_tr128(c)
        x = self.up_tr256(self.down_tr256(d), d)
        return self.out_tr(self.up_tr32(self.up_tr64(self.up_tr128(x, c), b), a))


def single(before, after):
    made = nn.Sequential()
    made.add_module("conv", nn.Conv3d(before, after, 3, padding=1, bias=False))
    made.add_module("ReLU", nn.ReLU())
    made.add_module("groupnorm", nn.GroupNorm(min(8, after), after))
    return made


class Double(nn.Module):
    def __init__(self, before, middle, after, gate=None):
        super().__init__()
        self.basic_module = nn.Sequential()
        self.basic_module.add_module("SingleConv1", single(before, middle))
        self.basic_module.add_module("SingleConv2", single(middle, after))
        if gate is not None:
            self.attention = gate

    def forward(self, x):
        return self.basic_module(x)


class Gate(nn.Module):
    def __init__(self, up, skip, inner):
        super().__init__()
        self.W_g = nn.Sequential(nn.Conv3d(up, inner, 1), nn.BatchNorm3d(inner))
        self.W_x = nn.Sequential(nn.Conv3d(skip, inner, 1), nn.BatchNorm3d(inner))
        self.psi = nn.Sequential(nn.Conv3d(inner, 1, 1), nn.BatchNorm3d(1), nn.Sigmoid())

    def forward(self, up, skip):
        return skip * self.psi(torch.relu(self.W_g(up) + self.W_x(skip)))


class UNet(nn.Module):
    def __init__(self, width=32, gated=False):
        super().__init__()
        w = [width * 2**k for k in range(4)]
        before = [1, *w[:-1]]
        self.encoders = nn.ModuleList(Double(b, max(a // 2, b), a) for b, a in zip(before, w, strict=True))
        steps = list(zip(w[:0:-1], w[-2::-1], strict=True))
        self.decoders = nn.ModuleList(
            Double(up + skip, skip, skip, Gate(up, skip, skip // 2) if gated else None) for up, skip in steps
        )
        self.final_conv = nn.Conv3d(width, 2, 1)
        self.gated = gated

    def forward(self, x):
        skips = []
        for k, encoder in enumerate(self.encoders):
            x = encoder(functional.max_pool3d(x, 2) if k else x)
            skips.insert(0, x)
        for decoder, skip in zip(self.decoders, skips[1:], strict=True):
            x = functional.interpolate(x, size=skip.shape[2:])
            x = decoder(torch.cat([decoder.attention(x, skip) if self.gated else skip, x], dim=1))
        return self.final_conv(x)


def drawn(network, seed=0):
    """The network with weights and statistics drawn anew, so that no two layers are alike."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                values = torch.randn(value.shape, generator=generator) * 0.2
                value.copy_(values.abs() + 0.5 if name.endswith("running_var") else values + 0.1)
    return network.eval()
