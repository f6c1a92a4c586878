"""The steps of a run in plain words: which job of which rule makes what, for `volforge status`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from volforge.workflow.jobs import RESULTS, made_labels, makes_labels, scan_folder
from volforge.workflow.run import Run


@dataclass(frozen=True)
class Step:
    """One job that a complete run needs.

    Attributes:
        part: What it belongs to: `cohort tmj`, `cohort tmj, recipe joints`, `report`.
        rule, wildcards: As the workflow names it.
        output: The file that shows that it is done.
        scan: Of jobs per scan, else empty.
    """

    part: str
    rule: str
    output: str
    wildcards: dict[str, str] = field(default_factory=dict)
    scan: str = ""

    @property
    def key(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """What tells it from all others."""
        return self.rule, tuple(sorted(self.wildcards.items()))


def steps(run: Run) -> Iterator[Step]:
    """All steps of a run, in the order of the flow."""
    for name, cohort in run.cohorts.items():
        part = f"cohort {name}"
        here = {"cohort": name}
        if cohort.settings.phantom is not None:
            yield Step(part, "make_phantoms", f"{RESULTS}/phantoms/{name}/truth.json", here)
        for scan, row in cohort.rows.items():
            wildcards = {**here, "scan": scan}
            if makes_labels(cohort, row):
                yield Step(part, "make_labels", made_labels(name, scan), wildcards, scan)
            yield Step(part, "import_scan", f"{scan_folder(name, scan)}/record.json", wildcards, scan)
        yield Step(part, "collect_scans", f"{RESULTS}/cohorts/{name}/scans.tsv", here)
        for recipe in cohort.settings.recipes:
            folder = f"{RESULTS}/cohorts/{name}/recipes/{recipe}"
            of_recipe, both = f"{part}, recipe {recipe}", {**here, "recipe": recipe}
            for scan in cohort.rows:
                yield Step(of_recipe, "cut_scan", f"{folder}/{scan}/record.json", {**both, "scan": scan}, scan)
            yield Step(of_recipe, "index_recipe", f"{folder}/index.tsv", both)
    yield Step("report", "report", f"{RESULTS}/report.html")
