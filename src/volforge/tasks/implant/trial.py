"""A trial of implants from a folder of triples: what is learnt from, what is tested, and defects elsewhere.

Subjects are named by the file; which of them are tested is said, not drawn. The skulls that are tested get further
defects, in four places and a large one, which nobody places by the pose or the maps of an arm.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from volforge.cohort.layouts.discovery import Options
from volforge.cohort.layouts.write import discover
from volforge.cohort.sheet import SheetRow, read_sheet
from volforge.errors import ProblemsError, VolforgeError, errors_of
from volforge.tasks.implant.defects.files import Plan, make_defects
from volforge.whole_file import write_whole

COLUMNS = ("subject", "scan", "modality", "image", "defective", "implant", "split", "place", "size_cm3")
PLACES = ("frontal", "temporal", "vertex", "occipital")
LEARNT, TESTED, ELSEWHERE = "learnt.tsv", "skulls.tsv", "elsewhere.tsv"


def make_trial(
    data: Path, out: Path, tested: Iterable[str], seed: int = 1, say: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Write the sheets of a trial, and the defects elsewhere.

    Args:
        data: Folder `{complete_skull,defective_skull,implant}/NNN.nrrd`.
        out: Folder to write: `learnt.tsv` (the skulls that are not tested), `skulls.tsv` (those, and the tested ones
            with their own defects), `elsewhere.tsv` (those, and the tested ones with defects elsewhere).
        tested: Numbers of the tested triples: `032`, or ranges such as `032-039`.
        seed: Of the defects elsewhere.
        say: Told a line for every defect.

    Returns:
        The three sheets.

    Raises:
        VolforgeError: The folder holds no triples, or a tested one is not among them.
    """
    every = _rows(data, out / "found.tsv")
    wanted = set(_numbers(tested))
    known = {row.scan.rsplit("-", 1)[-1] for row in every}
    if wanted - known:
        text = f"no triple {', '.join(sorted(wanted - known))}"
        raise VolforgeError(text, str(data), f"there are {min(known)} to {max(known)}, {len(known)} of them")
    lines = [_line(row, row.scan.rsplit("-", 1)[-1] in wanted) for row in every]
    free = [line for line in lines if line["split"] == "train"]
    own = [line for line in lines if line["split"] == "test"]
    if not own or len(free) < 3:
        raise VolforgeError(f"{len(free)} to learn from and {len(own)} to test", str(data), "at least 3 and 1")
    source = _written(out / "tested.tsv", own)
    plans = {
        "places": Plan(len(PLACES), ("irregular",), PLACES, ("medium",), seed),
        "large": Plan(1, ("irregular",), ("any",), ("large",), seed),
    }
    drawn = []
    for name, plan in plans.items():
        sheet = make_defects(source, out / name, plan, say=say)
        drawn += [_line(row, True, name[:1]) for row in _checked(sheet)]
    return [
        _written(out / LEARNT, [{**line, "split": ""} for line in free]),
        _written(out / TESTED, free + own),
        _written(out / ELSEWHERE, free + drawn),
    ]


def _rows(data: Path, sheet: Path) -> list[SheetRow]:
    discover(data, "skullfix", sheet, Options(), force=True)
    return [r for r in _checked(sheet) if {"image", "defective", "implant"} <= set(r.files)]


def _checked(sheet: Path) -> list[SheetRow]:
    table = read_sheet(sheet)
    if errors_of(table.problems):
        raise ProblemsError(table.problems)
    return list(table.rows)


def _numbers(words: Iterable[str]) -> Iterable[str]:
    for word in words:
        first, _, last = word.partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise VolforgeError(f"'{word}' is no number and no range", "--tested", "write 032 or 032-039")
        for number in range(int(first), int(last or first) + 1):
            yield f"{number:0{len(first)}d}"


def _line(row: SheetRow, tested: bool, kind: str = "") -> Mapping[str, str]:
    files = {name: str(Path(row.files[name]).resolve()) for name in ("image", "defective", "implant")}
    return {
        "subject": row.subject,
        "scan": f"{row.scan}{kind}",
        "modality": "mask",
        **files,
        "split": "test" if tested else "train",
        "place": row.free.get("place", ""),
        "size_cm3": row.free.get("size_cm3", ""),
    }


def _written(path: Path, lines: Iterable[Mapping[str, str]]) -> Path:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([line[c] for c in COLUMNS] for line in lines)
    write_whole(path, buffer.getvalue())
    return path
