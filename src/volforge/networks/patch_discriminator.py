"""The discriminator of pix2pix and CycleGAN: a score for every patch of 70 x 70 pixels.

Source: Isola et al., CVPR 2017; Zhu et al., ICCV 2017; 2,762,689 parameters at width 64 with three halvings, one
channel. The shape discriminator in the picture of Ge et al., SPIE 2019, for which no code was published, is the same
network on outlines: the soft outline that an extractor finds, one channel, or outline and edges, two.
"""

from __future__ import annotations

from torch import Tensor, nn

from volforge.networks.resnet_generator import normal_start

SLOPE = 0.2
WIDEST = 8  # in units of `width`


class PatchDiscriminator(nn.Module):
    """Score of every patch: high where it looks real. Linear: the least-squares loss takes it as it is.

    Convolutions of 4 x 4: `layers` that halve and widen (the first without a norm), one of stride 1, and the score.

    Args:
        channels: Channels of the image; of outlines and edges, for a discriminator of shapes.
        width: Channels of the first convolution (published: 64).
        layers: Halvings; 3: patches of 70 x 70 (published), 1: 16 x 16, 2: 34 x 34, 4: 142 x 142.

    Shapes:
        Image (N, channels, H, W) of whatever sides from `smallest` on; scores (N, 1, h, w), 30 x 30 for 256 x 256.

    Raises:
        ValueError: No width, or less than one or more than five halvings.
    """

    def __init__(self, channels: int = 1, width: int = 64, layers: int = 3):
        super().__init__()
        if width < 1 or not 1 <= layers <= 5:
            raise ValueError("a patch discriminator has a width from 1 on, and one to five halvings")
        parts: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        before = width
        for k in range(1, layers + 1):
            wide = width * min(2**k, WIDEST)
            parts += [
                nn.Conv2d(before, wide, 4, stride=2 if k < layers else 1, padding=1),
                nn.InstanceNorm2d(wide, affine=False, track_running_stats=False),
                nn.LeakyReLU(SLOPE),
            ]
            before = wide
        parts.append(nn.Conv2d(before, 1, 4, padding=1))
        self.smallest = 3 * 2**layers  # the last norm then has four values
        self.layers = nn.Sequential(*parts)
        normal_start(self)

    def forward(self, image: Tensor) -> Tensor:
        """Scores of patches.

        Raises:
            ValueError: Sides that are too small.
        """
        if min(image.shape[-2:]) < self.smallest:
            raise ValueError(f"sides must be {self.smallest} or more, not {tuple(image.shape[-2:])}")
        found: Tensor = self.layers(image).float()
        return found
