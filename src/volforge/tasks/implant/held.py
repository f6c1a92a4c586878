"""Skulls as a training of implants holds them: on the grid that its network sees, small enough to stay in memory."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from volforge.errors import VolforgeError
from volforge.study.cases import Cohort, Row
from volforge.tasks.implant.grids import Frame
from volforge.tasks.implant.settings import ImplantSettings
from volforge.tasks.implant.spline import spline_down
from volforge.volume.folders import sha256_of
from volforge.volume.geometry import Array, Grid

Draw = Callable[[str, Array, Grid, int, int], Array]
"""A defect: (scan, its bone (X, Y, Z) boolean, its grid, seed, index) to what is taken out, a boolean mask."""
ON_LINE_APART = 2**40  # numbers of validation defects: no training sample has them


@dataclass(frozen=True)
class Volume:
    """A binary volume as bits, or shares of voxels as 16-bit numbers."""

    values: Array
    shape: tuple[int, ...]

    @classmethod
    def of(cls, values: Array) -> Volume:
        """Bits of a boolean volume; 16-bit numbers of any other."""
        if values.dtype == bool:
            return cls(np.packbits(values.ravel()), values.shape)  # flat: along an axis it is ten times slower
        return cls(values.astype(np.float16), values.shape)

    def whole(self) -> Array:
        """Boolean, or float32."""
        if self.values.dtype == np.uint8:
            return np.unpackbits(self.values, count=math.prod(self.shape)).view(bool).reshape(self.shape)
        return self.values.astype(np.float32)


@dataclass(frozen=True)
class Held:
    """A skull.

    Attributes:
        scan, subject: Whose it is.
        grid: Of the volumes.
        complete: The bone without defect.
        implant: What the sheet's defect takes out of it; None where the scan has no defect.
        whole: The complete bone on the scan's own grid, where defects are drawn; else None.
        frame: Where the grid lies in the scan.
        scan_grid: Grid of the scan.
    """

    scan: str
    subject: str
    grid: Grid
    complete: Volume
    implant: Volume | None
    whole: Volume | None
    frame: Frame
    scan_grid: Grid


def has_pair(cohort: Cohort, row: Row) -> bool:
    """Whether a scan has a defective skull and its implant."""
    return cohort.has(row["scan"], "defective") and cohort.has(row["scan"], "implant")


def is_complete(cohort: Cohort, row: Row) -> bool:
    """Whether a scan shows a skull without defect."""
    return row["modality"] == "mask" and cohort.has(row["scan"], "image")


def usable(cohort: Cohort, rows: Sequence[Row], defects: str) -> list[Row]:
    """Scans that a model may learn from: with a known defect, or complete ones where defects are drawn."""
    with_defect = [r for r in rows if has_pair(cohort, r)]
    if defects == "sheet":
        return with_defect
    # of several defects of one skull, whose complete bone is the same, one is enough where all are drawn
    return [r for r in rows if has_pair(cohort, r) or is_complete(cohort, r)]


def held_skull(settings: ImplantSettings, cohort: Cohort, row: Row) -> Held:
    """Read a scan onto the grid of a model.

    Raises:
        VolforgeError: It shows no bone.
    """
    scan = row["scan"]
    grid = cohort.grid(scan)
    implant = None
    if has_pair(cohort, row):
        defective, implant = (cohort.read(scan, p) > 0 for p in ("defective", "implant"))
        implant &= ~defective
        complete = defective | implant
    else:
        complete = defective = cohort.read(scan, "image") > 0
    seen = complete if settings.implant["defects"] != "sheet" else defective
    frame = settings.frame(seen, grid, scan)
    if settings.implant["resample"] == "spline":
        down = [None if v is None else spline_down(v, frame) for v in (complete, implant)]
    elif settings.sees == "cap":
        down = [None if v is None else frame.average(v) for v in (complete, implant)]
    else:
        down = [None if v is None else frame.average(v) >= 0.5 for v in (complete, implant)]
    assert down[0] is not None
    of_implant = None if down[1] is None else Volume.of(down[1])
    whole = Volume.of(complete) if settings.implant["defects"] != "sheet" else None
    return Held(scan, row["subject"], frame.grid(grid), Volume.of(down[0]), of_implant, whole, frame, grid)


def fingerprint(cohort: Cohort, skulls: Sequence[Held]) -> str:
    """A hash of all files that skulls are read from: a checkpoint of other data is no beginning."""
    digest = hashlib.sha256()
    for held in skulls:
        for part in ("image", "defective", "implant"):
            if cohort.has(held.scan, part):
                digest.update(f"{held.scan} {sha256_of(cohort.folder / held.scan / f'{part}.nii.gz')}\n".encode())
    return digest.hexdigest()


class Skulls:
    """Skulls with their defects, by number of a sample.

    Args:
        skulls: Of the training.
        defects: `sheet`, `on_line` or `both`.
        seed: Of what is drawn.
        draw: Draws a defect.

    Raises:
        VolforgeError: There is none.
    """

    def __init__(self, skulls: Sequence[Held], defects: str, seed: int, draw: Draw, where: str = ""):
        if not skulls:
            raise VolforgeError("no training scan can be used", where, "look at the columns defective, implant, split")
        self.skulls, self.defects, self.seed, self.draw = list(skulls), defects, seed, draw
        self._last: tuple[int, tuple[Held, Array, Array]] | None = None

    def pair(self, number: int) -> tuple[Held, Array, Array]:
        """A skull with its complete bone and the part that is taken out, drawn from (seed, number).

        Both are boolean, or shares of voxels (float32) on coarse grids; the defective skull is the difference.
        """
        if self._last is None or self._last[0] != number:
            rng = np.random.default_rng([self.seed, number])
            held = self.skulls[int(rng.integers(len(self.skulls)))]
            is_drawn = self.defects == "on_line" or (self.defects == "both" and rng.random() < 0.5)
            self._last = (number, self._with_defect(held, is_drawn or held.implant is None, number))
        return self._last[1]

    def fixed(self, k: int) -> tuple[Held, Array, Array]:
        """Skull k with the defect of the sheet, or one that is the same at every call: for validation."""
        held = self.skulls[k]
        return self._with_defect(held, held.implant is None, ON_LINE_APART + k)

    def _with_defect(self, held: Held, is_drawn: bool, number: int) -> tuple[Held, Array, Array]:
        complete = held.complete.whole()
        if not is_drawn:
            assert held.implant is not None
            return held, complete, held.implant.whole()
        assert held.whole is not None
        bone = held.whole.whole()
        taken = held.frame.average(bone & self.draw(held.scan, bone, held.scan_grid, self.seed, number))
        return held, complete, taken >= 0.5 if complete.dtype == bool else np.minimum(taken, complete)
