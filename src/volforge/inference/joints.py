"""Where the joints are: from a localiser's probability map to one centre per side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from volforge.volume.geometry import Array

THRESHOLD = 0.5
LEAST_SHARE = 0.15  # of the largest component: smaller ones are no joint
FARTHEST = 0.25  # share of the body's box by which a joint may lie off its usual place, on any axis


@dataclass(frozen=True)
class Joint:
    """A joint that was looked for.

    Attributes:
        side: `left` or `right`.
        centre: In voxels of the map.
        origin: `found`, `mirrored` (from the other side) or `prior` (the usual place).
    """

    side: str
    centre: tuple[float, float, float]
    origin: str


def box_of_body(body: Array | None, shape: Sequence[int]) -> tuple[Array, Array]:
    """First voxel and the one beyond the last of the body's box; the whole grid where there is no body."""
    if body is None or not body.any():
        return np.zeros(3), np.array(shape, float)
    from volforge.volume.boxes import bounding_box

    box = bounding_box(body)
    return np.array([b.start for b in box], float), np.array([b.stop for b in box], float)


def find_joints(
    probability: Array, body: Array | None, prior: Mapping[str, Sequence[float]], voxel: Sequence[float]
) -> list[Joint]:
    """One centre per side: the largest component near the usual place, else the other side's mirror image, else
    the usual place itself.

    Args:
        probability: Of a joint, (X, Y, Z), axes towards right, front and top.
        body: Body mask on the same grid, or None.
        prior: Usual place of each side, as shares of the body's box.
        voxel: Voxel size in mm, so that nearness means millimetres.
    """
    import cc3d

    low, high = box_of_body(body, probability.shape)
    usual = {side: low + np.array(p) * (high - low) for side, p in prior.items()}
    parts, count = cc3d.connected_components(
        np.ascontiguousarray(probability > THRESHOLD), connectivity=26, return_N=True
    )
    found: dict[str, tuple[int, Array]] = {}
    if count:
        stats = cc3d.statistics(parts)
        sizes, centres = stats["voxel_counts"][1:], stats["centroids"][1:]
        for size, centre in zip(sizes.tolist(), centres, strict=True):
            if size < LEAST_SHARE * sizes.max():
                continue
            off = {s: np.abs((centre - u) / (high - low)).max() for s, u in usual.items()}
            side = min(usual, key=lambda s: float(np.linalg.norm((centre - usual[s]) * np.array(voxel))))
            if off[side] <= FARTHEST and (side not in found or size > found[side][0]):
                found[side] = (size, centre)
    middle = np.mean([u[0] for u in usual.values()])
    joints = []
    for side, place in usual.items():
        other = next((s for s in found if s != side), None)
        if side in found:
            centre, origin = found[side][1], "found"
        elif other is not None and len(usual) == 2:
            centre = found[other][1].copy()
            centre[0] = 2 * middle - centre[0]
            origin = "mirrored"
        else:
            centre, origin = place, "prior"
        joints.append(Joint(side, (float(centre[0]), float(centre[1]), float(centre[2])), origin))
    return joints
