"""The rule of the published patches, counted: does a patch change where nothing is missing, and does it where some is?

Source: Li et al., Medical Image Analysis 73, 102171 (2021). Skull completion: a patch without defect gives its input,
one with a defect gives the input and the missing part. Direct implant: no defect, all zeros; a defect, the missing
part alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from volforge.cohort.collect import as_tsv
from volforge.metrics.measure import Measure
from volforge.tasks.implant.grids import cut
from volforge.tasks.implant.tiles import tile_starts
from volforge.volume.folders import read_rows
from volforge.volume.geometry import Array
from volforge.whole_file import write_whole

FILE = "patch_rule.tsv"
FALSE_IMPLANT, MISSED = "patch_false_implant_share", "patch_missed_share"


@dataclass(frozen=True)
class PatchCounts:
    """Patches of one skull.

    Attributes:
        whole: Patches without a voxel of the true implant.
        false_implant: Of those, the ones whose answer changes something.
        defective: Patches with a voxel of it.
        missed: Of those, the ones whose answer adds nothing.
    """

    whole: int
    false_implant: int
    defective: int
    missed: int


COUNTS = tuple(f.name for f in fields(PatchCounts))


def changes(answer: Array, defective: Array, target: str) -> tuple[Array, Array]:
    """Voxels that an answer changes, and those that it adds, by the rule of its target.

    Args:
        answer: (X, Y, Z) boolean.
        defective: The skull that was shown, boolean.
        target: `skull`: where the answer is not the input, bone that is lost too, and what it has more than the input;
            `implant`: all that it has, twice.
    """
    return (answer != defective, answer & ~defective) if target == "skull" else (answer, answer)


def count_patches(answer: Array, defective: Array, implant: Array, patch: Sequence[int], target: str) -> PatchCounts:
    """Count the patches of a cap by the rule; one voxel is enough to change a patch, or to make it a defective one.

    Args:
        answer, defective, implant: (X, Y, Z) boolean: what the network gave, what it was shown, the true implant.
        patch: Voxels of a patch; the raster is that of `tile_starts`.
        target: `skull` or `implant`.
    """
    changed, added = changes(answer, defective, target)
    counts = [0, 0, 0, 0]
    for start in tile_starts(implant.shape, patch):
        any_of = [bool(cut(v, np.array(start), patch).any()) for v in (implant, changed, added)]
        if any_of[0]:
            counts[2:] = counts[2] + 1, counts[3] + (not any_of[2])
        else:
            counts[:2] = counts[0] + 1, counts[1] + any_of[1]
    return PatchCounts(*counts)


def measures_of(counts: PatchCounts, structure: str) -> list[Measure]:
    """The two shares, with the number of patches that each is of; without a value where there is no such patch."""
    found = []
    for name, part, n in (
        (FALSE_IMPLANT, counts.false_implant, counts.whole),
        (MISSED, counts.missed, counts.defective),
    ):
        found.append(Measure(name, part / n if n else math.nan, structure, "ok" if n else "undefined", n))
    return found


def write_counts(folder: Path, counts: dict[str, PatchCounts]) -> None:
    """Write patch_rule.tsv, one row a scan."""
    rows = [{"scan": scan, **asdict(c)} for scan, c in counts.items()]
    write_whole(folder / FILE, as_tsv(("scan", *COUNTS), rows))


def read_counts(folder: Path) -> dict[str, PatchCounts]:
    """Read patch_rule.tsv; empty where there is none: the arm sees no patches."""
    if not (folder / FILE).exists():
        return {}
    rows = read_rows(folder / FILE, "a table of patches", ("scan", *COUNTS))
    return {r["scan"]: PatchCounts(*(int(r[c]) for c in COUNTS)) for r in rows}
