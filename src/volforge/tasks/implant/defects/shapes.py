"""The four shapes of defects, in mm about a place on the surface: the third axis points out of the head.

Sources: G1, the flap with burr holes of the SkullFix data (AutoImplant challenge 2020); G2 and G3, cube and sphere, and
again G1, of Li et al., Scientific Data 8:36 (2021); G4, the union of balls of Kodym et al. (2021), by the defaults of
its public code. Those are drawn in voxels and along the grid; here all lengths are mm, and the cut goes along the
normal of the vault, through its full thickness (`THROUGH_MM` at most).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np

from volforge.volume.geometry import Array

KINDS = ("burr_box", "cuboid", "sphere", "irregular")
THROUGH_MM = 45.0  # inwards: a wide flap of a round vault sags so deep; the far side lies deeper
OUT_MM = 30.0
FIELD_MM = 2.5  # grid that irregular shapes are made on
OPENING_MM = 2.0
WARP_MM, WARP_LENGTH_MM = 2.0, 10.0  # RMS and length of the displacement


class Shape(Protocol):
    """A shape of a defect."""

    @property
    def reach_mm(self) -> float:
        """No point of it is farther from the place."""
        ...

    def contains(self, local: Array) -> Array:
        """Which of (N, 3) points lie in it, mm along two axes of the surface and outwards."""
        ...

    def scaled(self, factor: float) -> Shape:
        """The same shape, larger or smaller."""
        ...

    def record(self) -> dict[str, Any]:
        """All that was drawn, with units in the names."""
        ...


@dataclass(frozen=True)
class BurrBox:
    """G1: a flap with a burr hole at each corner, cut along the normal.

    Attributes:
        side_mm: Edge of the flap.
        burr_mm: Radius of the burr holes, centred on the corners.
    """

    side_mm: float
    burr_mm: float

    @property
    def reach_mm(self) -> float:
        """No point of it is farther from the place."""
        return float(np.hypot(self.side_mm / np.sqrt(2) + self.burr_mm, THROUGH_MM))

    def contains(self, local: Array) -> Array:
        """Which of (N, 3) points lie in it."""
        across, along = np.abs(local[:, 0]), np.abs(local[:, 1])
        half = self.side_mm / 2
        flat = np.maximum(across, along) <= half
        flat |= (across - half) ** 2 + (along - half) ** 2 <= self.burr_mm**2
        return flat & _through(local)

    def scaled(self, factor: float) -> BurrBox:
        """The same shape, larger or smaller; its burr holes stay, since drills come in one size."""
        return replace(self, side_mm=self.side_mm * factor)

    def record(self) -> dict[str, Any]:
        """All that was drawn, with units in the names."""
        return asdict(self)


@dataclass(frozen=True)
class Cuboid:
    """G2: a rectangle cut through, with walls that lean.

    Attributes:
        side_mm: Its two edges.
        lean_degrees: Tilt of the cut against the normal, about either edge.
    """

    side_mm: tuple[float, float]
    lean_degrees: tuple[float, float] = (0.0, 0.0)

    @property
    def reach_mm(self) -> float:
        """No point of it is farther from the place."""
        half = np.hypot(*self.side_mm) / 2 + THROUGH_MM * np.tan(np.radians(np.hypot(*self.lean_degrees)))
        return float(np.hypot(half, THROUGH_MM))

    def contains(self, local: Array) -> Array:
        """Which of (N, 3) points lie in it."""
        found = _through(local)
        for axis in range(2):
            slope = np.float32(np.tan(np.radians(self.lean_degrees[axis])))
            found &= np.abs(local[:, axis] - slope * local[:, 2]) <= self.side_mm[axis] / 2
        return found

    def scaled(self, factor: float) -> Cuboid:
        """The same shape, larger or smaller."""
        return replace(self, side_mm=(self.side_mm[0] * factor, self.side_mm[1] * factor))

    def record(self) -> dict[str, Any]:
        """All that was drawn, with units in the names."""
        return asdict(self)


@dataclass(frozen=True)
class Sphere:
    """G3: a ball.

    Attributes:
        radius_mm: Its radius.
        height_mm: How far outside of the surface its centre lies.
    """

    radius_mm: float
    height_mm: float = 0.0

    @property
    def reach_mm(self) -> float:
        """No point of it is farther from the place."""
        return self.radius_mm + abs(self.height_mm)

    def contains(self, local: Array) -> Array:
        """Which of (N, 3) points lie in it."""
        return (local[:, 0] ** 2 + local[:, 1] ** 2 + (local[:, 2] - self.height_mm) ** 2) <= self.radius_mm**2

    def scaled(self, factor: float) -> Sphere:
        """The same shape, larger or smaller."""
        return replace(self, radius_mm=self.radius_mm * factor, height_mm=self.height_mm * factor)

    def record(self) -> dict[str, Any]:
        """All that was drawn, with units in the names."""
        return asdict(self)


@dataclass(frozen=True)
class Irregular:
    """G4: balls, warped, their thin parts opened off; as a signed distance on a grid of its own.

    The union of balls is its own opening: thin parts come of the warp, so that it is opened after that.

    Attributes:
        distance: (U, V, W) float32, mm, negative inside.
        first_mm: Place of its first voxel along the three axes.
        drawn: The balls and the warp, for the record.
        factor: By how much it was scaled.
    """

    distance: Array
    first_mm: tuple[float, float, float]
    drawn: dict[str, Any]
    factor: float = 1.0

    @property
    def reach_mm(self) -> float:
        """No point of it is farther from the place."""
        ends = np.array(self.first_mm) + FIELD_MM * (np.array(self.distance.shape) - 1)
        return float(self.factor * np.linalg.norm(np.maximum(np.abs(self.first_mm), np.abs(ends))))

    def contains(self, local: Array) -> Array:
        """Which of (N, 3) points lie in it."""
        from scipy.ndimage import map_coordinates

        first = np.array(self.first_mm, np.float32)
        places = ((local / np.float32(self.factor) - first) / np.float32(FIELD_MM)).T
        return map_coordinates(self.distance, places, order=1, mode="constant", cval=1.0) < 0

    def scaled(self, factor: float) -> Irregular:
        """The same shape, larger or smaller."""
        return replace(self, factor=self.factor * factor)

    def record(self) -> dict[str, Any]:
        """All that was drawn, with units in the names."""
        return {**self.drawn, "factor": self.factor}


def _through(local: Array) -> Array:
    return (local[:, 2] >= -THROUGH_MM) & (local[:, 2] <= OUT_MM)


def draw_shape(kind: str, rng: np.random.Generator) -> Shape:
    """Draw a shape of a kind, of the size that its source has.

    Args:
        kind: One of `KINDS`.
        rng: Random stream.
    """
    if kind == "burr_box":
        return BurrBox(50.0 * rng.uniform(0.8, 1.2), rng.uniform(3.0, 6.0))
    if kind == "cuboid":
        sides, lean = 55.0 * rng.uniform(0.7, 1.2, 2), rng.uniform(-12.0, 12.0, 2)
        return Cuboid((float(sides[0]), float(sides[1])), (float(lean[0]), float(lean[1])))
    if kind == "sphere":
        return Sphere(float(np.clip(rng.normal(30.0, 6.0), 16.0, 48.0)), rng.uniform(-8.0, 6.0))
    return _draw_irregular(rng)


def _draw_irregular(rng: np.random.Generator) -> Irregular:
    primary = float(np.clip(rng.normal(28.0, 8.0), 14.0, 48.0))
    secondary = float(np.clip(rng.normal(16.0, 4.0), 8.0, 26.0))
    balls = [(0.0, 0.0, 0.0, primary)]
    for _ in range(int(rng.integers(0, 8))):
        turn, height = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.5)  # higher or lower it would meet no bone
        flat = np.sqrt(1 - height**2)
        balls.append((primary * flat * np.cos(turn), primary * flat * np.sin(turn), primary * height, secondary))
    rows = np.array(balls)
    low = (rows[:, :3] - rows[:, 3:]).min(axis=0) - 4 * WARP_MM
    high = (rows[:, :3] + rows[:, 3:]).max(axis=0) + 4 * WARP_MM
    low[2], high[2] = max(low[2], -THROUGH_MM), min(high[2], OUT_MM)
    axes = [np.arange(a, b + FIELD_MM, FIELD_MM, dtype=np.float32) for a, b in zip(low, high, strict=True)]
    moved = [axis.reshape([-1 if n == m else 1 for m in range(3)]) for n, axis in enumerate(axes)]
    shifts = [WARP_MM / np.sqrt(3) * _smooth_field(rng, axes) for _ in range(3)]
    moved = [m + s.astype(np.float32) for m, s in zip(moved, shifts, strict=True)]
    distance = np.full(shifts[0].shape, np.inf, np.float32)
    for *centre, radius in rows.astype(np.float32):
        away = sum((m - c) ** 2 for m, c in zip(moved, centre, strict=True))
        np.minimum(distance, np.sqrt(away) - radius, out=distance)
    drawn = {"balls_mm": np.round(rows, 4).tolist(), "warp_rms_mm": WARP_MM, "opening_mm": OPENING_MM}
    return Irregular(_opened(distance), (float(axes[0][0]), float(axes[1][0]), float(axes[2][0])), drawn)


def _smooth_field(rng: np.random.Generator, axes: list[Array]) -> Array:
    """A Gaussian random field of variance 1 everywhere: white noise on a lattice, blurred onto three axes."""
    knots = [np.arange(a[0] - 2 * WARP_LENGTH_MM, a[-1] + 2 * WARP_LENGTH_MM, WARP_LENGTH_MM / 1.5) for a in axes]
    field = rng.standard_normal([len(k) for k in knots])
    for axis, at in zip(axes, knots, strict=True):
        rows = np.exp(-0.5 * ((axis[:, None] - at[None, :]) / (WARP_LENGTH_MM / np.sqrt(2))) ** 2)
        rows /= np.sqrt((rows**2).sum(axis=1, keepdims=True))
        field = np.tensordot(field, rows, axes=(0, 1))  # the axis that was first comes back as the last
    return field


def _opened(distance: Array) -> Array:
    """A shape without the thin parts that the ball of an opening does not reach; it goes on beyond cut faces.

    The surface itself stays where the distance has it: the mask of the opening, coarse as the field, only takes away.
    """
    from volforge.volume.morphology import dilate, distance_inside, erode

    spacing = (FIELD_MM,) * 3
    kept = dilate(erode(distance < 0, OPENING_MM + FIELD_MM / 2, spacing), OPENING_MM + FIELD_MM / 2, spacing)
    return np.ascontiguousarray(np.maximum(distance, distance_inside(~kept, spacing) - 1.5 * FIELD_MM), np.float32)
