"""Losses of networks that give one value a voxel instead of logits: the published losses of cranial implants.

Source: Li et al., Medical Image Analysis 73, 102171 (2021): squared error, Dice, the boundary loss of Kervadec et al.
(MIDL 2019), and sums of a region's loss and that of the boundary.
"""

from __future__ import annotations

from torch import Tensor, nn

from volforge.losses.boundary import SCHEDULES
from volforge.losses.dice import EPSILON

UNITS = ("mm", "voxels")


class ValueMSE(nn.Module):
    """Mean squared difference of values and target."""

    needs_distance = False

    def forward(self, values: Tensor, target: Tensor, distance: Tensor | None = None, progress: float = 0.0) -> Tensor:
        """Loss of values (N, 1, X, Y, Z) against a target of 0 and 1 of the same shape."""
        return (values.float() - target).square().mean()


class ValueDice(nn.Module):
    """-factor * (2 sum s g + e) / (sum s + sum g + e), one coefficient of the whole batch, plain sums.

    Args:
        factor: 100 as published.
    """

    needs_distance = False

    def __init__(self, factor: float = 100.0):
        super().__init__()
        self.factor = factor

    def forward(self, values: Tensor, target: Tensor, distance: Tensor | None = None, progress: float = 0.0) -> Tensor:
        """Loss of values (N, 1, X, Y, Z), at least 0, against a target of 0 and 1 of the same shape."""
        s = values.float()
        overlap = (s * target).sum()
        return -self.factor * (2 * overlap + EPSILON) / (s.sum() + target.sum() + EPSILON)


class ValueBoundary(nn.Module):
    """mean(s * phi), s the values and phi the signed distance map of the target.

    Args:
        units: Of phi: `mm`; or `voxels`, as published.
        clip: Distances beyond it count as it, and phi is divided by it; 0: as it is, as published.
    """

    needs_distance = True

    def __init__(self, units: str = "mm", clip: float = 20.0):
        super().__init__()
        if units not in UNITS:
            raise ValueError(f"units is one of {', '.join(UNITS)}, not {units!r}")
        if clip < 0:
            raise ValueError("clip must not be negative")
        self.units, self.clip = units, clip

    def forward(self, values: Tensor, target: Tensor, distance: Tensor | None = None, progress: float = 0.0) -> Tensor:
        """Loss of values (N, 1, X, Y, Z) with distances of that shape, not positive inside."""
        if distance is None:
            raise ValueError("the boundary loss needs distance maps")
        phi = distance.float()
        if self.clip:
            phi = phi.clamp(-self.clip, self.clip) / self.clip
        return (values.float() * phi).mean()


class _WithBoundary(nn.Module):
    """A region's loss and that of the boundary, by a schedule.

    `fixed`: region + weight * boundary. `increase`: the weight grows by `weight` in every hundredth of the training, up
    to 1. `rebalance`: (1 - a) * region + a * boundary, a from 0.01 by 0.01 in every hundredth, up to `weight`. Both
    begin after the share `start` of the training.
    """

    def __init__(
        self, region: nn.Module, factor: float, schedule: str, weight: float, start: float, units: str, clip: float
    ):
        super().__init__()
        if schedule not in SCHEDULES:
            raise ValueError(f"schedule is one of {', '.join(SCHEDULES)}, not {schedule!r}")
        if not 0 <= start < 1:
            raise ValueError("start is a share of the training, at least 0 and below 1")
        if schedule == "rebalance" and not 0 <= weight <= 1:
            raise ValueError("with `rebalance` the weight is a share, 0 to 1")
        self.region, self.boundary = region, ValueBoundary(units, clip)
        self.factor, self.schedule, self.weight, self.start = factor, schedule, weight, start

    @property
    def units(self) -> str:
        """Of the distances."""
        return self.boundary.units

    @property
    def clip(self) -> float:
        """Of the distances."""
        return self.boundary.clip

    def weights(self, progress: float) -> tuple[float, float]:
        """Weights of region and boundary at a share of the training."""
        if self.schedule == "fixed":
            return 1.0, self.weight
        if progress < self.start:
            return 1.0, 0.0
        hundredths = 1 + int(100 * (progress - self.start) / (1 - self.start) + 1e-9)
        if self.schedule == "increase":
            return 1.0, min(1.0, self.weight * hundredths)
        share = min(self.weight, 0.01 * hundredths)
        return 1 - share, share

    def forward(self, values: Tensor, target: Tensor, distance: Tensor | None = None, progress: float = 0.0) -> Tensor:
        """Loss of values (N, 1, X, Y, Z) against target and distances; `progress` is the share of the training."""
        region, boundary = self.weights(progress)
        loss = region * self.factor * self.region(values, target)
        return loss + boundary * self.boundary(values, target, distance) if boundary else loss


class ValueMSEBoundary(_WithBoundary):
    """factor * MSE and the boundary loss; see `_WithBoundary`.

    Args:
        factor: 100 as published.
        schedule, weight, start: How the boundary's part grows; `fixed` with the weight 1 as published.
        units, clip: As `ValueBoundary`.
    """

    needs_distance = True

    def __init__(
        self,
        factor: float = 100.0,
        schedule: str = "fixed",
        weight: float = 1.0,
        start: float = 0.2,
        units: str = "mm",
        clip: float = 20.0,
    ):
        super().__init__(ValueMSE(), factor, schedule, weight, start, units, clip)


class ValueDiceBoundary(_WithBoundary):
    """-factor * Dice and the boundary loss; see `_WithBoundary`.

    Args:
        factor: 100 as published.
        schedule, weight, start: How the boundary's part grows; `fixed` with the weight 1 as published.
        units, clip: As `ValueBoundary`.
    """

    needs_distance = True

    def __init__(
        self,
        factor: float = 100.0,
        schedule: str = "fixed",
        weight: float = 1.0,
        start: float = 0.2,
        units: str = "mm",
        clip: float = 20.0,
    ):
        super().__init__(ValueDice(1.0), factor, schedule, weight, start, units, clip)
