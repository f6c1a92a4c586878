"""The vault of a skull: what of its bone is the outer shell, by direction from the middle of the head.

In every direction the shell begins at the farthest bone and ends before a gap of 7 mm (the two tables of a sinus belong
together, the skull base behind the brain does not) or 20 mm deep (a pyramid or an orbital roof that goes on inwards).
It ends below at the skull base and, in front, above the orbits (`walks.is_low`), as craniectomies do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.tasks.implant.defects.head import Head, head_of_solid, solid
from volforge.tasks.implant.defects.walks import depths_of_bone, farthest_bone, vault_near
from volforge.volume.geometry import Affine, Array

PIXEL_MM = 3.0  # of the map of the outer surface, at a radius of 80 mm
RADIUS_MM = 80.0
LOWEST_DEGREES = 120.0  # from the upright axis: the shell is looked for above; defects end before, see `walks.is_low`
GAP_MM = 7.0
THICKEST_MM = 20.0
SUNK_MM = 12.0  # bone so far under the surface around it lies behind a hole
PATCH_MM = 18.0  # the surface about a place, from which its normal is taken
COVERED = 0.6  # of that patch must hold bone


@dataclass(frozen=True)
class Vault:
    """The vault of one skull, made once and used for all its defects.

    Attributes:
        head: Where it lies.
        bone: Box of the bone, (X, Y, Z) bool in C order, axes as it suits memory.
        affine: Of that box.
        pitch: Radians of a pixel of the maps.
        outer: Distance of the outer surface by direction, mm; 0: no vault there.
        inner: Distance from which on bone belongs to the vault; infinite: none does.
    """

    head: Head
    bone: Array
    affine: Affine
    pitch: float
    outer: Array
    inner: Array

    @property
    def spacing_mm(self) -> Array:
        """Voxel size along the axes of `bone`."""
        return np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def near(self, place: Array, axes: Array, reach_mm: float, coarsest_mm: float = 0.0) -> tuple[Array, Array, float]:
        """The voxels of the vault in a ball.

        Args:
            place: (3,) RAS mm, its middle.
            axes: (3, 3), rows: axes of the returned coordinates in RAS.
            reach_mm: Its radius.
            coarsest_mm: Leave voxels out as long as the rest are no farther apart than this.

        Returns:
            (N, 3) int32 voxels of `bone`, (N, 3) float32 mm along the axes, and mm3 that one of them stands for.
        """
        inverse = np.linalg.inv(self.affine)
        middle = inverse[:3, :3] @ place + inverse[:3, 3]
        half = reach_mm * np.sqrt((inverse[:3, :3] ** 2).sum(axis=1))
        shape = np.array(self.bone.shape)
        first = np.clip(np.floor(middle - half), 0, shape).astype(np.int64)
        last = np.clip(np.ceil(middle + half) + 1, 0, shape).astype(np.int64)
        step = np.maximum(1, (coarsest_mm / self.spacing_mm).astype(np.int64))
        index, local = vault_near(
            self.bone, self.affine, self.head.centre, self.head.semi, self.pitch, self.inner,
            place, axes, reach_mm, first, last, step,
        )  # fmt: skip
        return index, local, self.voxel_mm3 * float(step.prod())

    def surface(self, direction: Array) -> tuple[Array, Array] | None:
        """Where a direction leaves the vault, and the outward normal there.

        Args:
            direction: (3,) unit vector in RAS, from the centre of the head.

        Returns:
            (3,) RAS mm and (3,) unit vector: the middle and the normal of the plane that fits the surface within
            18 mm best; None where less than 0.6 of that patch is vault.
        """
        half = self.outer.shape[0] // 2
        scale = np.sqrt(2 / (1 + direction[2])) / self.pitch
        at = direction[:2] * scale + half
        room = int(np.ceil(2 * PATCH_MM / RADIUS_MM / self.pitch)) + 1
        a, b = (slice(max(0, int(v) - room), int(v) + room + 1) for v in at)
        cells = np.argwhere(np.ones_like(self.outer[a, b], bool)) + np.array([a.start, b.start])
        around = directions_of(cells, self.pitch, half)
        radii = self.outer[cells[:, 0], cells[:, 1]].astype(float)
        close = np.arccos(np.clip(around @ direction, -1, 1))
        at_middle = radii[(close < 8 / RADIUS_MM) & (radii > 0)]
        if not at_middle.size:
            return None
        radius = float(np.median(at_middle))
        patch = close * radius < PATCH_MM
        held = patch & (np.abs(radii - radius) < SUNK_MM)
        if held.sum() < max(6, COVERED * patch.sum()):
            return None
        points = around[held] * radii[held, None] + self.head.centre
        middle = points.mean(axis=0)
        *_, rows = np.linalg.svd(points - middle, full_matrices=False)
        normal = rows[2] * np.sign(rows[2] @ direction)
        return self.head.centre + radius * direction, normal


def directions_of(cells: Array, pitch: float, half: int) -> Array:
    """Unit vectors (N, 3) of the pixels (N, 2) of Lambert's disc."""
    flat = (cells - half) * pitch
    square = np.minimum((flat**2).sum(axis=1), 4.0)
    return np.column_stack([flat * np.sqrt(1 - square / 4)[:, None], 1 - square / 2])


def vault_of(skull: Array, affine: Affine) -> Vault:
    """Find the vault of a skull.

    Args:
        skull: (X, Y, Z) bool, any axis order.
        affine: 4x4, voxel index to RAS mm.

    Raises:
        VolforgeError: The skull is empty.
    """
    from scipy.ndimage import percentile_filter

    bone, part_affine = solid(skull, affine)
    head = head_of_solid(bone, part_affine)
    coarsest = float(np.sqrt((part_affine[:3, :3] ** 2).sum(axis=0)).max())
    pitch = max(PIXEL_MM, 1.5 * coarsest) / RADIUS_MM
    lowest = float(np.cos(np.radians(LOWEST_DEGREES)))
    half = int(np.ceil(np.sqrt(2 * (1 - lowest)) / pitch))
    outer = farthest_bone(bone, part_affine, head.centre, pitch, half, lowest)
    width = 2 * round(18 / RADIUS_MM / pitch) + 1
    around = percentile_filter(outer, 70, size=width, mode="constant")
    outer[outer < around - SUNK_MM] = 0
    most = round(THICKEST_MM)
    depths = depths_of_bone(bone, part_affine, head.centre, pitch, outer, most)
    thickness = _thickness(depths, max(GAP_MM, 2 * coarsest))
    inner = np.where(outer > 0, outer - thickness - 0.01, np.inf).astype(np.float32)
    return Vault(head, bone, part_affine, pitch, outer, inner)


def _thickness(depths: Array, gap_mm: float) -> Array:
    """How deep the shell goes: to the last bone before a gap."""
    last = np.zeros(depths.shape[:2], np.float32)
    for depth in range(depths.shape[2]):
        reached = depths[..., depth] & (depth - last <= gap_mm)
        last[reached] = depth + 1
    return last
