"""Inception-v3 as the Fréchet Inception Distance uses it: the network of the TensorFlow weights of 2015-12-05.

Source of the network: Szegedy et al., "Rethinking the Inception architecture", 2016; of its use: Heusel et al., 2017.
Names of layers follow the public state dict (project pytorch-fid), which loads strictly. It differs from the network
of image libraries in three places: average pools leave the padding out of the mean, the last block pools by the
maximum, and the classifier has 1008 outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

FEATURES = 2048
SIDE = 299


class Conv(nn.Module):
    """Convolution without bias, batch norm (eps 0.001), ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1, same: bool = True):
        super().__init__()
        size = (kernel, kernel) if isinstance(kernel, int) else kernel
        pad = (size[0] // 2, size[1] // 2) if same else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, size, stride, pad, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, inputs, H, W) to (N, outputs, H', W')."""
        out: Tensor = functional.relu(self.bn(self.conv(x)), inplace=True)
        return out


def _mean_pool(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class BlockA(nn.Module):
    """Mixed_5b to 5d: 1x1, 5x5, double 3x3, pool; 35x35."""

    def __init__(self, inputs: int, pool: int):
        super().__init__()
        self.branch1x1 = Conv(inputs, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Conv(inputs, 48, 1), Conv(48, 64, 5)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(inputs, 64, 1), Conv(64, 96, 3)
        self.branch3x3dbl_3 = Conv(96, 96, 3)
        self.branch_pool = Conv(inputs, pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, inputs, 35, 35) to (N, 224 + pool, 35, 35)."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        parts = [self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), double, self.branch_pool(_mean_pool(x))]
        return torch.cat(parts, 1)


class BlockB(nn.Module):
    """Mixed_6a: 35x35 to 17x17."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3 = Conv(288, 384, 3, 2, same=False)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(288, 64, 1), Conv(64, 96, 3)
        self.branch3x3dbl_3 = Conv(96, 96, 3, 2, same=False)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, 288, 35, 35) to (N, 768, 17, 17)."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, functional.max_pool2d(x, 3, 2)], 1)


class BlockC(nn.Module):
    """Mixed_6b to 6e: factored 7x7; 17x17."""

    def __init__(self, c: int):
        super().__init__()
        row, column = (1, 7), (7, 1)
        self.branch1x1 = Conv(768, 192, 1)
        self.branch7x7_1, self.branch7x7_2, self.branch7x7_3 = Conv(768, c, 1), Conv(c, c, row), Conv(c, 192, column)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = Conv(768, c, 1), Conv(c, c, column)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = Conv(c, c, row), Conv(c, c, column)
        self.branch7x7dbl_5 = Conv(c, 192, row)
        self.branch_pool = Conv(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, 768, 17, 17), kept."""
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(_mean_pool(x))], 1)


class BlockD(nn.Module):
    """Mixed_7a: 17x17 to 8x8."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Conv(768, 192, 1), Conv(192, 320, 3, 2, same=False)
        self.branch7x7x3_1, self.branch7x7x3_2 = Conv(768, 192, 1), Conv(192, 192, (1, 7))
        self.branch7x7x3_3, self.branch7x7x3_4 = Conv(192, 192, (7, 1)), Conv(192, 192, 3, 2, same=False)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, 768, 17, 17) to (N, 1280, 8, 8)."""
        long = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), long, functional.max_pool2d(x, 3, 2)], 1)


class BlockE(nn.Module):
    """Mixed_7b and 7c: forked 3x3; 8x8. The last one pools by the maximum."""

    def __init__(self, inputs: int, max_pool: bool):
        super().__init__()
        row, column = (1, 3), (3, 1)
        self.max_pool = max_pool
        self.branch1x1 = Conv(inputs, 320, 1)
        self.branch3x3_1 = Conv(inputs, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = Conv(384, 384, row), Conv(384, 384, column)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(inputs, 448, 1), Conv(448, 384, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Conv(384, 384, row), Conv(384, 384, column)
        self.branch_pool = Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, inputs, 8, 8) to (N, 2048, 8, 8)."""
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = functional.max_pool2d(x, 3, 1, 1) if self.max_pool else _mean_pool(x)
        parts = [
            self.branch1x1(x),
            self.branch3x3_2a(single),
            self.branch3x3_2b(single),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            self.branch_pool(pooled),
        ]
        return torch.cat(parts, 1)


class FidInception(nn.Module):
    """The network up to its last pool, 2048 features; 23,850,960 parameters with the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, 2, same=False)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3, same=False)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3, same=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = BlockA(192, 32), BlockA(256, 64), BlockA(288, 64)
        self.Mixed_6a = BlockB()
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = BlockC(128), BlockC(160), BlockC(160), BlockC(192)
        self.Mixed_7a = BlockD()
        self.Mixed_7b, self.Mixed_7c = BlockE(1280, max_pool=False), BlockE(2048, max_pool=True)
        self.fc = nn.Linear(FEATURES, 1008)

    def forward(self, images: Tensor) -> Tensor:
        """Features of images.

        Args:
            images: Shape (N, 3, H, W) or (N, 1, H, W), values 0 to 1; resized to 299x299 bilinearly.

        Returns:
            Shape (N, 2048).
        """
        x = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        x = functional.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        x = 2 * x - 1
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = functional.max_pool2d(x, 3, 2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = functional.max_pool2d(x, 3, 2)
        x = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return x.mean(dim=(2, 3))
