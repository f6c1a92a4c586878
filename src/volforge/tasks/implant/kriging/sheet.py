"""A model from the complete skulls of a sample sheet, by hand: what a small cohort is enough for."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from volforge.cohort.sheet import Sheet, SheetRow, read_sheet
from volforge.cohort.splits import rank
from volforge.errors import ProblemsError, VolforgeError, errors_of
from volforge.tasks.implant.bone import BONE_HU
from volforge.tasks.implant.defects.files import read_complete
from volforge.tasks.implant.kriging.closings import judged
from volforge.tasks.implant.kriging.covariance import terms
from volforge.tasks.implant.kriging.fit import LEAST_SKULLS, fit
from volforge.tasks.implant.kriging.model import about, tensors_of
from volforge.tasks.implant.kriging.settings import KrigingSettings
from volforge.tasks.implant.kriging.trials import calibrated
from volforge.training.fitted import write_fitted
from volforge.volume.geometry import Array

PACKAGES = ("numpy", "scipy", "numba")
LICENCE = re.compile(r"#*\s*licen[cs]e\s*:\s*(?P<terms>.+)", re.IGNORECASE)


def fit_sheet(
    sheet: Path,
    out: Path,
    licence: str = "",
    settings: Mapping[str, Any] | None = None,
    skulls: int | None = None,
    *,
    seed: int = 1,
    bone_hu: float = BONE_HU,
    root: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Fit a model to one complete skull of every subject of a sheet; rows of the split `test` are left out.

    Args:
        sheet: Sample sheet; a row takes part if its `image` is a mask, or a CT in HU.
        out: Folder of the model, which appears whole.
        licence: Terms, written into model.json; empty: those of the sheet's line `# licence: ...`.
        settings: Of the model; what is not named keeps its default.
        skulls: How many subjects are learnt from, the first by rank; None: as the settings say, all by default.
        seed: Of that rank, and of trial defects.
        bone_hu: Threshold of bone, for CT.
        root: Folder that the sheet's paths start from.
        say: Told what is done.

    Returns:
        Number of skulls that the model was fitted to.

    Raises:
        VolforgeError: No terms are named; too few complete skulls; a file cannot be used; unknown settings.
    """
    start = time.perf_counter()
    try:
        asked = KrigingSettings.of(settings or {})
    except (TypeError, ValueError) as error:
        raise VolforgeError(f"no settings of a model: {error}", "--settings", "see docs/implants.md") from error
    table = read_sheet(sheet, root=root)
    if errors_of(table.problems):
        raise ProblemsError(table.problems)
    stated = licence.strip() or licence_of(table)
    if not stated:
        raise VolforgeError(
            "the terms of the skulls are not known, and a model of them is a work derived from them",
            str(sheet),
            "pass --licence TEXT, or write `# licence: TEXT` at the head of the sheet",
        )
    rows = chosen_rows(table, seed, asked.skulls if skulls is None else skulls)
    if len(rows) < LEAST_SKULLS:
        text = f"{len(rows)} subjects with a complete skull (`image` of modality mask, or a CT)"
        raise VolforgeError(text, str(sheet), f"{LEAST_SKULLS} are needed at least")

    def skull(number: int) -> tuple[Array, Array]:
        found = read_complete(rows[number], bone_hu)
        return np.ascontiguousarray(found.mask).view(np.uint8), found.grid.affine

    say(f"{len(rows)} complete skulls")
    found = fit(len(rows), skull, asked, [r.scan for r in rows])
    say("variances")
    model, factors = calibrated(found.model, found.maps) if asked.calibrated else (found.model, {})
    say("limits of doubt, and intervals")
    names = [r.subject for r in rows]
    model, own = judged(model, found, skull, lambda _: None, names, seed)
    told = {
        **about(model),
        "licence": stated,
        "sheet": sheet.name,
        "subjects": {"training": sorted(names[n] for n in found.used), "validation": []},
        "same_head": [[rows[a].scan, rows[b].scan] for a, b in found.same],
        "covariance": dict(terms(model.field.covariance)),
        "deviation_factors": factors,
        **own.told,
    }
    write_fitted(out, tensors_of(model), told, time.perf_counter() - start, packages=PACKAGES)
    return len(found.used)


def licence_of(table: Sheet) -> str:
    """Terms that the comments of a sheet state; empty where they state none."""
    found = (LICENCE.fullmatch(line.strip()) for line in table.comments)
    return next((hit["terms"].strip() for hit in found if hit is not None), "")


def chosen_rows(table: Sheet, seed: int, skulls: int | None) -> list[SheetRow]:
    """The first complete skull of each subject that is not tested, of so many subjects."""
    first: dict[str, SheetRow] = {}
    for row in table.rows:
        if row.split != "test" and row.modality in ("mask", "CT") and "image" in row.files:
            first.setdefault(row.subject, row)
    kept = set(rank(set(first), seed, "skulls")[:skulls])
    return [row for subject, row in first.items() if subject in kept]
