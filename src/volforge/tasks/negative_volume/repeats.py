"""Repeats of a joint: what its numbers are on shifted voxels, under noise, and with another calibration of the CT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from volforge.errors import VolforgeError
from volforge.shape.joint import joint_region, main_piece, measure_joint
from volforge.shape.joint_record import VOLUMES, side_record
from volforge.shape.repeat import disturbed, edges_of, relabelled, rescanned
from volforge.tasks.negative_volume.joints import Masks, joint_settings
from volforge.volume.geometry import Array, Grid

KINDS = ("shift", "noise", "offset")
Joint = tuple[dict[str, Array], Grid, Array | None]


def sees_image(joint: Mapping[str, Any]) -> bool:
    """Whether the repeats of an arm look at the image.

    Args:
        joint: `joint` of the arm's settings.
    """
    wanted = joint["repeatability"]
    return joint["inflation"]["method"] == "ray" and bool(wanted["noises"] or wanted["offset_hu"])


def repeats_of(joint: Mapping[str, Any], masks: Masks, grid: Grid, image: Array | None) -> dict[str, Any]:
    """`repeats` of a side: by kind (`shift`, `noise`, `offset`) and measure the values, None where there is none.

    Args:
        joint: `joint` of an arm's settings; arms of other methods than `ray` have no repeats.
        masks: Bones of the side on the scan's grid.
        grid: The scan's.
        image: CT in HU, or None: then there are shifts alone.
    """
    wanted = joint["repeatability"]
    if joint["inflation"]["method"] != "ray" or not (wanted["shifts"] or sees_image(joint)):
        return {}
    names = (*VOLUMES, *(("joint_space_mean_mm", "joint_space_min_mm") if wanted["widths"] else ()))
    how = replace(joint_settings(joint), sensitivity_mm=(), with_width=wanted["widths"], with_surfaces=False)
    values: dict[str, dict[str, list[float | None]]] = {}
    for kind, (found, moved, seen) in _again(joint, masks, grid, image):
        try:
            record = side_record(measure_joint(found["condyle"], found["barrier"], found["others"], moved, how, seen))
        except VolforgeError:  # a condyle of a few voxels is not met by every grid: a repeat without values
            record = {}
        for name in names:
            values.setdefault(kind, {}).setdefault(name, []).append(record.get(name))
    return {"repeats": values}


def _again(joint: Mapping[str, Any], masks: Masks, grid: Grid, image: Array | None) -> Iterator[tuple[str, Joint]]:
    wanted = joint["repeatability"]
    condyle, crumbs = main_piece(masks.condyle)
    others = crumbs if masks.others is None else masks.others | crumbs
    box, region = joint_region(condyle, grid, joint_settings(joint))
    named = {"condyle": condyle[box], "barrier": masks.barrier[box], "others": others[box]}
    for found, moved in rescanned(named, region, wanted["shifts"], wanted["seed"]):
        yield "shift", (found, moved, None)
    if image is None:
        return
    part = image[box].astype("float32")
    edges = {
        name: edges_of(named[name], named[other] | named["others"], part)
        for name, other in (("condyle", "barrier"), ("barrier", "condyle"))
    }
    images = disturbed(part, wanted["noise_hu"], wanted["noises"], wanted["offset_hu"], wanted["seed"])
    for kind, several in images.items():
        for seen in several:
            found = relabelled(named, seen, edges, "others")
            yield kind, (found, region, seen if joint["width"] == "image" else None)
