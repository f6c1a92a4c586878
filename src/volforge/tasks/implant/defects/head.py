"""A head by its skull's own box and the patient's axes: its middle, and the names of places on its vault.

No template and no pose: places are as good as the head lies straight in its scan. The middle is 70 mm under the topmost
bone; directions from there are scaled by the box of the bone above (half its width and length, and these 70 mm): heads
of all shapes have one sphere of places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.errors import VolforgeError
from volforge.tasks.implant.defects.walks import extent_above
from volforge.volume.boxes import foreground_box
from volforge.volume.geometry import Affine, Array, Grid

DEPTH_MM = 70.0
REGIONS = ("frontal", "parietal", "temporal", "vertex", "occipital")
PLACES = (*REGIONS, "bilateral")
VERTEX_DEGREES = 30.0  # from the upright axis
SIDE_DEGREES = 60.0  # from there on the side is temporal, the back occipital
FRONT_DEGREES, BACK_DEGREES = 60.0, 130.0  # from the forward axis
BILATERAL_SHARE = 0.25


@dataclass(frozen=True)
class Head:
    """Where a head lies.

    Attributes:
        centre: (3,) RAS mm: in the middle of the box of the bone above it, 70 mm under the topmost bone.
        semi: (3,) mm: half the width and half the length of that box, and 70.
    """

    centre: Array
    semi: Array

    def canonical(self, points: Array) -> Array:
        """Points (N, 3) in RAS mm as unit directions on the sphere of places: right, forward, up."""
        scaled = (points - self.centre) / self.semi
        return scaled / np.maximum(np.linalg.norm(scaled, axis=-1, keepdims=True), 1e-9)

    def direction(self, canonical: Array) -> Array:
        """A unit direction on the sphere of places (3,) as a unit direction in RAS from the centre."""
        found = canonical * self.semi
        return found / np.linalg.norm(found)


def solid(skull: Array, affine: Affine) -> tuple[Array, Affine]:
    """The box of a skull's bone in C order, with its affine; axes turned round where the array is in Fortran order.

    Raises:
        VolforgeError: The skull is empty.
    """
    box = foreground_box(skull)
    if box is None:
        raise VolforgeError("the skull is empty", remedy="look at the mask, or at the threshold of bone")
    part, part_affine = skull[box], Grid((1, 1, 1), affine).part(box).affine
    if part.strides[0] < part.strides[-1]:
        return np.ascontiguousarray(part.T, dtype=bool), part_affine[:, [2, 1, 0, 3]]
    return np.ascontiguousarray(part, dtype=bool), part_affine


def head_of(skull: Array, affine: Affine) -> Head:
    """The head that a skull belongs to.

    Args:
        skull: (X, Y, Z) bool, any axis order; complete, or with a hole that does not hold its outermost bone.
        affine: 4x4, voxel index to RAS mm.

    Raises:
        VolforgeError: The skull is empty.
    """
    return head_of_solid(*solid(skull, affine))


def head_of_solid(bone: Array, affine: Affine) -> Head:
    """`head_of` what `solid` returned."""
    half = 0.5 * np.abs(affine[:3, :3]).sum(axis=1)  # voxels have a size, whatever the grid
    _, high = extent_above(bone, affine, -np.inf)
    floor = high[2] + half[2] - DEPTH_MM
    low, high = extent_above(bone, affine, floor)
    low, high = low - half, high + half
    middle = (low + high) / 2
    return Head(
        np.array([middle[0], middle[1], floor]),
        np.array([(high[0] - low[0]) / 2, (high[1] - low[1]) / 2, DEPTH_MM]),
    )


def region_of(canonical: Array) -> str:
    """The region of a unit direction (3,) on the sphere of places."""
    right, forward, up = (float(v) for v in canonical)
    down = np.degrees(np.arccos(np.clip(up, -1, 1)))
    if down < VERTEX_DEGREES:
        return "vertex"
    turn = np.degrees(np.arctan2(abs(right), forward))
    if turn < FRONT_DEGREES:
        return "frontal"
    if turn > BACK_DEGREES and down > SIDE_DEGREES:
        return "occipital"
    return "temporal" if down > SIDE_DEGREES and turn <= BACK_DEGREES else "parietal"


def right_share(head: Head, points: Array) -> float:
    """Share of points (N, 3) that lie right of the midline."""
    return float((points[:, 0] > head.centre[0]).mean())


def place_of(head: Head, points: Array) -> tuple[str, str]:
    """The place of a defect: `bilateral` where a quarter of it or more lies on either side, else its region.

    Args:
        head: The head.
        points: (N, 3) RAS mm, the voxels of the implant.

    Returns:
        Place, and region of the centroid.
    """
    region = region_of(head.canonical(points.mean(axis=0)[None])[0])
    share = right_share(head, points)
    is_both = BILATERAL_SHARE <= share <= 1 - BILATERAL_SHARE
    return ("bilateral" if is_both else region), region


def draw_direction(rng: np.random.Generator, place: str, least_aside: float) -> Array:
    """A direction on the sphere of places, evenly over a place.

    Args:
        rng: Random stream.
        place: One of `PLACES`, or `any`: the sphere to 75 degrees from its pole.
        least_aside: How far right or left, 0 to 1, a direction of a one-sided place lies at least: a wide defect
            nearer to the midline would be bilateral.

    Returns:
        (3,) unit vector: right, forward, up.
    """
    while True:
        up = rng.uniform(np.cos(np.radians(85.0)), 1.0)
        turn = rng.uniform(0, 2 * np.pi)
        flat = np.sqrt(1 - up * up)
        found = np.array([flat * np.sin(turn), flat * np.cos(turn), up])
        if place == "any":
            if up >= np.cos(np.radians(75.0)):
                return found
        elif place == "bilateral":
            if abs(found[0]) < 0.12 and up >= np.cos(np.radians(75.0)):
                return found
        elif abs(found[0]) >= least_aside and region_of(found) == place:
            return found
