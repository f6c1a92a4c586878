"""What the record of an imported scan says about its place, its values and its labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from volforge.volume.geometry import Array, axis_codes
from volforge.volume.intensity import percentiles, values_in
from volforge.volume.label_map import LabelMap, Target, voxels_by_id
from volforge.volume.source_volume import SourceVolume
from volforge.volume.straighten import planes_record


def place_record(target: Target) -> dict[str, Any]:
    """The grid of the source file, the canonical grid, and the way from one to the other."""
    source, grid = target.source, target.grid
    return {
        "source_grid": {
            "shape": list(target.source_shape),
            "axes": axis_codes(source.grid.affine) if source else "RAS",
            "affine": (source or target).grid.affine.tolist(),
            "header": source.header if source else {},
            **_planes(source),
        },
        "reorientation": {"order": list(target.turn.order), "flip": list(target.turn.flip)},
        "grid": {
            "shape": list(grid.shape),
            "spacing_mm": list(grid.spacing_mm),
            "affine": grid.affine.tolist(),
        },
    }


def _planes(source: SourceVolume | None) -> dict[str, Any]:
    """Where the slices of the file lay, if they had to be straightened and the file can hold them (NIfTI)."""
    if source is None or source.planes is None or source.kind != "nifti":
        return {}
    return {"planes": {**planes_record(source.planes), "axis": source.axis}}


def values_record(image: Array, body: Array | None) -> dict[str, Any]:
    """Type, range and percentiles of an image, of the whole and of the body."""
    record: dict[str, Any] = {
        "dtype": str(image.dtype),
        "min": float(image.min()),
        "max": float(image.max()),
        "percentiles": percentiles(image),
    }
    if body is not None:
        record["body_percentiles"] = percentiles(values_in(image, body))
    return record


def labels_record(
    labels: LabelMap, body: Array | None, structures: Mapping[str, int]
) -> tuple[dict[str, Any], list[str]]:
    """Voxels by structure and what lies outside of the body, with flags.

    Args:
        labels: The map.
        body: The body on its grid, None where there is none.
        structures: Id by name; empty: structures are called by their ids.
    """
    names = {value: name for name, value in structures.items()}
    voxels = {names.get(i, str(i)): n for i, n in voxels_by_id(labels.array).items()}
    flags = [] if voxels else ["labels_empty"]
    if voxels and not names:
        flags.append("structures_without_names")
    entry: dict[str, Any] = {"voxels": voxels, "overlap_voxels": labels.overlap_voxels}
    if body is not None and voxels:
        outside = int(np.count_nonzero((labels.array > 0) & ~body))
        entry["outside_body_voxels"] = outside
        if outside > 0.001 * sum(voxels.values()):
            flags.append("labels_outside_body")
    return entry, flags
