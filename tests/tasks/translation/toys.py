"""Networks that do what can be said in one line, for tests of how models of translation are applied."""

import torch
from torch import nn


class Same(nn.Module):
    """The slice itself; the middle one where there are neighbours. It has one weight, which does nothing."""

    divisor = 4

    def __init__(self, channels=1, outputs=1):
        super().__init__()
        self.middle = channels // 2
        self.scale = nn.Parameter(torch.zeros(1))
        self.largest = 0

    def forward(self, x):
        assert x.shape[2] % self.divisor == 0
        assert x.shape[3] % self.divisor == 0
        self.largest = max(self.largest, x.numel())
        return x[:, self.middle : self.middle + 1] + self.scale * 0


class Constant(nn.Module):
    """One value everywhere."""

    def __init__(self, channels=1, outputs=1, value=0.0):
        super().__init__()
        self.value = nn.Parameter(torch.tensor([float(value)]))

    def forward(self, x):
        return torch.ones_like(x[:, :1]) * self.value


class Channel(nn.Module):
    """One channel."""

    def __init__(self, channels=1, outputs=1, number=0):
        super().__init__()
        self.number = number
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x[:, self.number : self.number + 1] + self.scale * 0


class Sided(nn.Module):
    """The slice plus a ramp along its columns: it is not the same mirrored."""

    def __init__(self, channels=1, outputs=1, steep=0.2):
        super().__init__()
        self.steep = nn.Parameter(torch.tensor([float(steep)]))

    def forward(self, x):
        ramp = torch.linspace(-1, 1, x.shape[3]) * self.steep
        return x[:, :1] + ramp


class Small(nn.Module):
    """A small network whose result depends on all of a slice."""

    divisor = 4

    def __init__(self, channels=1, outputs=1):
        super().__init__()
        self.first = nn.Conv2d(channels, 4, 3, padding=1)
        self.norm = nn.InstanceNorm2d(4)
        self.last = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x):
        return torch.tanh(self.last(torch.relu(self.norm(self.first(x)))))
