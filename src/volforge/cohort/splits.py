"""Splits and folds: by subject, deterministic, never empty where there are subjects enough."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from volforge.errors import VolforgeError

if TYPE_CHECKING:
    from volforge.cohort.sheet import SheetRow


@dataclass(frozen=True)
class Assignment:
    """Where a subject belongs: `split` in train, val, test; `fold` from 0."""

    split: str
    fold: int


def rank(subjects: Iterable[str], seed: int, salt: str = "") -> list[str]:
    """Subjects in an order that depends on nothing but (seed, subject): adding one moves no other pair."""

    def key(subject: str) -> tuple[bytes, str]:
        return hashlib.sha256(f"{seed}\0{salt}\0{subject}".encode()).digest(), subject

    return sorted(set(subjects), key=key)


def share_out(count: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers in proportion to `shares` (largest remainder), none of a positive share empty if possible."""
    exact = {name: count * share for name, share in shares.items()}
    numbers = {name: int(value) for name, value in exact.items()}
    for name in sorted(exact, key=lambda n: (numbers[n] - exact[n], n))[: count - sum(numbers.values())]:
        numbers[name] += 1
    wanted = [name for name, share in shares.items() if share > 0]
    for name in wanted:
        if numbers[name] == 0 and count >= len(wanted):
            richest = max(wanted, key=lambda n: numbers[n])
            numbers[richest] -= 1
            numbers[name] += 1
    return numbers


def assign(
    subjects: Iterable[str],
    *,
    seed: int,
    folds: int,
    shares: Mapping[str, float],
    splits: Mapping[str, str] | None = None,
    fixed_folds: Mapping[str, int] | None = None,
) -> dict[str, Assignment]:
    """Give every subject a split and a fold.

    Subjects are ranked by the hash of (seed, subject); splits are dealt by `shares`, folds in turn over the
    same ranking, so that none is empty. What the sheet says (`splits`, `fixed_folds`) overrides both.

    Raises:
        VolforgeError: There is no fold.
    """
    splits, fixed_folds = splits or {}, fixed_folds or {}
    ranked = rank(subjects, seed)
    free = [s for s in ranked if not splits.get(s)]
    if folds < 1:
        raise VolforgeError(f"{folds} folds", "folds", "give 1 or more; 1 puts every subject into fold 0")
    numbers = share_out(len(free), shares)
    dealt = [name for name, number in numbers.items() for _ in range(number)]
    chosen = dict(zip(free, dealt, strict=True))
    folded = dict(zip([s for s in ranked if s not in fixed_folds], _turns(folds), strict=False))
    return {
        s: Assignment(splits.get(s) or chosen[s], fixed_folds[s] if s in fixed_folds else folded[s]) for s in ranked
    }


def assign_rows(
    rows: Iterable[SheetRow], *, seed: int, folds: int, shares: Mapping[str, float]
) -> dict[str, Assignment]:
    """Split and fold of every subject of a sheet, whose columns `split` and `fold` override."""
    rows = list(rows)
    return assign(
        [r.subject for r in rows],
        seed=seed,
        folds=folds,
        shares=shares,
        splits={r.subject: r.split for r in rows if r.split},
        fixed_folds={r.subject: r.fold for r in rows if r.fold is not None},
    )


def _turns(folds: int) -> Iterable[int]:
    while True:
        yield from range(folds)
