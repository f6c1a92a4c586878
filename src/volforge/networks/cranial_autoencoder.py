"""The published auto-encoder of cranial implants.

Source: Li et al., Medical Image Analysis 73, 102171 (2021), read in the code that they published; layers and sizes are
those of docs/implant-training.md. At the paper's width it has 22,864,193 trainable parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2
MOMENTUM = 0.2  # 0.8 as Keras counts it
EPSILON = 1e-3
HEADS = ("tanh", "sigmoid")
WIDTH = 32
DOWN = ((1, 5, True), (2, 5, True), (4, 5, True), (16, 1, False))  # width, kernel, norm of the halving convolutions
UP = ((8, True), (4, False), (2, True))  # width, whether the grid is doubled before


def same_padding(kernel: int) -> tuple[int, int]:
    """Voxels that `same` adds before and after an even side that a stride of 2 halves: one more after than before."""
    total = max(0, kernel - 2)
    return total // 2, total - total // 2


class Halving(nn.Module):
    """A convolution with stride 2 and the padding of `same`, leaky ReLU, then the norm.

    Args:
        before, after: Channels.
        kernel: Side of the kernel.
        last: What follows the activation.
    """

    def __init__(self, before: int, after: int, kernel: int, last: nn.Module):
        super().__init__()
        self.pads = 3 * same_padding(kernel)
        self.conv = nn.Conv3d(before, after, kernel, stride=2)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, X, Y, Z) with even sides to (N, after, X/2, Y/2, Z/2)."""
        return self.last(functional.leaky_relu(self.conv(functional.pad(x, self.pads)), SLOPE))


def batch_norm(channels: int) -> nn.BatchNorm3d:
    """A batch norm with Keras' numbers."""
    return nn.BatchNorm3d(channels, eps=EPSILON, momentum=MOMENTUM)


def keras_start(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> None:
    """Weights begin as those of Keras do: uniform after Glorot, biases 0."""
    for module in network.modules():
        if isinstance(module, kinds):
            nn.init.xavier_uniform_(module.weight)  # type: ignore[arg-type]
            if module.bias is not None:
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]


class _Widening(nn.Module):
    """A convolution of side 5 (the published stride-1 transposed one is the same), activation, norm."""

    def __init__(
        self, before: int, after: int, doubles: bool, activation: Callable[[Tensor], Tensor], norm: bool = True
    ):
        super().__init__()
        self.conv = nn.Conv3d(before, after, 5, padding=2)
        self.norm: nn.Module = batch_norm(after) if norm else nn.Identity()
        self.doubles, self.activation = doubles, activation

    def forward(self, x: Tensor) -> Tensor:
        # interpolate is not used: on a GPU its gradient has no fixed order of sums
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4) if self.doubles else x
        return self.norm(self.activation(self.conv(x)))


class CranialAutoencoder(nn.Module):
    """Four halvings to a wide and shallow code, four doublings, no skip connections.

    Its last stage but one has a single channel at half the grid, as published.

    Args:
        channels: Channels of the skull.
        width: Channels of the first level; 32 as published.
        head: Activation of the output: `tanh`, or `sigmoid`.
        dropout: Share of the code that is dropped in training.

    Shapes:
        Input (N, channels, X, Y, Z), sides multiples of 16; output (N, 1, X, Y, Z), values of the head: where 1 means
        bone. It gives no logits.
    """

    gives_values = True

    def __init__(self, channels: int = 1, width: int = WIDTH, head: str = "tanh", dropout: float = 0.5):
        super().__init__()
        if head not in HEADS:
            raise ValueError(f"head is one of {', '.join(HEADS)}, not {head!r}")
        before, down = channels, []
        for factor, kernel, is_normed in DOWN:
            after = factor * width
            last = batch_norm(after) if is_normed else nn.Dropout(dropout)
            down.append(Halving(before, after, kernel, last))
            before = after
        up = []
        for factor, doubles in UP:
            up.append(_Widening(before, factor * width, doubles, functional.relu))
            before = factor * width
        up.append(_Widening(before, 1, True, lambda x: x.tanh()))
        act: Callable[[Tensor], Tensor] = (lambda x: x.tanh()) if head == "tanh" else (lambda x: x.sigmoid())
        up.append(_Widening(1, 1, True, act, norm=False))
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)
        self.divisor = 16
        keras_start(self, (nn.Conv3d,))

    def forward(self, skull: Tensor) -> Tensor:
        """Values of a skull's grid."""
        return self.grids(skull)[-1]

    def grids(self, skull: Tensor) -> Sequence[Tensor]:
        """What every layer gives, in their order; the last is the output."""
        if any(n % self.divisor for n in skull.shape[2:]):
            raise ValueError(f"sides must be multiples of {self.divisor}, not {tuple(skull.shape[2:])}")
        found = [skull]
        for layer in (*self.down, *self.up):
            found.append(layer(found[-1]))
        return found[1:]
