"""The hole of a defective skull: the largest opening of its vault, seen from the middle of the cranial cavity.

Nothing is learnt: bone is drawn onto the sphere of directions about a point below the vertex, and what stays empty
above the skull base is open. Directions lie on Lambert's equal-area disc about the way up, so that areas compare.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.volume.boxes import foreground_box
from volforge.volume.geometry import Affine, Array, Grid
from volforge.volume.morphology import components, face

DEPTH = 0.48  # of the middle below the vertex, in widths of the skull: 70 mm of an adult's 145
LOWEST_DEGREES = 100.0  # from the way up: below lie orbits, the base, and the end of many scans
PIXEL_MM = 1.5
PIXEL_VOXELS = 1.5  # coarse voxels leave gaps on smaller pixels
CUT_MM2 = 300.0  # bone on a face of the grid, of an adult's skull: there the scan cuts the skull off
BEYOND = 1.15  # what leaves by such a face before so much of the skull's radius shows nothing
ADULT_MM = 70.0


@dataclass(frozen=True)
class Hole:
    """An opening of the vault.

    Attributes:
        centre: (3,) mm, the middle of the cavity.
        radius_mm: Half of the skull's width.
        pixel: Edge of a pixel of the disc, in units of the sphere's radius.
        away_mm: (N, N) distance of every pixel to the opening, mm on the sphere of that radius.
        inner_mm, outer_mm: Radii between which the bone about the opening lies.
    """

    centre: Array
    radius_mm: float
    pixel: float
    away_mm: Array
    inner_mm: float
    outer_mm: float

    def covers(self, places: Array, margin_mm: float) -> Array:
        """Which places lie in the opening or so near to its edge, and as deep as the bone about it, (N,) bool.

        Args:
            places: (N, 3) mm.
            margin_mm: Along the vault; in depth half of it.
        """
        rays = places - self.centre
        far = np.linalg.norm(rays, axis=1)
        pixels = disc(rays, far, self.pixel, len(self.away_mm))
        deep = (far > self.inner_mm - margin_mm / 2) & (far < self.outer_mm + margin_mm / 2)
        return (self.away_mm[pixels[:, 0], pixels[:, 1]] <= margin_mm) & deep


def disc(rays: Array, far: Array, pixel: float, count: int) -> Array:
    """Pixels (N, 2) of directions on the equal-area disc about the third axis, cut to its frame.

    Args:
        rays: (N, 3), third axis upwards.
        far: (N,) their lengths.
        pixel: Edge of a pixel, for a sphere of radius 1.
        count: Pixels along an edge of the frame.
    """
    up = rays[:, 2] / np.maximum(far, 1e-9)
    flat = np.linalg.norm(rays[:, :2], axis=1)
    # Lambert: the distance from the middle is 2 sin(colatitude / 2)
    scale = np.sqrt(np.maximum(2 * (1 - up), 0)) / np.maximum(flat, 1e-9)
    index = np.rint(rays[:, :2] * scale[:, None] / pixel).astype(np.int64) + count // 2
    return np.clip(index, 0, count - 1)


def middle_of_cavity(bone: Array, affine: Affine) -> tuple[Array, float]:
    """A point below the vertex, between the walls, and half of the skull's width.

    Args:
        bone: (X, Y, Z) bool, not empty.
        affine: Voxels to RAS mm.

    Returns:
        (3,) mm and mm.
    """
    places = np.argwhere(bone) @ affine[:3, :3].T + affine[:3, 3]
    top = float(places[:, 2].max())
    width = float(np.ptp(places[:, 0]))
    for _ in range(3):  # the width of the vault, not of cheeks and jaws
        vault = places[places[:, 2] >= top - DEPTH * width]
        width = float(np.ptp(vault[:, 0]))
    middle = (vault.min(axis=0) + vault.max(axis=0)) / 2
    return np.array([middle[0], middle[1], top - DEPTH * width]), width / 2


def hole_in_vault(defective: Array, affine: Affine) -> Hole | None:
    """The largest opening above the skull base; None where the vault is closed.

    Args:
        defective: (X, Y, Z), above 0 where bone is.
        affine: Voxels to RAS mm; the way up is its third row.
    """
    from scipy.ndimage import binary_closing, binary_opening, distance_transform_edt

    skull = defective > 0
    box = foreground_box(skull)
    if box is None:
        return None
    grid = Grid(tuple(defective.shape), affine)
    # voxels of a millimetre are enough to see an opening
    steps = [max(1, int(1.0 / s)) for s in grid.spacing_mm]
    bone = skull[box][tuple(slice(None, None, s) for s in steps)]
    own = grid.part(box).affine @ np.diag([*steps, 1.0])
    centre, radius = middle_of_cavity(bone, own)
    if radius <= 0:
        return None
    rays = np.argwhere(bone) @ own[:3, :3].T + own[:3, 3] - centre
    far = np.linalg.norm(rays, axis=1)
    coarse = float(np.max(np.array(grid.spacing_mm) * steps))
    pixel = max(PIXEL_MM, PIXEL_VOXELS * coarse) / radius
    count = 2 * (int(np.ceil(2.0 / pixel)) + 2) + 1
    drawn = np.zeros((count, count), bool)
    pixels = disc(rays, far, pixel, count)
    drawn[pixels[:, 0], pixels[:, 1]] = True
    drawn = binary_closing(drawn, np.ones((3, 3), bool))
    above = _above(count, pixel, LOWEST_DEGREES)
    opened = binary_opening(
        ~drawn & above & _inside(count, pixel, centre, radius, skull, affine), np.ones((3, 3), bool)
    )
    labels, counts = components(opened[:, :, None], 26)
    if len(counts) < 2:
        return None
    opening = labels[:, :, 0] == 1 + int(np.argmax(counts[1:]))
    away = distance_transform_edt(~opening) * pixel * radius
    near = away[pixels[:, 0], pixels[:, 1]] <= 15 * max(radius / ADULT_MM, 0.2)
    near &= far > 0.5 * radius
    around = far[near] if near.any() else far
    low, high = (float(v) for v in np.percentile(around, [2, 98]))
    return Hole(centre, radius, pixel, away, low, high)


def _above(count: int, pixel: float, degrees: float) -> Array:
    """Which pixels of the disc lie within an angle of the way up."""
    x, y = (np.indices((count, count)) - count // 2) * pixel
    return np.asarray(np.hypot(x, y) <= 2 * np.sin(np.radians(degrees) / 2))


def _inside(count: int, pixel: float, centre: Array, radius: float, bone: Array, affine: Affine) -> Array:
    """Directions that do not leave through a face of the grid where the scan cuts the skull: that is no opening."""
    x, y = (np.indices((count, count)) - count // 2) * pixel
    rho = np.minimum(np.hypot(x, y), 2.0)
    scale = np.sqrt(np.maximum(1 - rho**2 / 4, 0))
    rays = np.stack([x * scale, y * scale, 1 - rho**2 / 2], axis=-1)
    inverse = np.linalg.inv(affine)
    start, steps = inverse[:3, :3] @ centre + inverse[:3, 3], rays @ inverse[:3, :3].T
    spacing = Grid((1, 1, 1), affine).spacing_mm
    exits = np.full((*rho.shape, 6), np.inf)
    cut = np.zeros(6, bool)
    for axis in range(3):
        area = spacing[(axis + 1) % 3] * spacing[(axis + 2) % 3]
        for side, index in enumerate((0, bone.shape[axis] - 1)):
            plane = -0.5 if side == 0 else index + 0.5
            along = steps[..., axis]
            outwards = along < 0 if side == 0 else along > 0
            far = np.divide(plane - start[axis], along, out=np.full(rho.shape, np.inf), where=outwards)
            exits[..., 2 * axis + side] = far
            here = np.count_nonzero(face(bone, axis, index)) * area
            cut[2 * axis + side] = here > CUT_MM2 * (radius / ADULT_MM) ** 2
    return ~(cut[exits.argmin(axis=-1)] & (exits.min(axis=-1) < BEYOND * radius))
