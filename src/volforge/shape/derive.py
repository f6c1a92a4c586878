"""Condyle and temporal bone from label maps that know only a mandible and a skull.

The condyle is not the highest point of the mandible: the coronoid process is higher in half of real joints. What parts
the two is the sigmoid notch between them: going down, the level at which both merge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.errors import VolforgeError
from volforge.volume.boxes import bounding_box
from volforge.volume.geometry import Array, Grid
from volforge.volume.morphology import closing, components, dilate, enclosed

CLOSING_MM = 2.0  # derived condyles are hollow: marrow lies under the threshold
PITCHES = tuple(range(-40, 41, 10))  # degrees; the head may be held forwards or back
LEVEL_MM = 1.0
DEEPEST_MM = 45.0
SHALLOWEST_MM = 9.0  # of 14 real joints the shallowest notch has 11; the corner of a ramus without a coronoid 8.7
LENGTH_MM = 25.0  # of a condyle, from its top
SMALLEST_MM3 = 30.0
APART_MM = (12.0, 50.0)  # between the tops of condyle and coronoid; the chin and the teeth are further away
ASIDE_MM = 22.0  # the condyle lies a little lateral of the coronoid
SIDES = ("left", "right")


@dataclass(frozen=True)
class Process:
    """How the condyle of a side was told from the coronoid.

    Attributes:
        pitch_degrees: Turn about the left-right axis after which the notch is deepest.
        notch_mm: Depth of the notch below the lower of the two tops.
        coronoid_higher: Whether the coronoid's top lies above the condyle's, as the patient was scanned.
    """

    pitch_degrees: float
    notch_mm: float
    coronoid_higher: bool


@dataclass(frozen=True)
class DerivedJoint:
    """The bones of a side.

    Attributes:
        condyle: (X, Y, Z) bool: condylar process, 25 mm from its top, solid.
        rest: The rest of this side's mandible.
        process: How it was found.
    """

    condyle: Array
    rest: Array
    process: Process


def derive_condyle(mandible: Array, grid: Grid) -> DerivedJoint:
    """The condylar process of one side of a mandible.

    Args:
        mandible: (X, Y, Z) bool, one side; axes nearest to RAS.
        grid: Its grid.

    Raises:
        VolforgeError: no mandible, or no two processes that a notch parts (cut by the field of view, edentulous and
            worn down, or fused).
    """
    if not mandible.any():
        raise VolforgeError("this side has no mandible", remedy="look at the label map")
    box = bounding_box(mandible, (3, 3, 3))
    part = solid(mandible[box], grid.spacing_mm)
    corner = np.array([s.start for s in box])
    places = np.argwhere(part)
    mm = (places + corner) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    # the notch is centimetres wide: a millimetre grid finds it
    stride = np.maximum(np.rint(LEVEL_MM / np.array(grid.spacing_mm)), 1).astype(int)
    coarse = part[tuple(slice(None, None, int(n)) for n in stride)]
    few = np.argwhere(coarse)
    few_mm = (few * stride + corner) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    voxel = grid.voxel_mm3 * float(np.prod(stride))
    best: tuple[Process, Array, Array] | None = None
    for pitch in PITCHES:
        found = _two_processes(coarse, few, few_mm, np.radians(pitch), voxel)
        if (
            found is not None
            and found[0].notch_mm >= SHALLOWEST_MM
            and (best is None or found[0].notch_mm > best[0].notch_mm)
        ):
            best = found
    if best is None:
        raise VolforgeError(
            "no sigmoid notch: condyle and coronoid cannot be told apart",
            remedy="the field of view may cut them, or the bones be fused; draw the condyle by hand",
        )
    process, condyle_points, coronoid_points = best
    angle = np.radians(process.pitch_degrees)
    height = mm[:, 2] * np.cos(angle) + mm[:, 1] * np.sin(angle)
    from scipy.spatial import cKDTree

    own = cKDTree(condyle_points).query(mm)[0] <= cKDTree(coronoid_points).query(mm)[0]
    top = float((condyle_points[:, 2] * np.cos(angle) + condyle_points[:, 1] * np.sin(angle)).max())
    chosen = own & (height > top - LENGTH_MM)
    small = np.zeros(part.shape, bool)
    small[tuple(places[chosen].T)] = True
    labels, _ = components(small, 26)
    small = labels == labels[tuple(places[chosen][int(np.argmax(height[chosen]))])]
    condyle, rest = np.zeros_like(mandible), mandible.copy()
    condyle[box] = small
    rest[box] |= part
    return DerivedJoint(condyle, rest & ~condyle, process)


def solid(mask: Array, spacing: tuple[float, float, float]) -> Array:
    """A bone without its marrow: closed by 2 mm, holes filled, in 3-D and in every axial slice."""
    from scipy.ndimage import binary_fill_holes

    shut = closing(mask, CLOSING_MM, spacing)
    shut |= enclosed(shut)
    for z in range(shut.shape[2]):  # marrow that opens downwards, or at the scan's border
        shut[:, :, z] = binary_fill_holes(shut[:, :, z])
    return shut


def split_sides(mandible: Array, grid: Grid) -> dict[str, Array]:
    """A mandible parted at its middle plane into left and right (patient's)."""
    box = bounding_box(mandible)
    places = np.argwhere(mandible[box])
    found = {side: np.zeros_like(mandible) for side in SIDES}
    if len(places):
        x = (places + np.array([s.start for s in box])) @ grid.affine[0, :3]
        left = x < (x.min() + x.max()) / 2
        for side, own in (("left", left), ("right", ~left)):
            found[side][box][tuple(places[own].T)] = True
    return found


def derive_barrier(skull: Array, condyle: Array, grid: Grid, reach_mm: float) -> Array:
    """The skull about a joint: what lies within a distance of the condyle, without small pieces.

    Args:
        skull: (X, Y, Z) bool.
        condyle: The joint's condyle.
        grid: Of both.
        reach_mm: How far from the condyle bone matters.
    """
    margin = tuple(int(np.ceil(reach_mm / s)) + 1 for s in grid.spacing_mm)
    box = bounding_box(condyle, margin)  # type: ignore[arg-type]
    near = dilate(condyle[box], reach_mm, grid.spacing_mm) & skull[box] & ~condyle[box]
    labels, counts = components(near, 26)
    large = counts * grid.voxel_mm3 >= SMALLEST_MM3
    large[0] = False
    result = np.zeros_like(skull)
    result[box] = large[labels]
    return result


def _two_processes(
    part: Array, places: Array, mm: Array, angle: float, voxel_mm3: float
) -> tuple[Process, Array, Array] | None:
    """Going down in levels, the last one at which two large pieces stand apart: condyle behind, coronoid in front."""
    height = mm[:, 2] * np.cos(angle) + mm[:, 1] * np.sin(angle)
    forward = mm[:, 1] * np.cos(angle) - mm[:, 2] * np.sin(angle)
    top = float(height.max())
    level = np.full(part.shape, -np.inf, np.float32)
    level[tuple(places.T)] = height
    least = max(SMALLEST_MM3 / voxel_mm3, 4)
    found: tuple[Process, Array, Array] | None = None
    for down in np.arange(2.0, DEEPEST_MM, LEVEL_MM):
        labels, counts = components(level > top - down, 26)
        large = [n for n in range(1, len(counts)) if counts[n] >= least]
        if len(large) < 2:
            continue
        of = labels[tuple(places.T)]
        large.sort(key=lambda n: -float(height[of == n].max()))
        a, b = (of == n for n in sorted(large[:2], key=lambda n: float(forward[of == n].mean())))
        tops = [p[int(np.argmax(h))] for p, h in ((mm[a], height[a]), (mm[b], height[b]))]
        apart = float(np.linalg.norm(tops[1] - tops[0]))
        if not APART_MM[0] < apart < APART_MM[1] or abs(tops[1][0] - tops[0][0]) > ASIDE_MM:
            continue
        if forward[b].mean() - forward[a].mean() < 10:
            continue
        heights = float(height[a].max()), float(height[b].max())
        depth = min(heights) - (top - float(down))
        higher = bool(mm[b][:, 2].max() > mm[a][:, 2].max())
        found = (Process(float(np.degrees(angle)), depth, higher), mm[a], mm[b])
    return found
