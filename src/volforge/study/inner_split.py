"""Which subjects of a fold are learnt from, and which choose the weights."""

from __future__ import annotations

from collections.abc import Sequence

from volforge.cohort.splits import rank
from volforge.study.cases import Row


def inner_split(free: Sequence[Row], by_fold: bool, share: float) -> tuple[set[str], set[str]]:
    """Subjects to train on and subjects that choose the weights, of rows that are not tested and can be used.

    Without folds the split `val` chooses, where the cohort has one. Else a share of the training subjects does, ranked
    by a hash, at least one and never all.

    Args:
        free: From `free_rows`.
        by_fold: As there.
        share: Of the training subjects; 0: nothing chooses, the last weights win.
    """
    subjects = {r["subject"] for r in free}
    if not by_fold:
        chosen = {r["subject"] for r in free if r["split"] == "val"}
        subjects = {r["subject"] for r in free if r["split"] == "train"} - chosen
        if chosen and share:
            return subjects, chosen
    ranked = rank(subjects, 0, "inner validation")
    count = min(len(ranked) - 1, max(1, round(share * len(ranked)))) if share and len(ranked) > 1 else 0
    return set(ranked[count:]), set(ranked[:count])
