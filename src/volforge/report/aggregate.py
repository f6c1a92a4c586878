"""From measures to one value per subject: mean over sides, then samples, then scans, then seeds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from volforge.metrics.measure import FAILURES
from volforge.study.measures import COLUMNS, read_measures

if TYPE_CHECKING:
    import pandas as pd

# one row of the table: what may be averaged together
ROW = ["label_source", "structure", "measure"]


def measures_frame(path: Path) -> pd.DataFrame:
    """measures.tsv with numbers where they belong; an empty value is NaN."""
    import pandas as pd

    try:  # cells that are alike are one text: a million rows of mappings would be gigabytes
        frame = pd.read_csv(path, sep="\t", dtype=object, na_filter=False, encoding="utf-8")
    except (OSError, ValueError):
        frame = pd.DataFrame()
    if not set(COLUMNS) <= set(frame.columns):
        frame = pd.DataFrame(read_measures(path), dtype=object)  # says what is wrong
    if frame.empty:
        return frame
    frame["value"] = [float(v) if v else math.nan for v in frame["value"]]
    for column in ("fold", "seed", "sample", "n"):
        frame[column] = frame[column].astype(int)
    return frame


def subject_values(frame: pd.DataFrame) -> pd.DataFrame:
    """One value per arm and subject for every row of the table.

    A subject is the unit of analysis: its sides, samples, scans and seeds (with folds) are averaged in this order.
    Failures have no value; they are counted by `failures`.

    Args:
        frame: From `measures_frame`.

    Returns:
        Columns label_source, structure, measure, arm, subject, value; subjects without any value are left out.
    """
    own = frame[(frame["subject"] != "") & frame["value"].notna()]
    keys = [*ROW, "arm", "subject"]
    for more in (["fold", "seed", "scan", "sample"], ["fold", "seed", "scan"], ["fold", "seed"], []):
        own = own.groupby([*keys, *more], sort=False, as_index=False)["value"].mean()
    return own


def study_values(frame: pd.DataFrame) -> pd.DataFrame:
    """Measures of whole sets (Fréchet distance ...): every fold and seed with its number of images.

    Returns:
        Columns label_source, structure, measure, arm, fold, seed, value, n.
    """
    own = frame[frame["subject"] == ""]
    return own[[*ROW, "arm", "fold", "seed", "value", "n"]]


def failures(frame: pd.DataFrame) -> dict[tuple[str, str, str, str], int]:
    """Number of failed cases by label source, structure, measure and arm.

    A case is a side of a scan, or a fold where a whole set is measured. It counts once however many seeds or samples of
    it fail: baselines have one of each, and would else fail less by that alone.
    """
    cases = [*ROW, "arm", "fold", "subject", "scan", "side"]
    failed = frame[frame["status"].isin(FAILURES)].drop_duplicates(cases)
    counted = failed.groupby([*ROW, "arm"], sort=False).size()
    return {(str(a), str(b), str(c), str(d)): int(n) for (a, b, c, d), n in counted.items()}


def rows_in_order(frame: pd.DataFrame) -> list[tuple[str, str, str]]:
    """The rows of the table as they first appear."""
    found = frame[ROW].drop_duplicates()
    return [(str(a), str(b), str(c)) for a, b, c in found.itertuples(index=False)]
