"""The page of a large run: 1,000 scans and 40 arms stay under 20 MB and can be searched."""

import numpy as np
import pytest
from PIL import Image

from tests.report.test_page import browser  # noqa: F401
from volforge.cohort.collect import as_tsv
from volforge.metrics.measure import Measure
from volforge.report.page import write_report
from volforge.report.study_files import write_study_figures, write_tables
from volforge.study.measures import Origin, row, write_measures
from volforge.tasks.registry import task
from volforge.volume.folders import write_json
from volforge.whole_file import write_whole
from volforge.workflow.configuration import Report

SCANS, ARMS = 1000, 40


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    results = tmp_path_factory.mktemp("large") / "results"
    study, cohort = results / "studies/s", results / "cohorts/c"
    generator = np.random.default_rng(0)
    arms = ["volforge", "base", *(f"published_{i}" for i in range(ARMS - 2))]
    lines = []
    for a, arm in enumerate(arms):
        noise = generator.normal(0, 0.02, SCANS)
        for i in range(SCANS):
            origin = Origin("s", arm, 0, 0, "c", f"subject-{i}", f"scan-{i}", label_source="expert")
            lines.append(row(origin, Measure("dice", 0.9 - a / 100 + noise[i], "liver")))
        folder = study / arm / "fold0/seed0/cases"
        folder.mkdir(parents=True)
        shown = []
        for k, rank in enumerate(("worst", "median", "best", "")):
            picture = generator.integers(0, 255, (60, 80, 3), np.uint8).repeat(4, 0).repeat(4, 1)
            Image.fromarray(picture).save(folder / f"{k}.png")
            shown.append({"scan": f"scan-{k}", "sample": 0, "rank": rank, "file": f"{k}.png"})
        write_whole(folder / "cases.tsv", as_tsv(("scan", "sample", "rank", "file"), shown))
        write_json(folder / "features.json", [])
        history = "".join(f"{s}\t{1 / (s + 1):.4f}\n" for s in range(0, 1000, 10))
        write_whole(study / arm / "fold0/seed0/models/m/history.tsv", "step\tloss\n" + history)
    write_measures(study / "measures.tsv", lines)
    roles = {"volforge": "ours", "base": "baseline"}
    settings = {
        "study": "s", "task": "segmentation", "cohort": "c", "published": None, "compares_sides": [],
        "parts": [[a, 0, 0] for a in arms],
        "arms": {a: {"kind": "baseline" if a == "base" else "model", "role": roles.get(a, "published"), "published_as": a,
                     "note": ""} for a in arms},
    }  # fmt: skip
    settings |= {k: getattr(task("segmentation"), k) for k in ("shown", "first", "judged_in", "picture", "note")}
    write_json(study / "table.settings.json", settings)
    write_tables(study / "measures.tsv", settings, study)
    write_study_figures(study / "measures.tsv", settings, study / "figures")
    columns = (
        "scan", "subject", "accepted", "modality", "contrast", "split", "fold", "label_source", "shape", "spacing_mm",
        "source_axes", "body_ml", "structures", "flags", "reason", "sha256",
    )  # fmt: skip
    scan = dict.fromkeys(columns, "") | {
        "modality": "CT",
        "split": "test",
        "shape": "512x512x300",
        "spacing_mm": "1x1x1",
    }
    rows = [
        scan | {"scan": f"scan-{i}", "subject": f"subject-{i}", "accepted": "1", "sha256": "0" * 64}
        for i in range(SCANS)
    ]
    rows += [scan | {"scan": "bad", "accepted": "0", "reason": "not a volume"}]
    write_whole(cohort / "scans.tsv", as_tsv(columns, rows))
    for i in range(SCANS):
        write_json(cohort / f"scans/scan-{i}/record.json", {"grid": {"spacing_mm": [1, 1, 1]}})
        if i < 200:
            picture = Image.fromarray(generator.integers(0, 255, (40, 120), np.uint8)).resize((480, 160))
            picture.save(cohort / f"scans/scan-{i}/qc.png")
    request = {
        "report": Report(title="large", pictures_per_cohort=12).model_dump(), "studies": ["s"], "published": [],
        "cohorts": {"c": {"comments": [], "licence": "", "structures": [], "recipes": []}},
        "configuration": {"cohorts": {"c": {}}, "recipes": {}},
    }  # fmt: skip
    for p in ("scan-0", "scan-999"):
        Image.new("RGB", (480, 160)).save(cohort / f"scans/{p}/qc.png")
    for i in range(200, SCANS):
        (cohort / f"scans/scan-{i}/qc.png").symlink_to(cohort / "scans/scan-0/qc.png") if i != 999 else None
    write_report(results, results / "report.html", results / "provenance.json", request)
    return results / "report.html"


@pytest.mark.slow
def test_a_large_run_has_a_page_of_less_than_20_mb(page):
    assert page.stat().st_size < 20e6


@pytest.mark.slow
def test_its_long_tables_are_built_where_they_are_looked_at(page, browser):  # noqa: F811
    view = browser.new_page(viewport={"width": 1280, "height": 900})
    errors: list[str] = []
    view.on("pageerror", lambda e: errors.append(str(e)))
    view.goto(page.as_uri())
    assert view.evaluate("document.querySelectorAll('*').length") < 20_000
    assert view.evaluate("[...document.images].filter(i => i.dataset.kept).length") > 50, "seen later, loaded later"
    view.click("#study-s summary:has-text('All 40000 cases')")
    table = view.locator("#study-s details[open] table")
    table.locator("tbody tr").first.wait_for()
    assert table.locator("tbody tr").count() == 300
    view.fill("#study-s details[open] .filter", "scan-977")
    view.wait_for_function("document.querySelectorAll('#study-s details[open] tbody tr').length == 40")
    assert "40 rows" in view.inner_text("#study-s details[open] .more")
    table.locator("th", has_text="dice").click()
    values = [float(t) for t in table.locator("tbody td:nth-child(5)").all_text_contents()]
    assert values == sorted(values)
    assert errors == []
    view.close()
