"""All measures of a label map against another: every structure in one pass, each cropped to what it spans."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from volforge.metrics.measure import Measure, Status, nothing
from volforge.metrics.overlap import Overlap, count
from volforge.metrics.surface import Surface, SurfaceDistances, surface_distances
from volforge.volume.boxes import Box, foreground_box, grown, structure_boxes, union
from volforge.volume.geometry import Array

OVERLAP = ("dice", "iou", "sensitivity", "precision", "volume_error_percent", "volume_error_abs_percent")


@dataclass(frozen=True)
class SegmentationMetrics:
    """Which numbers are wanted.

    Attributes:
        tolerances_mm: Tolerances of the surface Dice.
        surface: Notion of a surface, see `volforge.metrics.surface`. `elements` adds the word to the names.
        distances: False leaves out all that needs a surface.
        boundary_mm: Width in mm of the boundary Dice around a third mask.
    """

    tolerances_mm: Sequence[float] = (1.0, 2.0)
    surface: Surface = "voxels"
    distances: bool = True
    boundary_mm: float = field(default=10.0)

    def names(self, boundary: bool = False) -> list[str]:
        """The measures that come out, in order."""
        found = [*OVERLAP, *(self._surface_names() if self.distances else [])]
        return [*found, boundary_name(self.boundary_mm)] if boundary else found

    def _surface_names(self) -> list[str]:
        word = "_elements" if self.surface == "elements" else ""
        plain = [f"{m}{word}_mm" for m in ("hd", "hd95", "hd95_pooled", "assd")]
        return plain + [f"nsd{word}_{_mm(t)}mm" for t in self.tolerances_mm]

    def of_surfaces(self, distances: SurfaceDistances) -> dict[str, float]:
        """The measures of two surfaces by name."""
        values = [
            distances.hausdorff(100),
            distances.hausdorff(95),
            distances.hausdorff_pooled(95),
            distances.average(),
            *(distances.surface_dice(t) for t in self.tolerances_mm),
        ]
        return dict(zip(self._surface_names(), values, strict=True))


def measure_structures(
    prediction: Array,
    reference: Array,
    spacing: Sequence[float],
    structures: Mapping[str, int],
    metrics: SegmentationMetrics | None = None,
    boundary: Array | None = None,
) -> list[Measure]:
    """Measure every structure of a predicted label map.

    A structure that neither map has is `absent` and no failure. One that a single map has gives NaN for every
    measure and is a failure (`empty_prediction`, `empty_reference`): an empty mask has no distance to anything,
    and a score would hide that nothing was found.

    Args:
        prediction: Label map of whole numbers (or booleans), shape (X, Y, Z).
        reference: Label map on the same grid.
        spacing: Voxel size in mm.
        structures: Id by name.
        metrics: Which numbers.
        boundary: Mask on the same grid (the defective skull): adds the boundary Dice near it.

    Returns:
        Measures by structure in the order of `structures`.

    Raises:
        ValueError: Where shapes differ, spacing is none, an id is below 1, or two tolerances have one name.
    """
    metrics = metrics or SegmentationMetrics()
    if prediction.shape != reference.shape or (boundary is not None and boundary.shape != reference.shape):
        raise ValueError(f"grids differ: {prediction.shape} and {reference.shape}")
    if len(spacing) != 3 or not all(math.isfinite(s) and s > 0 for s in spacing):
        raise ValueError(f"spacing must be three lengths above 0 mm, not {tuple(spacing)}")
    if len(set(metrics.names())) != len(metrics.names()):
        raise ValueError(f"two tolerances have one name: {tuple(metrics.tolerances_mm)}")
    if any(i < 1 for i in structures.values()):
        raise ValueError("ids of structures begin with 1: 0 is the background")
    prediction, reference = _whole_numbers(prediction), _whole_numbers(reference)
    ids = list(structures.values())
    of_prediction, of_reference = structure_boxes(prediction, ids), structure_boxes(reference, ids)
    found: list[Measure] = []
    for name, i in structures.items():
        box = union(of_prediction.get(i), of_reference.get(i))
        status = presence(i in of_prediction, i in of_reference)
        if box is None or status != "ok":
            n = int(np.count_nonzero(reference[box] == i)) if box is not None else 0
            found += [nothing(m, status, name, n) for m in metrics.names(boundary is not None)]
            continue
        near = None if boundary is None else _near(boundary, box, spacing, metrics.boundary_mm)
        found += _measure_masks(prediction[box] == i, reference[box] == i, spacing, name, metrics, near)
    return found


def presence(in_prediction: bool, in_reference: bool) -> Status:
    """Status of a structure by where it has voxels."""
    if in_prediction and in_reference:
        return "ok"
    if not in_prediction and not in_reference:
        return "absent"
    return "empty_prediction" if in_reference else "empty_reference"


def _measure_masks(
    prediction: Array,
    reference: Array,
    spacing: Sequence[float],
    structure: str,
    metrics: SegmentationMetrics,
    near: Array | None,
) -> list[Measure]:
    counts = count(prediction, reference)
    values = overlap_values(counts)
    if metrics.distances:
        values |= metrics.of_surfaces(surface_distances(prediction, reference, spacing, metrics.surface))
    found = [Measure(m, v, structure, "ok", counts.reference) for m, v in values.items()]
    if near is not None:
        inside = count(prediction & near, reference & near)
        name = boundary_name(metrics.boundary_mm)
        # neither mask comes near the bone: there is no border to speak of
        status: Status = "undefined" if math.isnan(inside.dice) else "ok"
        found.append(Measure(name, inside.dice, structure, status, inside.reference))
    return found


def overlap_values(counts: Overlap) -> dict[str, float]:
    """The overlap measures by name."""
    error = counts.volume_error_percent
    values = (counts.dice, counts.iou, counts.sensitivity, counts.precision, error, abs(error))
    return dict(zip(OVERLAP, values, strict=True))


def near_name(width_mm: float) -> str:
    """Name of the Dice near another structure."""
    return f"near_dice_{_mm(width_mm)}mm"


def near_dice(
    prediction: Array, reference: Array, other: Array, spacing: Sequence[float], width_mm: float, structure: str
) -> Measure:
    """Dice of a structure among the voxels within a distance of another structure, `near_dice_<width>mm`.

    Args:
        prediction, reference: Masks of the structure, shape (X, Y, Z).
        other: Mask of the other structure, of the reference.
        spacing: Voxel size in mm.
        width_mm: Distance of voxel centres.
        structure: Name of the structure.
    """
    name = near_name(width_mm)
    status = presence(bool(prediction.any()), bool(reference.any()))
    box = foreground_box(other)
    if status != "ok":
        return nothing(name, status, structure)
    if box is None:
        return nothing(name, "undefined", structure)
    wide = grown(box, [math.ceil(width_mm / s) + 1 for s in spacing], other.shape)
    near = _near(other, wide, spacing, width_mm)
    counts = count(prediction[wide] & near, reference[wide] & near)
    return Measure(name, counts.dice, structure, "undefined" if math.isnan(counts.dice) else "ok", counts.reference)


def boundary_name(width_mm: float) -> str:
    """Name of the boundary Dice within a width."""
    return f"boundary_dice_{_mm(width_mm)}mm"


def _near(boundary: Array, box: Box, spacing: Sequence[float], width_mm: float) -> Array:
    """Voxels of a box within a distance of a mask (of voxel centres, mm), looking only as far as needed."""
    import edt

    margin = [math.ceil(width_mm / s) + 1 for s in spacing]
    wide = grown(box, margin, boundary.shape)
    part = boundary[wide].astype(bool)
    inner = tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, wide, strict=True))
    if not part.any():
        return np.zeros(part[inner].shape, bool)
    away = edt.edt(~part, anisotropy=tuple(float(s) for s in spacing), black_border=False)
    return away[inner] <= width_mm * (1 + 1e-6)


def _whole_numbers(labels: Array) -> Array:
    if labels.dtype == bool:
        return labels.view(np.uint8)
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"a label map holds whole numbers, not {labels.dtype}")
    return labels


def _mm(value: float) -> str:
    """A length for a name: 1, 0_5."""
    return f"{value:g}".replace(".", "_")
