"""The joints of a scan: which labels are which bones, by side, and what is measured of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from volforge.errors import VolforgeError
from volforge.shape.joint import Joint, JointSettings, measure_joint
from volforge.volume.boxes import holding
from volforge.volume.geometry import Array, Grid

SIDES = ("left", "right")


@dataclass(frozen=True)
class Masks:
    """The bones of a side on the scan's grid.

    Attributes:
        condyle, barrier: (X, Y, Z) bool.
        others: Bone that stops rays and bounds no joint space, or None.
        drawn: The negative volume itself (method `direct`), or None.
    """

    condyle: Array
    barrier: Array
    others: Array | None = None
    drawn: Array | None = None


def masks_of_side(labels: Array, grid: Grid, joint: Mapping[str, Any], side: str) -> Masks:
    """The bones of a side from a label map.

    Args:
        labels: (X, Y, Z) ids.
        grid: Its grid.
        joint: `joint` of an arm's settings: ids by side, or the ids of mandible and skull to derive them from.
        side: `left` or `right`.

    Raises:
        VolforgeError: derived bones that cannot be told apart.
    """
    if joint["derive"] is not None:
        return _derived(labels, grid, joint["derive"], side, region_mm(joint))
    ids = joint["sides"][side]
    others = holding(labels, ids["others"]) if ids["others"] else None
    drawn = holding(labels, ids["drawn"]) if ids["drawn"] else None
    return Masks(holding(labels, ids["condyle"]), holding(labels, ids["barrier"]), others, drawn)


def _derived(labels: Array, grid: Grid, ids: Mapping[str, Any], side: str, reach_mm: float) -> Masks:
    from volforge.shape.derive import derive_barrier, derive_condyle, split_sides

    skull = holding(labels, ids["skull"])
    own = ids["mandible"][side]
    mandible = holding(labels, own) if own else split_sides(holding(labels, ids["mandible"]["whole"]), grid)[side]
    found = derive_condyle(mandible, grid)
    barrier = derive_barrier(skull, found.condyle, grid, reach_mm)
    return Masks(found.condyle & ~barrier, barrier, found.rest & ~barrier)


def region_mm(joint: Mapping[str, Any]) -> float:
    """How far from a condyle bone matters: to the corners of the clip cube, and where rays look beyond it."""
    settings = joint_settings(joint)
    return float(np.sqrt(3) * (settings.cube_mm / 2 + settings.reach_mm))


def joint_settings(joint: Mapping[str, Any]) -> JointSettings:
    """How an arm measures joints."""
    inflation = joint["inflation"]
    return JointSettings(
        inflation["method"],
        joint["r_max_mm"],
        joint["cube_mm"],
        joint["step_mm"],
        tuple(joint["sensitivity_mm"]),
        inflation["widths"],
        inflation["meshes"],
        joint["ball_mm"],
        joint["accelerator"],
        joint["joint_space_mm"],
    )


def measure_side(
    labels: Array, grid: Grid, joint: Mapping[str, Any], side: str, image: Array | None, confidence: Array | None
) -> tuple[Joint, Masks]:
    """One joint of a scan.

    Args:
        labels: (X, Y, Z) ids.
        grid: Its grid.
        joint: `joint` of the arm's settings.
        side: `left` or `right`.
        image: CT in HU on the same grid, or None.
        confidence: Probability of the predicted label, or None; used where the barrier is enhanced.

    Raises:
        VolforgeError: no condyle, or bones that cannot be told apart.
    """
    masks = masks_of_side(labels, grid, joint, side)
    if not masks.condyle.any():
        raise VolforgeError("the condyle is empty", remedy="look at the label map of this side")
    settings, flags = joint_settings(joint), []
    if joint["inflation"]["enhance"]:
        if image is not None and confidence is not None:
            masks = _enhanced(masks, labels, image, confidence, grid, region_mm(joint))
        else:
            flags.append("not_enhanced")
    shown = image if joint["width"] == "image" else None
    if joint["width"] == "image" and image is None and settings.with_width:
        settings = replace(settings, with_width=False)  # widths of labels are another measure
        flags.append("no_image")
    found = measure_joint(masks.condyle, masks.barrier, masks.others, grid, settings, shown, masks.drawn)
    return replace(found, flags=(*found.flags, *flags)), masks


def _enhanced(masks: Masks, labels: Array, image: Array, confidence: Array, grid: Grid, reach_mm: float) -> Masks:
    """The barrier with the edges of the image where it is suspected (step C of the method)."""
    from volforge.shape.enhance import enhance
    from volforge.volume.boxes import bounding_box

    margin = tuple(int(np.ceil(reach_mm / s)) for s in grid.spacing_mm)
    box = bounding_box(masks.condyle, (margin[0], margin[1], margin[2]))
    # the predicted label has the stated part of a voxel's probability; of background the barrier may have the rest
    sure = confidence[box].astype(np.float32)
    own = masks.barrier[box]
    probability = np.where(own, sure, np.where(labels[box] == 0, 1 - sure, 0))
    found = enhance(image[box], probability, grid.voxel_mm3)
    barrier = np.zeros_like(masks.barrier)
    barrier[box] = found.mask
    return Masks(masks.condyle, (barrier | masks.barrier) & ~masks.condyle, masks.others, masks.drawn)
