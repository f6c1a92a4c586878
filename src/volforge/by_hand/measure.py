"""Measures of any two files or folders, without a study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volforge.errors import ScanError, VolforgeError
from volforge.metrics.image import ImageMetrics, measure_image
from volforge.metrics.measure import Measure
from volforge.metrics.segmentation import SegmentationMetrics, measure_structures
from volforge.metrics.surface import Surface
from volforge.study.whole_numbers import whole_numbers
from volforge.tables.names import tidy_name
from volforge.tables.table import read_table
from volforge.volume.dicom.names import meaning
from volforge.volume.geometry import Array, Grid, describe, hull, reorientation_of, same_place
from volforge.volume.itk_headers import NRRD
from volforge.volume.label_map import lay_into
from volforge.volume.labels import read_mask_volume
from volforge.volume.read import read_volume, suffix_of
from volforge.volume.read_itk import is_segmentation
from volforge.volume.seg_nrrd import Segment, read_segments, segments_of
from volforge.volume.source_volume import label_ids, refuse_not_finite, values_of

VOLUMES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr")


@dataclass(frozen=True)
class Pair:
    """A prediction with its reference.

    Attributes:
        name: File name without its ending.
        prediction: Its path.
        reference: The reference's path.
    """

    name: str
    prediction: Path
    reference: Path


def pairs(prediction: Path, reference: Path) -> list[Pair]:
    """Two files, or the files of two folders that have the same name up to the ending.

    Raises:
        VolforgeError: Something is missing, or files of one folder have no partner.
    """
    for path in (prediction, reference):
        if not path.exists():
            raise VolforgeError("not found", str(path), "check the path")
    if prediction.is_dir() != reference.is_dir():
        raise VolforgeError("one is a folder and one a file", f"{prediction}, {reference}", "give two of a kind")
    if not prediction.is_dir():
        return [Pair(_stem(prediction), prediction, reference)]
    found, wanted = _by_name(prediction), _by_name(reference)
    both = [n for n in wanted if n in found]
    if not both:
        names = f"{', '.join(list(found)[:3]) or 'none'} and {', '.join(list(wanted)[:3]) or 'none'}"
        raise VolforgeError(
            f"no two volumes have the same name ({names} ...)", f"{prediction}, {reference}", "rename the predictions"
        )
    missing = [n for n in wanted if n not in found]
    if missing:
        raise VolforgeError(
            f"{len(missing)} references have no prediction: {', '.join(missing[:8])}",
            str(prediction),
            "add them, or take their references away: leaving them out would flatter the result",
        )
    return [Pair(n, found[n], wanted[n]) for n in both]


def _by_name(folder: Path) -> dict[str, Path]:
    files = sorted(p for p in folder.iterdir() if p.is_file() and suffix_of(p) in VOLUMES)
    found: dict[str, Path] = {}
    for path in files:
        if _stem(path) in found:
            raise VolforgeError(f"two files are called '{_stem(path)}'", str(folder), "keep one")
        found[_stem(path)] = path
    return found


def _stem(path: Path) -> str:
    stem = path.name[: -len(suffix_of(path))] if suffix_of(path) else path.name
    return stem[: -len(".seg")] if suffix_of(path) in NRRD and stem.lower().endswith(".seg") else stem


def overlap(
    pair: Pair, structures: Mapping[str, int], metrics: SegmentationMetrics, boundary: Path | None
) -> list[Measure]:
    """Measures of two label maps or masks; spacing and millimetres come from the affine.

    Args:
        pair: The files.
        structures: Id by name. Segments of 3D Slicer are found by these names, other maps hold the ids.
        metrics: Which numbers.
        boundary: Mask that the boundary Dice is near, a file.
    """
    if is_segmentation(pair.prediction) or is_segmentation(pair.reference):
        prediction, reference, grid = _segments_together(pair, structures)
    else:
        prediction, reference, grid = _together(pair, labels=True)
    p, r = whole_numbers(prediction, str(pair.prediction)), whole_numbers(reference, str(pair.reference))
    near = None if boundary is None else _mask(boundary, grid, pair.reference)
    return measure_structures(p, r, grid.spacing_mm, structures, metrics, near)


def present_structures(every: Sequence[Pair]) -> dict[str, int]:
    """Every id that some map has, named by its number; a single one is called `mask`.

    Where all maps are segmentations of 3D Slicer: every name that one of them has, numbered anew.

    Raises:
        VolforgeError: All maps are empty; some name their structures, and others number them.
    """
    ids: set[int] = set()
    names: dict[str, Path] = {}
    for pair in every:
        for path in (pair.prediction, pair.reference):
            named = [s for s in segments_of(path) if s.is_named]
            names |= {_name_of(s): path for s in named}
            if named:
                continue
            values = whole_numbers(np.unique(label_ids(read_volume(path, labels=True))), str(path))
            ids |= {int(i) for i in values if i > 0}
    if names and ids:
        told = ",".join(f"{_name_of(s)}={s.value}" for s in segments_of(next(iter(names.values()))))
        raise VolforgeError(
            "the segments of this file have names, other maps have ids alone",
            str(next(iter(names.values()))),
            f"say which id of the others is which: --structures {told}",
        )
    if names:
        return {name: i for i, name in enumerate(names, start=1)}
    if not ids:
        raise VolforgeError("all maps are empty", str(every[0].reference.parent), "look at the files")
    return {"mask": ids.pop()} if len(ids) == 1 else {str(i): i for i in sorted(ids)}


def _name_of(segment: Segment) -> str:
    """What a measure calls a segment: its signs as words, and in another script as its author wrote it."""
    return meaning(segment.name) or tidy_name(segment.name)


def image(pair: Pair, mask: Path | None, metrics: ImageMetrics) -> list[Measure]:
    """Measures of two images, inside a mask.

    Args:
        pair: The files.
        mask: A file, or a folder with a file of the same name; None: the body found in the reference (HU), or the
            whole grid.
        metrics: Which numbers.
    """
    prediction, reference, grid = _together(pair, labels=False)
    if mask is not None:
        path = _by_name(mask).get(pair.name) if mask.is_dir() else mask
        if path is None:
            raise VolforgeError(f"no mask is called '{pair.name}'", str(mask), "add it")
        inside, region = _mask(path, grid, pair.reference), "mask"
    elif metrics.hu:
        from volforge.volume.body_mask import find_body

        inside, region = find_body(reference, grid.spacing_mm, hounsfield=True).mask, "body"
    else:
        inside, region = np.ones(reference.shape, bool), "whole"
    # outside of the mask a reference may be anything; where no mask is found since it holds no numbers, it is at fault
    counted = inside if inside.any() else np.ones(reference.shape, bool)
    part = "" if region == "whole" else f" inside the {region}"
    refuse_not_finite(np.isfinite(reference) | ~counted, grid, str(pair.reference), part)
    return measure_image(prediction, reference, inside, metrics, region)


def _mask(path: Path, grid: Grid, reference: Path) -> Array:
    """A mask on a grid, as bool."""
    return _on(path, grid, reference, labels=True) > 0


def _together(pair: Pair, *, labels: bool) -> tuple[Array, Array, Grid]:
    """Both volumes in the reference's canonical axes."""
    volume = read_volume(pair.reference, labels=labels)
    turn = reorientation_of(volume.grid.affine)
    grid = turn.canonical(volume.grid)
    reference = np.asfortranarray(turn.apply(values_of(volume, labels=labels)))
    return _on(pair.prediction, grid, pair.reference, labels=labels), reference, grid


def _segments_together(pair: Pair, structures: Mapping[str, int]) -> tuple[Array, Array, Grid]:
    """Label maps of which one or both are segmentations of 3D Slicer, on the grid that holds both.

    3D Slicer crops its files to what they hold: those of two annotators have the same voxels, but other corners.
    """
    maps = []
    for path in (pair.prediction, pair.reference):
        if is_segmentation(path):
            maps.append(read_segments(path, None, structures, resample=False, rois={s: (s,) for s in structures}))
        else:
            maps.append(read_mask_volume(path, None, resample=False))
    prediction, reference = maps
    whole = hull(reference.grid, prediction.grid)
    laid = [lay_into(m, whole) for m in maps] if whole is not None else [None]
    if whole is None or laid[0] is None or laid[1] is None:
        raise _elsewhere(pair.prediction, prediction.grid, pair.reference, reference.grid)
    return laid[0].array, laid[1].array, whole


def _on(path: Path, grid: Grid, reference: Path, *, labels: bool) -> Array:
    volume = read_volume(path, labels=labels)
    turn = reorientation_of(volume.grid.affine)
    own = turn.canonical(volume.grid)
    if not same_place(own, grid):
        raise _elsewhere(path, own, reference, grid)
    return np.asfortranarray(turn.apply(values_of(volume, labels=labels)))


def _elsewhere(path: Path, grid: Grid, reference: Path, wanted: Grid) -> ScanError:
    return ScanError(
        f"not on the grid of {reference}: {describe(grid)}; reference: {describe(wanted)}",
        str(path),
        "resample one onto the other first",
    )


def read_structures_option(value: str) -> dict[str, int]:
    """Structures from a table (columns structure, id) or from `name=id,name=id`.

    Raises:
        VolforgeError: Neither; names or ids that are empty, no ids, or stand twice.
    """
    remedy = "give a table with structure and id, or name=id,name=id"
    path = Path(value)
    if value and (path.suffix in (".tsv", ".csv") or path.exists()):
        table = read_table(path)
        missing = [c for c in ("structure", "id") if table.header and c not in table.header]
        if missing:
            table.add(0, missing[0], "", "required column is missing", remedy)
        for number, row in table.rows:
            table.has_unseen(number, "structure", row.get("structure", ""))
        for problem in table.problems[:1]:
            line = f"line {problem.line}: " if problem.line else ""
            column = f"column '{problem.column}': " if problem.column else ""
            raise VolforgeError(f"no structures can be read: {line}{column}{problem.message}", value, problem.remedy)
        pairs = [(f"line {n}: ", row["structure"], row["id"]) for n, row in table.rows]
    else:
        parts = [item.partition("=") for item in value.split(",")]
        pairs = [("", name.strip(), text.strip()) for name, _, text in parts]
    found: dict[str, int] = {}
    for line, name, text in pairs:
        if not name or not text:
            raise VolforgeError(f"no structures can be read: {line}a name and an id are needed", value, remedy)
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65535):
            raise VolforgeError(
                f"{line}'{text}' is no id of '{name}'", value, "ids are whole numbers from 1 to 65535; 0 is background"
            )
        if name in found or int(text) in found.values():
            raise VolforgeError(f"{line}{name}={text}: the name or the id stands twice", value, "keep one")
        found[name] = int(text)
    return found


def segmentation_metrics(
    tolerances_mm: Sequence[float], surface: Surface, boundary_mm: float, *, distances: bool
) -> SegmentationMetrics:
    """Which numbers are wanted, from the options of the command.

    Raises:
        VolforgeError: Lengths that are none; two tolerances that would have one name.
    """
    for option, values in (("--tolerance", tolerances_mm), ("--boundary-mm", [boundary_mm])):
        for value in values:
            if not (math.isfinite(value) and value > 0):
                raise VolforgeError(f"{value:g} is no length", option, "give millimetres above 0")
    metrics = SegmentationMetrics(tuple(tolerances_mm), surface, distances, boundary_mm)
    if len(set(metrics.names())) != len(metrics.names()):
        shown = ", ".join(f"{t:g}" for t in tolerances_mm)
        raise VolforgeError(f"one tolerance stands twice: {shown}", "--tolerance", "name each once")
    return metrics


def check_range(low: float, high: float) -> None:
    """Refuse a range of values that is empty or has no end.

    Raises:
        VolforgeError: It is.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise VolforgeError(
            f"the range {low:g} to {high:g} is empty or has no end", "--low, --high", "give --low below --high"
        )
