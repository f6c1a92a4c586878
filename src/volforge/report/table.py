"""The table of a study: summaries over subjects, tests between arms, published numbers, and what it was made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volforge.errors import VolforgeError
from volforge.metrics.distribution import FEW_IMAGES
from volforge.metrics.measure import FAILURES, NOMINAL, better, from_nominal, unit_of
from volforge.metrics.statistics import FEWEST_PAIRS, MOST_EXACT, NOISE, PairedTest, Summary, compare_arms, summarise
from volforge.report.aggregate import ROW, failures, measures_frame, rows_in_order, study_values, subject_values
from volforge.report.learnt import Verdict, verdicts
from volforge.report.published import PublishedNumber, read_published
from volforge.report.sides import SidesRow, compare_sides

if TYPE_CHECKING:
    import pandas as pd

CEILING = "ceiling"  # kind of an arm that shows what can be reached, and competes with none
LESS = "less"  # kind of an arm that was trained on less than another one of its study, and is ranked against none
UNRANKED = (CEILING, LESS)
ALWAYS_COUNTED = ("volume_mm3", "reference_volume_mm3")  # kept as measures for figures, not rows of the table


@dataclass(frozen=True)
class Cell:
    """One arm in one row.

    Attributes:
        summary: Over subjects, or over folds and seeds for measures of whole sets.
        failures: Measures without a value because a mask was empty or a prediction missing.
        images: Smallest number of images behind it, for measures of whole sets; else 0.
        is_best: Best mean of the row, among the arms with the fewest failures; never that of real images.
        loses_to: The baseline that it does not beat, else empty.
        published: The paper's number for it on the same data, else None.
    """

    summary: Summary
    failures: int
    images: int = 0
    is_best: bool = False
    loses_to: str = ""
    published: PublishedNumber | None = None


@dataclass(frozen=True)
class TableRow:
    """A structure and a measure with all arms."""

    label_source: str
    structure: str
    measure: str
    cells: dict[str, Cell]
    tests: list[PairedTest]

    @property
    def unit(self) -> str:
        """Unit of the values."""
        return unit_of(self.measure)

    def test(self, a: str, b: str) -> PairedTest | None:
        """The test of two arms, in whatever order."""
        return next((t for t in self.tests if {t.a, t.b} == {a, b}), None)

    @property
    def best(self) -> str:
        """Name of the best arm, empty where there is none."""
        return next((a for a, c in self.cells.items() if c.is_best), "")


@dataclass(frozen=True)
class Display:
    """What the task of a study says of its page.

    Attributes:
        shown: Measures of the figures and of the list of cases, the most telling first.
        first: Rows of the short table, at most five: structure (empty: those of `judged_in`) and measure.
        judged_in: Structures that the list of cases looks at; empty: all.
        picture: What the picture of a case shows, from left to right.
        note: A sentence below the list of cases; empty: that of all tasks.
    """

    shown: Sequence[str] = ()
    first: Sequence[Sequence[str]] = ()
    judged_in: Sequence[str] = ()
    picture: str = ""
    note: str = ""


@dataclass
class StudyTable:
    """A whole table.

    Attributes:
        study: Name.
        task: Task.
        cohort: Cohort.
        arms: Kind of every arm: `baseline`, `predictions`, `model`, `shapes`, `ceiling` (the real images), `less` (a
            model that was trained on less than another).
        arm_notes: A sentence of the user for some arms.
        rows: Its rows.
        sides: Left against right, of negative volumes.
        published: Published numbers that stand in a block of their own.
        same_data: Published numbers of the same data whose method has no arm here.
        published_notes: What the file of published numbers says of itself.
        notes: What a reader must know.
        made_from: SHA-256 by input.
        display: What the task says of the page.
        budgets: Samples that the trainings of every arm saw; 0: none.
        equal_time: Arms were planned for the same time of training, not for the same samples.
        learnt: Whether every arm beats the baseline that its task names, by arm; empty: the task names none.
        roles: What every arm is beside the others: `ours`, `published`, `baseline`, or `reference`, which competes
            with none.
    """

    study: str
    task: str
    cohort: str
    arms: dict[str, str]
    arm_notes: dict[str, str]
    rows: list[TableRow]
    sides: list[SidesRow] = field(default_factory=list)
    published: list[PublishedNumber] = field(default_factory=list)
    same_data: list[PublishedNumber] = field(default_factory=list)
    published_notes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    made_from: dict[str, str] = field(default_factory=dict)
    display: Display = field(default_factory=Display)
    budgets: dict[str, int] = field(default_factory=dict)
    equal_time: bool = False
    learnt: dict[str, Verdict] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)

    def heading(self, arm: str) -> str:
        """An arm as the head of a column names it."""
        marks = ("‡" if self.arms[arm] == LESS else "") + (
            "§" if arm in self.learnt and not self.learnt[arm].holds else ""
        )
        return f"{arm} {marks}" if marks else arm


def study_table(measures: Path, settings: Mapping[str, Any]) -> StudyTable:
    """Make the table of a study.

    Args:
        measures: measures.tsv of the study.
        settings: `table.settings.json`, parsed.
    """
    from volforge.volume.folders import sha256_of, sha256_of_text

    frame = measures_frame(measures)
    budgets = {name: int(arm.get("budget", 0)) for name, arm in settings["arms"].items()}
    equal_time = settings.get("equal") == "time"
    kinds = {name: str(arm["kind"]) for name, arm in settings["arms"].items()}
    compete = [budgets[n] for n, kind in kinds.items() if kind != CEILING]  # a bound may have had more, or less
    most = 0 if equal_time else max(compete, default=0)
    arms = {n: LESS if 0 < budgets[n] < most and kind != CEILING else kind for n, kind in kinds.items()}
    arms = dict(sorted(arms.items(), key=lambda a: a[1] == LESS))  # what had less stands apart, at the end
    made_from = {"measures.tsv": sha256_of(measures)}
    numbers: list[PublishedNumber] = []
    notes: list[str] = []
    same: list[PublishedNumber] = []
    wanted = settings["published"]
    if wanted is not None:
        path = Path(wanted["table"])
        table = read_published(path)
        made_from[path.name] = sha256_of(path)
        notes = table.notes
        numbers = [p for p in table.numbers if p.study == (wanted["study"] or settings["task"])]
        if wanted["same_data"]:
            same = [p for p in numbers if not wanted["cohort"] or p.cohort == wanted["cohort"]]
            numbers = [p for p in numbers if p not in same]
    import json

    made_from["settings"] = sha256_of_text(json.dumps(settings, sort_keys=True))
    names = {name: str(arm["published_as"]) for name, arm in settings["arms"].items()}
    rows = [] if frame.empty else _rows(frame, arms, names, same)
    shown = {(names[a], r.structure, r.measure) for r in rows for a, c in r.cells.items() if c.published}
    left = [p for p in same if (p.arm, p.structure, p.measure) not in shown]
    arm_notes = {name: str(arm["note"]) for name, arm in settings["arms"].items() if arm["note"]}
    made = StudyTable(settings["study"], settings["task"], settings["cohort"], arms, arm_notes, rows)
    made.published, made.same_data, made.published_notes, made.made_from = numbers, left, notes, made_from
    made.budgets, made.equal_time = budgets, equal_time
    made.display = Display(
        shown=settings["shown"],
        first=settings.get("first", ()),
        judged_in=settings["judged_in"],
        picture=settings["picture"],
        note=settings["note"],
    )
    made.roles = {name: str(arm.get("role", "")) for name, arm in settings["arms"].items()}
    made.sides = compare_sides(frame, list(arms), settings["compares_sides"])
    made.learnt, said = verdicts(frame, arms, settings)
    valued = bool((frame["value"].notna() & frame["status"].isin(FAILURES)).any()) if not frame.empty else False
    made.notes = [*_notes(made, failures_have_values=valued), *said]
    return made


def _rows(
    frame: pd.DataFrame, arms: Mapping[str, str], names: Mapping[str, str], same: list[PublishedNumber]
) -> list[TableRow]:
    subjects, sets, failed = subject_values(frame), study_values(frame), failures(frame)
    by_row = dict(iter(subjects.groupby(ROW, sort=False)))
    sets_by_row = dict(iter(sets.groupby(ROW, sort=False)))
    rows = []
    for key in rows_in_order(frame):
        source, structure, measure = key
        if measure in ALWAYS_COUNTED:
            continue
        cells: dict[str, Cell] = {}
        tests: list[PairedTest] = []
        if key in sets_by_row:
            part = sets_by_row[key]
            for arm in arms:
                own = part[part["arm"] == arm]
                if len(own):
                    failed_here = failed.get((*key, arm), 0)
                    cells[arm] = Cell(_over_runs(own["value"].tolist()), failed_here, max(1, int(own["n"].min())))
        else:
            found = by_row.get(key)
            values = {arm: _values(found, arm) for arm in arms}
            cells = {arm: Cell(summarise(list(v.values())), failed.get((*key, arm), 0)) for arm, v in values.items()}
            measured = {a: v for a, v in values.items() if v and arms[a] not in UNRANKED}
            if measure in NOMINAL:  # nearer to the nominal level is what better means
                measured = {a: {s: from_nominal(measure, x) for s, x in v.items()} for a, v in measured.items()}
            tests = compare_arms(measured) if better(measure) != "neither" else []
        cells = {a: c for a, c in cells.items() if c.summary.n or c.failures}
        if not cells:
            continue
        _judge(measure, cells, arms, _published_by_arm(same, structure, measure), names)
        rows.append(TableRow(source, structure, measure, cells, tests))
    return rows


def _published_by_arm(same: list[PublishedNumber], structure: str, measure: str) -> dict[str, PublishedNumber]:
    """Published numbers of a row by method.

    Raises:
        VolforgeError: A method has two numbers: which one is meant is not for the table to say.
    """
    found: dict[str, PublishedNumber] = {}
    for p in same:
        if (p.structure, p.measure) != (structure, measure):
            continue
        if p.arm in found:
            raise VolforgeError(
                f"two published values of {measure} of {structure} by {p.arm}: on '{found[p.arm].cohort}' and "
                f"'{p.cohort}'",
                "published",
                "say which data are the same: `cohort:` beside `same_data: true`",
            )
        found[p.arm] = p
    return found


def _over_runs(values: list[float]) -> Summary:
    """Mean and SD over folds and seeds: too few, and no subjects, for quartiles and intervals."""
    from dataclasses import replace

    nan = math.nan
    return replace(summarise(values), median=nan, q25=nan, q75=nan, ci_low=nan, ci_high=nan)


def _values(found: pd.DataFrame | None, arm: str) -> dict[str, float]:
    if found is None:
        return {}
    own = found[found["arm"] == arm]
    return dict(zip(own["subject"], own["value"], strict=True))


def _judge(
    measure: str,
    cells: dict[str, Cell],
    arms: Mapping[str, str],
    published: Mapping[str, PublishedNumber],
    names: Mapping[str, str],
) -> None:
    """Mark the best arm, and arms that a baseline is not beaten by.

    An arm that fails more often, or was measured on fewer subjects, is behind whatever its mean over the rest is.
    """
    from dataclasses import replace

    judged = better(measure) != "neither"
    marks = {a: (-c.failures, c.images or c.summary.n, _score(measure, c.summary.mean)) for a, c in cells.items()}
    marks_of = dict(marks)
    marks = {a: m for a, m in marks.items() if arms[a] not in UNRANKED}
    able = {a: m for a, m in marks.items() if not math.isnan(m[2])}
    first = max((m[:2] for m in marks.values()), default=None)
    best = max(able, key=lambda a: able[a]) if judged and len(marks) > 1 and able else None
    if best is not None and marks[best][:2] != first:
        best = None  # those that failed least have no value at all
    baselines = {a: m for a, m in able.items() if arms[a] == "baseline"}
    strongest = max(baselines, key=lambda a: baselines[a]) if baselines else None
    for arm, cell in cells.items():
        loses = ""
        if strongest is not None and arms[arm] not in ("baseline", CEILING) and judged:
            own = marks_of[arm]  # baselines are no trained arms: those that were trained on less compete with them too
            sees = not math.isnan(own[2])
            beaten = sees and own > baselines[strongest] and not _equal(own, baselines[strongest])
            loses = "" if beaten else strongest
        cells[arm] = replace(cell, is_best=arm == best, loses_to=loses, published=published.get(names[arm]))


def _equal(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Whether two marks differ by the order of a sum only."""
    return a[:2] == b[:2] and math.isclose(a[2], b[2], rel_tol=NOISE, abs_tol=NOISE)


def _score(measure: str, mean: float) -> float:
    """The mean so that greater is better."""
    direction = better(measure)
    if direction == "lower":
        return -mean
    return -from_nominal(measure, mean) if direction == "nominal" else mean


def _notes(table: StudyTable, *, failures_have_values: bool) -> list[str]:
    """What a reader must know to trust the numbers."""
    notes = ["n counts subjects: sides, samples, scans and seeds of a subject are averaged first, in this order."]
    cells = [(r, a, c) for r in table.rows for a, c in r.cells.items()]
    tests = [t for r in table.rows for t in r.tests]
    most = max((t.pairs for t in tests), default=0)
    if tests and most < FEWEST_PAIRS:
        notes.append(
            f"No test was made: two arms have {most} subjects in common, a paired test needs {FEWEST_PAIRS}; the "
            f"smallest p that {most} could reach is {2.0 ** (1 - most) if most else 1:.2g}."
        )
    elif tests:
        family = max(len([t for t in r.tests if t.p is not None]) for r in table.rows)
        least = 2.0 ** (1 - most)
        reached = (
            f" With {most} subjects the smallest p that can be reached is {least:.2g}, after correction "
            f"{min(1.0, family * least):.2g}."
        )
        notes.append(
            f"Tests: two-sided Wilcoxon signed-rank by subject, {'exact' if most <= MOST_EXACT else 'normal'}, Holm-"
            f"corrected over all pairs of arms of a row (at most {family}; rows are not corrected against each other)."
            + (reached if most <= MOST_EXACT else "")
        )
    if any(c.images for _, _, c in cells):
        notes.append(
            "Rows of slices have one value per fold and seed (n counts images, ± is over folds and seeds); each fold "
            "has its own encoder."
        )
    if any(c.failures for _, _, c in cells):
        word = "0 as an overlap, which is in its mean, and no other value" if failures_have_values else "no value"
        notes.append(
            f"Failures (an empty mask, a missing prediction) have {word}, and are counted beside the mean: a side of a "
            "scan once, whatever its seeds and samples. Only arms with the fewest failures and all subjects of a row "
            "can be its best."
        )
    few = [c.images for _, _, c in cells if 0 < c.images < FEW_IMAGES]
    if few:
        notes.append(
            f"Distances of distributions rest on {min(few)} images and more; under {FEW_IMAGES} they are biased "
            "upwards: compare arms with each other, not with other work. `..._floor` is real against "
            "real images of other subjects, of half as many images, hence higher than a perfect arm's."
        )
    real = [a for a, kind in table.arms.items() if kind == CEILING]
    if real:
        notes.append(
            f"{', '.join(real)}: what can be reached (the real images, or what saw more of them); never bold or tested."
        )
    less = [a for a, kind in table.arms.items() if kind == LESS]
    if less:
        most = max(table.budgets.values())
        seen = ", ".join(f"{a} {table.budgets[a]:,}" for a in less)
        notes.append(f"‡ Trained on fewer samples than another arm ({most:,}): {seen}. Never bold, tested or ranked.")
    trained = {a: b for a, b in table.budgets.items() if b}
    if table.equal_time and len(set(trained.values())) > 1:
        seen = ", ".join(f"{a} {b:,}" for a, b in trained.items())
        notes.append(
            f"Arms were planned for the same time of training, not for the same samples ({seen}); what each took "
            "stands in cost.tsv."
        )
    if any(c.loses_to for _, _, c in cells):
        notes.append("An arm marked † does not beat the best baseline of its row.")
    if len({r.label_source for r in table.rows if r.label_source}) > 1:
        notes.append("Rows of different label sources are never averaged.")
    if any(m.startswith("legacy_") for m in (r.measure for r in table.rows)):
        notes.append("Measures named legacy_ repeat what published code computed, faults included.")
    return notes
