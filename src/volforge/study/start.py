"""Whether a training of a study may begin with the weights of a model that is named by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from volforge.errors import VolforgeError
from volforge.study.cases import Cohort, free_rows
from volforge.training.start import Start, read_start

SHOWN = 5  # subjects that a message names


def checked_start(folder: Path, settings: Mapping[str, Any], scans: Path, fold: int) -> Start:
    """The model of a folder, where neither it nor any that it began with saw a subject that the training holds back.

    Subjects are compared by name, within a cohort: another cohort's are others.

    Args:
        folder: Of a trained or imported model.
        settings: Content of `<model>.train.json`.
        scans: scans.tsv of the cohort.
        fold: Fold that is tested (0 for the split `test`).

    Raises:
        VolforgeError: No model, damaged weights, a fitted model, or one that saw subjects that are to be tested.
    """
    found = read_start(folder)
    if not found.about.get("network"):
        text = "a training begins with weights of a network, and this model has none"
        raise VolforgeError(text, str(folder), "name the folder of a trained model")
    seen = found.seen.get(settings["cohort"], set())
    if not seen:
        return found
    rows = Cohort(scans).rows
    free = {r["subject"] for r in free_rows(rows, bool(settings["by_fold"]), fold)}
    tested = {r["subject"] for r in rows} - free
    if leaked := sorted(seen & tested):
        text = f"these weights saw {len(leaked)} of the subjects that are tested: {', '.join(leaked[:SHOWN])}"
        more = " ..." if len(leaked) > SHOWN else ""
        raise VolforgeError(text + more, str(folder), "begin with a model of the same fold")
    return found
