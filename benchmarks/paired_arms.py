"""Every arm of a study less one of them, with intervals over subjects and over seeds.

Usage: python -m benchmarks.paired_arms results/studies/STUDY --less volforge [--measures mae_hu:body bone_dice:bone]
       [--by centre --sheet config/SHEET.tsv]

Two intervals of 95 % stand beside each mean difference: over subjects (bootstrap, seeds averaged first), and over seeds
(Student's t, subjects averaged first), which is empty where an arm has one seed. Differences are paired: by subject,
and by seed where both arms have several; an arm of one seed is compared with the mean of the other's. With `--by`, a
column of the sheet, the table stands once for each of its values.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.ablation_effects import interval_of_pairs
from volforge.metrics.statistics import bootstrap_interval
from volforge.tables.table import read_table

MEASURES = (
    "mae_hu:body", "mae_hu:soft", "mae_hu:bone_200", "bias_hu:bone_200", "bone_dice:bone", "bone_dice_250hu:bone",
)  # fmt: skip


def values_of(study: Path) -> pd.DataFrame:
    """One row for each arm, seed, subject, measure and structure; failures and absent values are left out."""
    frame = pd.read_csv(study / "measures.tsv", sep="\t", keep_default_na=False, dtype={"seed": str, "subject": str})
    frame["value"] = pd.to_numeric(frame["value"], errors="coerce")
    keys = ["arm", "seed", "subject", "measure", "structure"]
    return frame.dropna(subset=["value"]).groupby(keys, as_index=False)["value"].mean()


def difference(
    frame: pd.DataFrame, arm: str, less: str
) -> tuple[float, tuple[float, float], tuple[float, float] | None, int]:
    """One arm less another in one measure.

    Args:
        frame: `values_of` of one measure and structure.
        arm, less: Names.

    Returns:
        Mean over the subjects that both have, its interval over subjects, that over seeds (None where they share
        fewer than two), and the number of subjects.
    """
    own, other = (frame[frame["arm"] == name] for name in (arm, less))
    a, b = (part.groupby("subject")["value"].mean() for part in (own, other))
    apart = (a - b).dropna()
    together = [part[part["subject"].isin(apart.index)].groupby("seed")["value"].mean() for part in (own, other)]
    by_seed = (together[0] - together[1]).dropna()
    over_seeds = interval_of_pairs(by_seed.to_numpy()) if len(by_seed) > 1 else None
    return float(apart.mean()), bootstrap_interval(apart.to_numpy()), over_seeds, len(apart)


def lines_of(frame: pd.DataFrame, less: str, measures: Sequence[str]) -> list[str]:
    """The table, tab-separated."""
    lines = ["measure\tarm\tmean\tdifference\tover subjects\tover seeds\tsubjects"]
    for name in measures:
        measure, structure = name.split(":")
        own = frame[(frame["measure"] == measure) & (frame["structure"] == structure)]
        digits = 3 if "dice" in measure else 1
        for arm in sorted(set(own["arm"])):
            mean = own[own["arm"] == arm].groupby("subject")["value"].mean().mean()
            cells = [name, arm, f"{mean:.{digits}f}", *[""] * 4]
            if arm != less:
                found, subjects, seeds, count = difference(own, arm, less)
                cells[3:] = [
                    f"{found:+.{digits}f}",
                    _interval(subjects, digits),
                    _interval(seeds, digits) if seeds else "",
                    str(count),
                ]
            lines.append("\t".join(cells))
    return lines


def subjects_by(sheet: Path, column: str) -> dict[str, list[str]]:
    """Subjects of a sheet by their value in a column.

    Raises:
        ValueError: There is no such column, or a subject has two values.
    """
    table = read_table(sheet)
    if column not in table.header:
        raise ValueError(f"{sheet} has no column {column}: {', '.join(table.header)}")
    values: dict[str, set[str]] = {}
    for _, cells in table.rows:
        values.setdefault(cells["subject"], set()).add(cells[column])
    several = [subject for subject, found in values.items() if len(found) > 1]
    if several:
        raise ValueError(f"subjects with several values of {column}: {', '.join(several[:5])}")
    by: dict[str, list[str]] = {}
    for subject, found in values.items():
        by.setdefault(found.pop(), []).append(subject)
    return dict(sorted(by.items()))


def _interval(bounds: tuple[float, float], digits: int) -> str:
    return "[" + ", ".join(f"{b:+.{digits}f}" for b in np.asarray(bounds)) + "]"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--less", default="volforge")
    parser.add_argument("--measures", nargs="+", default=list(MEASURES))
    parser.add_argument("--by", help="column of the sheet")
    parser.add_argument("--sheet", type=Path, help="the sheet, where that column stands")
    given = parser.parse_args()
    frame = values_of(given.study)
    if given.by and given.sheet is None:
        parser.error("--by needs --sheet")
    for value, subjects in subjects_by(given.sheet, given.by).items() if given.by else [("", None)]:
        own = frame if subjects is None else frame[frame["subject"].isin(subjects)]
        if len(own):
            print("\n".join([f"{given.by} {value}"] * bool(value) + lines_of(own, given.less, given.measures)))


if __name__ == "__main__":
    main()
