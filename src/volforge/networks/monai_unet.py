"""The plain peer: MONAI's U-Net with residual units, as tutorials use it."""

from __future__ import annotations

from torch import Tensor, nn


class MonaiUNet(nn.Module):
    """MONAI's `UNet`: strided convolutions from the first level on, instance norm, PReLU.

    Args:
        channels: Channels of the image.
        classes: Output classes, background included.
        width: Channels of the first level; they double with each level.
        levels: Resolutions below the full one, and the full one.
        units: Convolutions of a residual unit.

    Shapes:
        Input (N, channels, X, Y, Z), sides multiples of 2^(levels - 1); output logits (N, classes, X, Y, Z).
    """

    def __init__(self, channels: int, classes: int, width: int = 16, levels: int = 4, units: int = 2):
        super().__init__()
        from monai.networks.nets import UNet

        self.net = UNet(
            spatial_dims=3,
            in_channels=channels,
            out_channels=classes,
            channels=[width * 2**k for k in range(levels)],
            strides=[2] * (levels - 1),
            num_res_units=units,
        )
        self.divisor = 2 ** (levels - 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of an image."""
        found: Tensor = self.net(image)
        return found
