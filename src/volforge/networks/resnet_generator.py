"""The generator of CycleGAN: two halvings, residual blocks, two doublings; an image of one kind from one of another.

Source: Zhu et al., ICCV 2017, after Johnson et al., ECCV 2016; 11,365,633 parameters at width 64 with nine blocks, one
channel in and one out. Its layers are numbered as in the weights that were published with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

DEVIATION = 0.02
SMALLEST = 8  # pixels of a side: the coarsest grid is mirrored at its edges, and needs two
HALVINGS = 2
FIRST_BLOCK = 4 + 3 * HALVINGS  # layer of the first residual block


def normal_start(network: nn.Module, deviation: float = DEVIATION) -> None:
    """Draw all weights of convolutions and linear maps from N(0, deviation^2), biases 0; from torch's generator.

    Source: Zhu et al., ICCV 2017, section 7.1 of the appendix.
    """
    for part in network.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(part.weight, 0.0, deviation)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def _norm(width: int) -> nn.Module:
    """Statistics of each image by itself, in training and after it; nothing is learnt."""
    return nn.InstanceNorm2d(width, affine=False, track_running_stats=False)


class ResidualBlock(nn.Module):
    """Two convolutions of 3 x 3 with mirrored edges, added to what came in.

    Args:
        width: Channels.
    """

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            _norm(width),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            _norm(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, width, H, W), kept."""
        found: Tensor = x + self.layers(x)
        return found


class ResnetGenerator(nn.Module):
    """Image from image.

    Layers by number, with nine blocks: 0 mirrored edges of 3 pixels; 1 to 3 convolution of 7 x 7, norm, ReLU; 4 to 6
    and 7 to 9 the same with 3 x 3, halving; 10 to 18 residual blocks; 19 to 21 and 22 to 24 doubling; 25, 26, 27
    mirrored edges, convolution of 7 x 7, tanh. With fewer blocks all numbers behind them are lower.

    Args:
        channels: Channels of the input: contrasts and neighbouring slices.
        outputs: Channels of the output.
        width: Channels of the first convolution (published: 64).
        blocks: Residual blocks (published: 9 for sides of 256 and more, 6 for smaller ones).

    Shapes:
        Input (N, channels, H, W), values -1 to 1, sides multiples of `divisor` and at least 8.
        Output (N, outputs, H, W) between -1 and 1.

    Raises:
        ValueError: No width, or no block.
    """

    forward_methods = ("features",)  # what else is called in training, for wrappers that set precision
    divisor = 2**HALVINGS

    def __init__(self, channels: int = 1, outputs: int = 1, width: int = 64, blocks: int = 9):
        super().__init__()
        if width < 1 or blocks < 1:
            raise ValueError("a ResNet generator has a width and a number of blocks from 1 on")
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(channels, width, 7), _norm(width), nn.ReLU()]
        self.widths = [channels] + 3 * [width]
        for wide in (2 * width, 4 * width):
            layers += [nn.Conv2d(wide // 2, wide, 3, stride=2, padding=1), _norm(wide), nn.ReLU()]
            self.widths += 3 * [wide]
        layers += [ResidualBlock(4 * width) for _ in range(blocks)]
        self.widths += blocks * [4 * width]
        for wide in (2 * width, width):
            up = nn.ConvTranspose2d(2 * wide, wide, 3, stride=2, padding=1, output_padding=1)
            layers += [up, _norm(wide), nn.ReLU()]
            self.widths += 3 * [wide]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, outputs, 7), nn.Tanh()]
        self.widths += [width, outputs, outputs]
        self.blocks = blocks
        self.layers = nn.Sequential(*layers)
        normal_start(self)

    @property
    def contrast_taps(self) -> tuple[int, ...]:
        """Layers whose features CUT compares: the image, both halving convolutions, the first and the fifth block.

        Where there are fewer blocks, the last one stands for the fifth. CUT's own options say 0, 4, 8, 12, 16: its
        generator has a blurring layer behind each halving, which counts.

        Source: Park et al., ECCV 2020, training details of the supplement.
        """
        last = FIRST_BLOCK + min(4, self.blocks - 1)
        return tuple(dict.fromkeys((0, 4, 7, FIRST_BLOCK, last)))

    def channels_of(self, taps: Sequence[int]) -> list[int]:
        """Channels of the feature maps of layers.

        Raises:
            ValueError: There is no such layer.
        """
        self._check(taps)
        return [self.widths[k] for k in taps]

    def forward(self, image: Tensor, taps: Sequence[int] = ()) -> Tensor | tuple[Tensor, list[Tensor]]:
        """The image; where layers are named, the image and their feature maps, of one pass.

        Raises:
            ValueError: Sides that are no multiples of 4 or too small, or no such layer.
        """
        found, features = self._passed(image, taps, len(self.layers))
        return (found.float(), features) if len(taps) else found.float()

    def features(self, image: Tensor, taps: Sequence[int]) -> list[Tensor]:
        """Feature maps of layers in the order of `taps`, and no more of the network than they need.

        Args:
            image: As for `forward`.
            taps: Numbers of layers.

        Raises:
            ValueError: Sides that are no multiples of 4 or too small, or no such layer.
        """
        return self._passed(image, taps, 1 + max(taps, default=-1))[1]

    def _passed(self, image: Tensor, taps: Sequence[int], end: int) -> tuple[Tensor, list[Tensor]]:
        """What the layers before `end` make of an image, and the feature maps of `taps`."""
        h, w = image.shape[-2:]
        if h % self.divisor or w % self.divisor or min(h, w) < SMALLEST:
            text = f"sides must be multiples of {self.divisor}, {SMALLEST} or more, not {(h, w)}"
            raise ValueError(text)
        self._check(taps)
        x, seen = image, {}
        for k in range(end):
            x = self.layers[k](x)
            if k in taps:
                seen[k] = x
        return x, [seen[k] for k in taps]

    def _check(self, taps: Sequence[int]) -> None:
        wrong = [k for k in taps if not 0 <= k < len(self.layers)]
        if wrong:
            raise ValueError(f"there are layers 0 to {len(self.layers) - 1}, not {wrong[0]}")
