"""A first study of a new project: what a task may know of a cohort, and what it answers.

A task that can be started has an entry `start` in its `by_hand`: `start(facts: Facts) -> Start | str`, the reason where
the data do not allow it. Configurations are written as text, with the comments of a newcomer's first reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

from volforge.cohort.looks import Look, widest
from volforge.cohort.sheet import SheetRow
from volforge.tables.structures import Structure

REGION, SLICES = "volume", "axial"
CROP_MM = 130.0  # scans that are smaller along every axis show a part of the body's inside
VOXELS = 96  # along the longest axis, in a first run
PATCH = 48
PIXELS = 96
FEWEST = 3  # subjects: to learn from, to choose by, to be tested


@dataclass(frozen=True)
class Facts:
    """What is known of a cohort before anything was imported.

    Attributes:
        cohort: Its name in the configuration.
        rows: The scans of its sheet.
        structures: Its table of structures.
        looks: Voxel sizes and fields of view by modality; lacks what could not be read.
        folds: Number of its folds; 0 where the sheet has a split `test`, which is then tested.
    """

    cohort: str
    rows: tuple[SheetRow, ...]
    structures: tuple[Structure, ...]
    looks: Mapping[str, Look]
    folds: int

    @property
    def shows_crops(self) -> bool:
        """Whether scans are cut out of the body: then no air surrounds it."""
        look = widest(self.looks)
        return look is not None and max(look.extent_mm) < CROP_MM

    @property
    def tested(self) -> str:
        """The line of a study that says what is tested; empty for the split `test`."""
        if not self.folds:
            return ""
        every = ", ".join(map(str, range(self.folds)))
        return f"folds: [0] # this fold of the subjects is tested; [{every}] tests every subject once"

    def having(self, *columns: str) -> list[SheetRow]:
        """Scans that have all these files."""
        return [r for r in self.rows if set(columns) <= set(r.files)]


@dataclass(frozen=True)
class Start:
    """A first study.

    Attributes:
        study: Its YAML, lines without indentation.
        recipes: YAML of the recipes that it reads, by name: one line each.
        groups: Groups that its structures need in the table, by structure.
        doubt: Why it should not be run as it is; it is then written as a comment. Empty: none.
    """

    study: str
    recipes: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    doubt: str = ""


def too_few(rows: list[SheetRow], what: str) -> str:
    """Why a network cannot learn from these scans; empty where it can.

    Args:
        rows: Scans with all that is learnt from.
        what: They have, in words.
    """
    subjects = len({r.subject for r in rows})
    if subjects >= FEWEST:
        return ""
    return f"{subjects or 'no'} subject{'s' if subjects != 1 else ''} with {what}; {FEWEST} or more are needed"


def region_recipe(facts: Facts) -> tuple[str, list[int]]:
    """The recipe `volume` of all that a scan shows, and the patch that a first network is shown of it.

    Returns:
        One line of YAML, and voxels along R, A, S.
    """
    look = widest(facts.looks) or Look((2.0, 2.0, 2.0), (400.0, 400.0, 400.0))
    longest = max(look.extent_mm)
    coarse = [_tidy(max(s, longest / VOXELS)) for s in look.spacing_mm]
    as_it_is = look.is_alike and longest / min(look.spacing_mm) <= VOXELS
    spacing = list(look.spacing_mm) if as_it_is else coarse
    voxels = [e / s for e, s in zip(look.extent_mm, spacing, strict=True)]
    patch = [min(PATCH, 8 * ceil(v / 8)) for v in voxels]
    around = "around: image, margin_mm: 0" if facts.shows_crops else "around: body"
    own = "" if as_it_is else f", spacing_mm: [{', '.join(f'{s:g}' for s in spacing)}]"
    why = "voxels as they are" if as_it_is else "coarse for a first run: finer voxels take longer"
    return f"{{kind: region, {around}{own}}} # 3-D blocks; {why}", patch


def slice_recipe(facts: Facts) -> str:
    """The recipe `axial` of slices that hold the whole body in every modality, one line of YAML."""
    images = {m: look for m, look in facts.looks.items() if m != "mask"}
    look = widest(images) or Look((2.0, 2.0, 2.0), (400.0, 400.0, 400.0))
    across, along = look.extent_mm[0], look.extent_mm[1]
    spacing = _tidy(max(look.spacing_mm[0], look.spacing_mm[1], max(across, along) / PIXELS))
    rows, columns = (16 * max(1, ceil(e / spacing / 16)) for e in (along, across))
    window = ", ct_window: {kind: hu, low: -1024, high: 1500}" if {"CT", "CBCT"} & set(images) else ""
    return (
        f"{{kind: slices, axis: axial, spacing_mm: {spacing:g}, size: [{rows}, {columns}]{window}}} "
        f"# rows and columns; spacing in mm{', window in HU' if window else ''}"
    )


def _tidy(value: float) -> float:
    """Not less than a length in mm, in steps of 0.1, from 2 mm on of 0.5."""
    step = 0.1 if value < 2 else 0.5
    return round(step * ceil(round(value / step, 3)), 3)
