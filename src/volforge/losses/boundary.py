"""The boundary loss, on signed distances that were made once.

Source: Kervadec et al., MIDL 2019 (arXiv 1812.07032). The published implant code takes voxels for millimetres; ours are
millimetres, clipped and divided by the clip, so that far voxels do not rule.
"""

from __future__ import annotations

from torch import Tensor, nn

SCHEDULES = ("fixed", "increase", "rebalance")


class BoundaryLoss(nn.Module):
    """mean(s * phi), s the softmax of a structure and phi its signed distance, mean of the foreground classes.

    Args:
        clip_mm: Distances beyond it count as it; phi is divided by it. 0: millimetres as they are.
    """

    needs_distance = True

    def __init__(self, clip_mm: float = 20.0):
        super().__init__()
        if clip_mm < 0:
            raise ValueError("clip_mm must not be negative")
        self.clip_mm = clip_mm

    def forward(self, logits: Tensor, labels: Tensor, distance: Tensor | None = None, progress: float = 0.0) -> Tensor:
        """Loss of logits (N, C, X, Y, Z) with distances in mm (N, C - 1, X, Y, Z), negative inside."""
        if distance is None:
            raise ValueError("the boundary loss needs distance maps")
        if distance.shape[1] != logits.shape[1] - 1:
            raise ValueError(f"{logits.shape[1] - 1} structures and {distance.shape[1]} distance maps")
        phi = distance.float()
        if self.clip_mm:
            phi = phi.clamp(-self.clip_mm, self.clip_mm) / self.clip_mm
        return (logits.softmax(dim=1)[:, 1:] * phi).mean()


class DiceBoundary(nn.Module):
    """Dice + CE and the boundary loss, whose weight grows.

    Args:
        schedule: `fixed`: region + weight * boundary. `increase`: the weight grows linearly from 0 to `weight`.
            `rebalance`: (1 - a) * region + a * boundary, a from 0.01 to `weight`. The last two start after `start`.
        weight: Weight of the boundary loss at the end.
        start: Share of the training before the boundary loss plays a part.
        clip_mm: As `BoundaryLoss`.
    """

    needs_distance = True

    def __init__(self, schedule: str = "rebalance", weight: float = 0.9, start: float = 0.2, clip_mm: float = 20.0):
        super().__init__()
        from volforge.losses.combined import DiceCE

        if schedule not in SCHEDULES:
            raise ValueError(f"schedule is one of {', '.join(SCHEDULES)}, not {schedule!r}")
        if not 0 <= start < 1:
            raise ValueError("start is a share of the training, at least 0 and below 1")
        if schedule == "rebalance" and not 0 <= weight <= 1:
            raise ValueError("with `rebalance` the weight is a share, 0 to 1")
        self.region = DiceCE()
        self.boundary = BoundaryLoss(clip_mm)
        self.schedule, self.weight, self.start = schedule, weight, start

    def weights(self, progress: float) -> tuple[float, float]:
        """Weights of region and boundary at a share of the training."""
        grown = max(0.0, (progress - self.start) / (1 - self.start))
        if self.schedule == "fixed":
            return 1.0, self.weight
        if self.schedule == "increase":
            return 1.0, self.weight * grown
        if progress < self.start:
            return 1.0, 0.0
        share = min(self.weight, 0.01 + (self.weight - 0.01) * grown) if self.weight > 0.01 else self.weight
        return 1 - share, share

    def forward(self, logits: Tensor, labels: Tensor, distance: Tensor | None = None, progress: float = 0.0) -> Tensor:
        """Loss of logits (N, C, X, Y, Z) against ids and distances; `progress` is the share of the training done."""
        region, boundary = self.weights(progress)
        loss = region * self.region(logits, labels)
        return loss + boundary * self.boundary(logits, labels, distance) if boundary else loss
