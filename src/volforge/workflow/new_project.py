"""A project of one's own: a folder with a sheet and a configuration of the studies that the data allow."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from volforge import places
from volforge.cohort.layouts.discovery import Options
from volforge.cohort.layouts.write import Written, cohort_name, discover
from volforge.cohort.looks import look_at
from volforge.cohort.sheet import SheetRow, read_sheet
from volforge.errors import Problem, VolforgeError, errors_of
from volforge.tables.structures import Structure, read_structures
from volforge.tasks import registry
from volforge.tasks.starting import Facts, Start
from volforge.volume.folders import MARKER, whole_folder
from volforge.whole_file import write_whole
from volforge.workflow import first_configuration as text
from volforge.workflow.run import resolve

CONFIGURATION = "config.yaml"
NAME_LENGTH = 20  # of a cohort: names of studies are made of it and of their task


@dataclass
class Project:
    """What was written.

    Attributes:
        folder: The project.
        files: Names in it, the configuration first.
        studies: Names of the studies that would run.
        left_out: Tasks that got no study (or one as a comment), with the reason.
        remarks: What else to know: of the sheet, of scans that could not be read.
        written: Of the sheet; None for a template.
    """

    folder: Path
    files: list[str]
    studies: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    written: Written | None = None


def new_template(folder: Path) -> Project:
    """Make a project without data: an empty sheet and a configuration to fill, both with comments.

    Raises:
        VolforgeError: The folder holds something, or cannot be written.
    """
    contents = {CONFIGURATION: text.template(), "scans.tsv": text.empty_sheet()}
    with _fresh_folder(folder) as scratch:
        for name, content in contents.items():
            write_whole(scratch / name, content)
    return Project(folder, list(contents))


def new_project(folder: Path, layout: str, data: Path, options: Options) -> Project:
    """Make a project of a folder of data.

    Args:
        folder: To make; nothing, or an empty folder, lies there.
        layout: Of `volforge cohort layouts`.
        data: Folder that the data set was unpacked into.
        options: What the layout cannot know.

    Raises:
        VolforgeError: The folder holds something, or cannot be written; nothing of the layout was found; its sheet is
            not one. Then no folder is left.
    """
    data = data.absolute()
    name = cohort_name(data.name if len(data.name) > 1 else layout)[:NAME_LENGTH].strip("_")
    with _fresh_folder(folder) as scratch:
        sheet = scratch / f"{name}.tsv"
        written = discover(data, layout, sheet, options)
        if not (scratch / f"{name}.files").exists():  # lists of files are read from where they lie
            written = discover(data, layout, sheet, options, data, force=True)
        project = _with_configuration(scratch, name, sheet, written)
        project.files[1:] = sorted(p.name for p in scratch.iterdir() if p.name not in (CONFIGURATION, MARKER))
    project.folder = folder
    return project


@contextmanager
def _fresh_folder(folder: Path) -> Iterator[Path]:
    """A scratch folder that becomes the project; where that fails nothing of it is left, nor of folders above.

    Raises:
        VolforgeError: There is a file, or a folder that holds something.
    """
    if folder.absolute() == Path.cwd():  # it is replaced as a whole, and a shell would stand in what is gone
        raise VolforgeError("a new project cannot be the folder that you stand in", str(folder), "name it from outside")
    if folder.is_dir() and any(os.scandir(folder)):
        raise VolforgeError("the folder holds files already", str(folder), "name a new or an empty folder")
    if folder.exists() and not folder.is_dir():
        raise VolforgeError("this is a file, and a folder is to be made", str(folder), "name a new folder")
    above = [p for p in folder.absolute().parents if not p.exists()]
    try:
        with whole_folder(folder) as scratch:
            yield scratch
            (scratch / MARKER).unlink()  # the project is the user's: no command of ours may replace it
    except BaseException:
        for made in above:
            with suppress(OSError):  # somebody else uses it by now
                made.rmdir()
        raise


def _with_configuration(scratch: Path, name: str, sheet: Path, written: Written) -> Project:
    cohort = _cohort(written, name)
    root = Path(cohort["root"]) if "root" in cohort else None
    rows = tuple(read_sheet(sheet, root=root).rows)
    structures: list[Structure] = read_structures(written.structures)[0] if written.structures else []
    looks, refused = look_at(rows)
    folds = _folds(rows, cohort)
    facts = Facts(name, rows, tuple(structures), looks, folds)
    cohort |= {"on_bad_scan": "exclude", "folds": folds}
    if not folds:
        del cohort["folds"]
    if facts.shows_crops:
        cohort |= {"body_mask": {"method": "none"}, "background": "keep"}
    starts, left_out = _starts(facts)
    groups = {s: g for start in starts.values() for s, g in start.groups.items()}
    if groups and written.structures:
        write_whole(written.structures, _with_groups(written.structures, groups))
    project = Project(scratch, [CONFIGURATION], remarks=[f"could not be read: {r}" for r in refused], written=written)
    blocks: dict[str, Start] = {}
    for task, start in starts.items():
        doubt = start.doubt or _fault(scratch, text.configuration(cohort, name, {f"{name}_{task}": start}, {}))
        if doubt:
            left_out[task] = doubt
        else:
            project.studies.append(f"{name}_{task}")
        blocks[f"{name}_{task}"] = Start(start.study, start.recipes, start.groups, doubt)
    project.left_out = left_out
    content = text.configuration(cohort, name, blocks, left_out)
    fault = _fault(scratch, content)
    if fault:
        raise VolforgeError(f"no configuration can be made of this sheet: {fault}", str(sheet), "look at the data")
    write_whole(scratch / CONFIGURATION, content)
    return project


def _cohort(written: Written, name: str) -> dict[str, Any]:
    """Keys of the cohort; sheet and structures lie beside the configuration."""
    (content,) = yaml.safe_load(written.entry)["cohorts"].values()
    found: dict[str, Any] = dict(content) | {"sheet": f"{name}.tsv"}
    found.pop("structures", None)  # found beside the sheet
    return found


def _folds(rows: tuple[SheetRow, ...], cohort: Mapping[str, Any]) -> int:
    """Folds of the cohort; 0 where the sheet names the scans that are tested, 1 where there are no two subjects."""
    if any(r.split == "test" for r in rows):
        return 0
    subjects = len({r.subject for r in rows})
    return int(cohort.get("folds", 0)) or (min(5, max(2, subjects // 2)) if subjects > 1 else 1)


def _starts(facts: Facts) -> tuple[dict[str, Start], dict[str, str]]:
    """First studies by task, and why other tasks have none."""
    found: dict[str, Start] = {}
    left_out: dict[str, str] = {}
    for task in registry.TASKS:
        place = registry.task(task).by_hand.get("start")
        start: Start | str = places.at(place)(facts) if place else "it is written by hand"
        if isinstance(start, str):
            left_out[task] = start
        else:
            found[task] = start
    return found, left_out


def _fault(folder: Path, content: str) -> str:
    """The first error of a configuration in a folder, empty where it can run."""
    file = folder / CONFIGURATION
    write_whole(file, content)
    errors: list[Problem] = errors_of(resolve([file])[0].problems)
    file.unlink()
    return errors[0].message if errors else ""


def _with_groups(table: Path, groups: Mapping[str, str]) -> str:
    """A table of structures, written by `discover`, with some groups filled."""
    return "".join(_line_with_group(line, groups) for line in table.read_text(encoding="utf-8").splitlines(True))


def _line_with_group(line: str, groups: Mapping[str, str]) -> str:
    cells = line.rstrip("\n").split("\t")
    if cells[0] in groups and not cells[4]:  # structure, id, colour, side, group
        cells[4] = groups[cells[0]]
    return "\t".join(cells) + "\n"


def next_lines(project: Project) -> Iterator[str]:
    """Commands that go on from a new project."""
    import shlex

    yield f"cd {shlex.quote(str(project.folder))}"
    if project.written is None:
        yield "volforge validate"
    yield "volforge run"
