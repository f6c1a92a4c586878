"""`negative_volume.json`: what was measured of a scan's joints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from volforge.shape.asymmetry import align_mirrored, asymmetry_index, compare_shapes
from volforge.shape.joint import Joint

FILE = "negative_volume.json"
SIDES = ("left", "right")
VOLUMES = ("negative_volume_mm3", "joint_space_mm3")
SIDE_MEASURES = (
    "negative_volume_mm3", "joint_space_mm3", "joint_space_mean_mm", "joint_space_min_mm", "unresolved_percent",
    "contact_area_mm2",
)  # fmt: skip


def side_record(joint: Joint) -> dict[str, Any]:
    """What was measured of a joint, as plain values; what is unknown is None."""
    frame = joint.bones.frame
    record: dict[str, Any] = {
        "status": "ok",
        "flags": list(joint.flags),
        "negative_volume_mm3": joint.negative_volume_mm3,
        "joint_space_mm3": finite(joint.joint_space_mm3),
        "contact_area_mm2": joint.contact.area_mm2,
        "contact_voxels": joint.contact.faces,
        "clip_cube": {
            "centre_mm": [round(float(v), 4) for v in frame.centre],
            "edge_mm": frame.cube_mm,
            "step_mm": frame.step_mm,
            "seen": joint.bones.seen,
        },
        "stops": dict(joint.inflated.stops),
        "sensitivity": [
            {"r_max_mm": r, "negative_volume_mm3": v, "joint_space_mm3": j if joint.bones.has_barrier else None}
            for r, (v, j) in joint.sensitivity.items()
        ],
    }
    if joint.mesh is not None:
        record["mesh_negative_volume_mm3"] = joint.mesh.negative_volume_mm3
        record["vertices_stopped"] = dict(joint.mesh.shares)
    width = joint.width
    if width is not None:
        place = width.narrowest
        assert joint.condyle is not None
        known = place is not None and math.isfinite(width.min_mm)
        record |= {
            "joint_space_mean_mm": finite(width.mean_mm),
            "joint_space_min_mm": finite(width.min_mm),
            "joint_space_min_at_mm": (
                [round(float(v), 3) for v in joint.condyle.mesh.vertices[place]]
                if known and place is not None
                else None
            ),
            "unresolved_percent": finite(100 * width.unresolved_share),
            "barrier_hole_percent": 100 * width.hole_share,
            "facing_area_mm2": float(width.areas[width.facing].sum()),
            "width_histogram": [{"from_mm": a, "to_mm": b, "area_mm2": c} for a, b, c in width.histogram()],
        }
    for name, surface in (("condyle", joint.condyle), ("barrier", joint.barrier)):
        if surface is not None:
            record[f"{name}_surface"] = {
                "volume_mm3": surface.mesh.volume_mm3,
                "watertight": surface.watertight,
                "euler": surface.euler,
                "volume_error": finite(surface.volume_error),
                "flags": list(surface.flags),
            }
    return record


def failed_record(message: str) -> dict[str, Any]:
    """Of a side whose joint could not be measured."""
    return {"status": "failed", "message": message, "flags": []}


def finite(value: float) -> float | None:
    """A value for JSON, which knows no NaN."""
    return float(value) if np.isfinite(value) else None


def value_of(record: Mapping[str, Any], side: str, measure: str) -> float:
    """A value of a side; NaN where it is unknown or the side failed."""
    value = record["sides"].get(side, {}).get(measure)
    return math.nan if value is None else float(value)


def asymmetry_record(sides: dict[str, Any], joints: dict[str, Joint]) -> dict[str, Any]:
    """Left against right: indices of the volumes, and the distance of the mirrored shapes where surfaces are there."""
    found: dict[str, Any] = {}
    for name in VOLUMES:
        left, right = (value_of({"sides": sides}, side, name) for side in SIDES)
        signed, absolute = asymmetry_index(left, right)
        found[name] = {"signed_percent": finite(signed), "percent": finite(absolute)}
    if set(joints) != set(SIDES):
        return found
    left_joint, right_joint = joints["left"], joints["right"]
    if left_joint.barrier is None or right_joint.barrier is None:
        return found
    alignment = align_mirrored(left_joint.bones, right_joint.bones, left_joint.barrier.mesh, right_joint.barrier.mesh)
    frames = (left_joint.bones.frame, right_joint.bones.frame)
    shapes = []
    for name, masks in (
        ("joint_space", [j.inflated.joint_space for j in (left_joint, right_joint)]),
        ("negative_volume", [j.inflated.space for j in (left_joint, right_joint)]),
        ("condyle", [j.bones.condyle_mask for j in (left_joint, right_joint)]),
    ):
        shapes += [
            {"structure": m.structure, "measure": m.measure, "value": finite(m.value)}
            for m in compare_shapes(masks[0], masks[1], frames, alignment.matrix, name)
        ]
    return found | {"shapes": shapes, "registration_residual_mm": alignment.residual_mm}
