"""LPIPS: a learned distance of two images on the features of AlexNet.

Source: Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", 2018, version 0.1;
AlexNet as in Krizhevsky, "One weird trick", 2014. Layer names follow the public state dicts of both.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = (64, 192, 384, 256, 256)
# mean and deviation that the published metric scales its inputs (in -1 to 1) by
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
EPS = 1e-10


class Lpips(nn.Module):
    """LPIPS distance with AlexNet features."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)]
        layers += [nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2)]
        layers += [nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU(), nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU()]
        layers += [nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.linear = nn.ParameterList([nn.Parameter(torch.zeros(1, c, 1, 1)) for c in CHANNELS])
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))

    def load_public(self, alexnet: dict[str, Tensor], heads: dict[str, Tensor]) -> None:
        """Take the weights of the public files: AlexNet's, and the metric's heads `lin<k>.model.1.weight`."""
        own = {k.removeprefix("features."): v for k, v in alexnet.items() if k.startswith("features.")}
        self.features.load_state_dict(own)
        with torch.no_grad():
            for k, weight in enumerate(self.linear):
                weight.copy_(heads[f"lin{k}.model.1.weight"])

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances of pairs of images.

        Args:
            a: Shape (N, 3, H, W) or (N, 1, H, W), values 0 to 1, at least 64 pixels wide and high.
            b: The other image of each pair.

        Returns:
            Shape (N,), 0 for equal images.
        """
        total = torch.zeros(len(a), device=a.device)
        for weight, x, y in zip(self.linear, self._taps(a), self._taps(b), strict=True):
            total = total + (weight * (_unit(x) - _unit(y)) ** 2).sum(1).mean(dim=(1, 2))
        return total

    def _taps(self, images: Tensor) -> list[Tensor]:
        x = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        x = (2 * x - 1 - self.shift) / self.scale
        found = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                found.append(x)
        return found


def _unit(x: Tensor) -> Tensor:
    return x / (torch.sqrt((x**2).sum(1, keepdim=True)) + EPS)


def resized_to_least(images: Tensor, least: int = 64) -> Tensor:
    """Images enlarged bilinearly where a side is shorter than AlexNet can read."""
    h, w = images.shape[-2:]
    if min(h, w) >= least:
        return images
    factor = least / min(h, w)
    size = (round(h * factor), round(w * factor))
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
