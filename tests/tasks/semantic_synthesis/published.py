"""The published generators, written anew from their layer tables with their names of weights, and nothing of ours."""

import itertools

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import spectral_norm

TIMES = (16, 16, 16, 8, 4, 2, 1)


def nearest(x, size):
    return functional.interpolate(x, size=size, mode="nearest")


class Spade(nn.Module):
    def __init__(self, channels, given, hidden):
        super().__init__()
        self.first_norm = nn.BatchNorm2d(channels, affine=False)
        self.mlp_shared = nn.Sequential(nn.Conv2d(given, hidden, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x, s):
        h = self.mlp_shared(nearest(s, x.shape[-2:]))
        return self.first_norm(x) * (1 + self.mlp_gamma(h)) + self.mlp_beta(h)


class Haar(nn.Module):
    """Kernels that are turned around, as a convolution of signals does; `back` gives the image."""

    def __init__(self, back=False):
        super().__init__()
        low, high = torch.tensor([[1.0, 1.0]]) / 2**0.5, torch.tensor([[-1.0, 1.0]]) / 2**0.5
        sign = -1 if back else 1
        for name, kernel in (
            ("ll", low.T * low), ("lh", sign * high.T * low), ("hl", sign * low.T * high), ("hh", high.T * high),
        ):  # fmt: skip
            self.register_buffer(name, kernel)
        self.back = back

    def forward(self, x):
        kernels = [self.ll, self.lh, self.hl, self.hh]
        if not self.back:
            n, c, h, w = x.shape
            flat = x.reshape(n * c, 1, h, w)
            bands = [functional.conv2d(flat, k.flip(0, 1)[None, None], stride=2) for k in kernels]
            return torch.cat([b.reshape(n, c, h // 2, w // 2) for b in bands], dim=1)
        made = 0
        for part, kernel in zip(x.chunk(4, dim=1), kernels, strict=True):
            n, c, h, w = part.shape
            spread = torch.zeros(n * c, 1, 2 * h + 1, 2 * w + 1, dtype=x.dtype)
            spread[..., 1::2, 1::2] = part.reshape(n * c, 1, h, w)
            made = made + functional.conv2d(spread, kernel.flip(0, 1)[None, None]).reshape(n, c, 2 * h, 2 * w)
        return made


class WaveletSpade(nn.Module):
    def __init__(self, channels, given, hidden):
        super().__init__()
        self.iwt, self.dwt = Haar(back=True), Haar()
        self.spade = Spade(channels // 4, given, hidden)

    def forward(self, x, s):
        return self.dwt(self.spade(self.iwt(x), s))


class Block(nn.Module):
    def __init__(self, before, after, given, hidden, wavelet):
        super().__init__()
        middle, kind = min(before, after), WaveletSpade if wavelet else Spade
        self.conv_0 = spectral_norm(nn.Conv2d(before, middle, 3, padding=1))
        self.conv_1 = spectral_norm(nn.Conv2d(middle, after, 3, padding=1))
        self.learnt = before != after
        if self.learnt:
            self.conv_s = spectral_norm(nn.Conv2d(before, after, 1, bias=False))
        self.norm_0 = kind(before, given, hidden)
        self.norm_1 = kind(middle, given, hidden)
        if self.learnt:
            self.norm_s = kind(before, given, hidden)
        self.wavelet = wavelet

    def forward(self, x, s):
        past = x
        if self.learnt:
            past = self.conv_s(x if self.wavelet else self.norm_s(x, s))
        h = self.conv_0(functional.leaky_relu(self.norm_0(x, s), 0.2))
        h = self.conv_1(functional.leaky_relu(self.norm_1(h, s), 0.2))
        return (past, h) if self.wavelet else past + h


class Generator(nn.Module):
    def __init__(self, wavelet, width, blocks=6, noise=64, labels=38, hidden=128):
        super().__init__()
        given = noise + labels
        w = [(4 if wavelet else 1) * width * t for t in TIMES[6 - blocks :]]
        self.conv_img = nn.Conv2d(w[-1], 12, 1) if wavelet else nn.Conv2d(w[-1], 3, 3, padding=1)
        self.body = nn.ModuleList(Block(a, b, given, hidden, wavelet) for a, b in itertools.pairwise(w))
        self.fc = nn.Conv2d(given, w[0], 3, padding=1)
        self.dwt, self.iwt = Haar(), Haar(back=True)
        self.wavelet, self.divisor = wavelet, 2 ** (blocks if wavelet else blocks - 1)

    def forward(self, labels, z):
        size = labels.shape[-2:]
        s = torch.cat([z[:, :, None, None].expand(-1, -1, *size), labels], dim=1)
        x = self.fc(nearest(s, [n // self.divisor for n in size]))
        past = None
        for k, block in enumerate(self.body):
            if k:
                x = functional.interpolate(x, scale_factor=2, mode="nearest")
                if self.wavelet:
                    image = functional.interpolate(self.iwt(past), scale_factor=2, mode="bilinear")
                    x = x + self.dwt(image)
            if self.wavelet:
                past, x = block(x, s)
            else:
                x = block(x, s)
        if self.wavelet:
            return torch.tanh(self.iwt(self.conv_img(x + past)))
        return torch.tanh(self.conv_img(functional.leaky_relu(x, 0.2)))


def drawn(network, seed=0):
    """The network with weights and statistics drawn anew, three equal channels of grey, its singular vectors settled."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if not value.is_floating_point() or name.split(".")[-1] in ("ll", "lh", "hl", "hh"):
                continue
            values = torch.randn(value.shape, generator=generator) * 0.15
            value.copy_(values.abs() + 0.5 if name.endswith("running_var") else values)
        for value in network.conv_img.parameters():
            own = value.view(-1, 3, *value.shape[1:])
            own.copy_(own[:, :1].expand_as(own))
        for module in network.modules():
            if hasattr(module, "weight_u"):
                flat = module.weight_orig.flatten(1)
                u, _, v = torch.linalg.svd(flat)
                module.weight_u.copy_(u[:, 0])
                module.weight_v.copy_(v[0])
    return network.eval()
