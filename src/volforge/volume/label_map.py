"""Label maps in canonical order, and the ways onto the grid of their image."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from volforge.errors import ScanError
from volforge.volume.geometry import (
    Array,
    Grid,
    Reorientation,
    corner_displacement_mm,
    describe,
    part_of,
    same_place,
)
from volforge.volume.source_volume import SourceVolume

MAX_ID = 65535
AT_ONCE = 2**22  # voxels


@dataclass
class LabelMap:
    """Integer labels in canonical order.

    Attributes:
        array: uint8 or uint16, (X, Y, Z).
        grid: Its canonical grid.
        overlap_voxels: Voxels claimed by more than one file of a folder (the later structure holds).
        flags: What a reader should know.
        notes: What was done or left out on the way, in sentences.
        source: The volume that they were read from, where it is one file.
        laid: Id by name of the structures that were laid into it one after the other.
    """

    array: Array
    grid: Grid
    overlap_voxels: int = 0
    flags: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    source: SourceVolume | None = None
    laid: dict[str, int] = field(default_factory=dict)

    def lay(self, structure: str, value: int, hit: Array) -> None:
        """Lay a structure over those that are there: where two overlap, the later holds, and it is counted.

        Args:
            structure: Its name.
            value: Its id.
            hit: Its voxels, bool.
        """
        self.overlap_voxels += int(((self.array[hit] > 0) & (self.array[hit] != value)).sum())
        self.array[hit] = value
        if hit.any():
            self.laid[structure] = value

    def flag_overlaps(self) -> None:
        """Flag overlaps, and name the structures of which nothing is left under those that were laid over them."""
        if not self.overlap_voxels:
            return
        self.flags.append("labels_overlap")
        left = set(present_ids(self.array))
        covered = [name for name, value in self.laid.items() if value not in left]
        if covered:
            self.flags.append("structure_covered")
            self.notes.append(f"wholly covered by structures of higher ids, and lost: {', '.join(covered)}")


@dataclass(frozen=True)
class Target:
    """The grid that labels must lie on: canonical grid, and the way there from the image's file.

    Attributes:
        grid: Canonical grid.
        source_shape: Shape in file order.
        turn: File order to canonical.
        source: The file as read that the grid is of, None where it is of no single file.
    """

    grid: Grid
    source_shape: tuple[int, int, int]
    turn: Reorientation
    source: SourceVolume | None = None


def lay_into(labels: LabelMap, grid: Grid) -> LabelMap | None:
    """Labels whose voxels are voxels of `grid`, laid into it; None where they are not."""
    offset = part_of(labels.grid, grid)
    if offset is None:
        return None
    whole = np.zeros(grid.shape, dtype=labels.array.dtype, order="F")
    shapes = list(zip(offset, labels.grid.shape, grid.shape, strict=True))
    ours = tuple(slice(max(0, o), max(0, o + n)) for o, n, _ in shapes)
    theirs = tuple(slice(max(0, -o), max(0, min(n, m - o))) for o, n, m in shapes)
    whole[ours] = labels.array[theirs]
    held, kept = int((labels.array > 0).sum()), int((whole > 0).sum())
    flags, notes = list(labels.flags), list(labels.notes)
    if kept < held:
        flags.append("labels_leave_image")
        notes.append(f"{held - kept} of {held} labelled voxels lie outside of the image")
    return LabelMap(whole, grid, labels.overlap_voxels, flags, notes, labels.source)


def onto_grid(labels: LabelMap, grid: Grid, path: Path, *, resample: bool) -> LabelMap:
    """The labels on `grid`; equal up to header rounding, or resampled where that is allowed."""
    if same_place(labels.grid, grid):
        displacement = corner_displacement_mm(labels.grid, grid)
        flags = [*labels.flags, "label_grid_rounded"] if displacement > 0.01 else labels.flags
        return LabelMap(labels.array, grid, labels.overlap_voxels, flags, labels.notes, labels.source)
    if not resample:
        raise ScanError(
            f"the grid differs from the image's: {describe(labels.grid)}; image: {describe(grid)}",
            str(path),
            "give maps on the image's grid, or set the cohort's `label_grid: resample`",
        )
    from volforge.volume.resample import resample_to

    moved = resample_to(labels.array, labels.grid, grid, nearest=True, outside=0)
    if labels.array.any() and not moved.any():
        raise ScanError("the labels lie outside of the image", str(path), "check that they belong together")
    return LabelMap(moved.astype(labels.array.dtype), grid, 0, [*labels.flags, "labels_resampled"], labels.notes)


def present_ids(array: Array) -> list[int]:
    """The ids in a label map, without background, sorted."""
    return list(voxels_by_id(array))


def voxels_by_id(array: Array) -> dict[int, int]:
    """Voxels of each id in a label map, without background, sorted by id."""
    flat = array.ravel(order="K")
    counts = np.zeros(1, np.int64)
    for start in range(
        0, flat.size, AT_ONCE
    ):  # counting wants 8 bytes a voxel: of some at a time, and of no background
        part = flat[start : start + AT_ONCE]
        found = np.bincount(part[part != 0], minlength=len(counts))
        found[: len(counts)] += counts
        counts = found
    return {int(i): int(counts[i]) for i in np.flatnonzero(counts)}
