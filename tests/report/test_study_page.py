"""A study in the report page and as figures: everything is there, escaped, sorted as numbers, the same each time."""

import re

import numpy as np
import pytest
from PIL import Image

from tests.report.test_page import browser  # noqa: F401
from volforge.cohort.collect import as_tsv
from volforge.metrics.measure import Measure, nothing
from volforge.report.page import write_report
from volforge.report.study_files import write_study_figures, write_tables
from volforge.study.measures import Origin, row, write_measures
from volforge.study.pictures import Shown, write_pictures
from volforge.tasks.registry import task
from volforge.volume.folders import write_json
from volforge.whole_file import write_whole
from volforge.workflow.configuration import Report

PUBLISHED = """study	arm	structure	measure	value	spread	spread_kind	n	unit	source	caveat	cohort	table
segmentation	net	bone	dice	0.95	0.02	sd	50	1	Doe & <b>Roe</b>	careful	their CT	Table 1
"""


def kept(page: str) -> dict[str, str]:
    """What a page keeps by key."""
    import json

    return json.loads(re.search(r'<script type="application/json" id="kept">(.*?)</script>', page, re.DOTALL)[1])


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two arms, eight subjects with markup in their names, one failure, a case with slices, a training history."""
    folder = tmp_path_factory.mktemp("study")
    results, study = folder / "results", folder / "results/studies/s"
    (folder / "p.tsv").write_text(PUBLISHED)
    generator = np.random.default_rng(0)
    lines = []
    for arm, level in (("volforge", 0.9), ("base", 0.11)):
        for i in range(8):
            origin = Origin("s", arm, 0, 0, "c", f"<b>p{i}</b>", f"scan-{i}", label_source="expert")
            value = level + i / 500
            dice = (
                Measure("dice", value, "bone")
                if (arm, i) != ("base", 7)
                else nothing("dice", "empty_prediction", "bone")
            )
            volume = 1000 + 100 * i
            lines += [row(origin, dice), row(origin, Measure("hd95_mm", 10 - 9 * value, "bone"))]
            lines += [row(origin, Measure("volume_error_percent", -5.0 + i, "bone"))]
            lines += [row(origin, Measure("volume_mm3", volume + generator.normal(0, 30), "bone"))]
            lines += [row(origin, Measure("reference_volume_mm3", volume, "bone"))]
        cases = study / arm / "fold0/seed0/cases"
        cases.mkdir(parents=True)
        Image.fromarray(np.full((60, 240, 3), 90, np.uint8)).save(cases / "scan-0-0.png")
        case = {"scan": "scan-0", "sample": 0, "rank": "worst", "file": "scan-0-0.png"}
        write_whole(cases / "cases.tsv", as_tsv(("scan", "sample", "rank", "file"), [case]))
        curve = "low\thigh\tcount\tconfidence\taccuracy\n0\t0.5\t0\t\t\n0.5\t1\t20\t0.8\t0.7\n"
        write_whole(cases / "calibration.tsv", curve if arm == "volforge" else curve.splitlines()[0] + "\n")
        write_json(cases / "features.json", [])
    for scan in ("scan-0", "scan-1"):
        path = study / f"volforge/fold0/seed0/predictions/{scan}.panel.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((60, 300, 3), 90, np.uint8)).save(path)
    left = study / "volforge/fold0/seed0/predictions/pictures"
    left.mkdir()
    frames = [Image.fromarray(np.full((40, 60, 3), grey, np.uint8)) for grey in (20, 200)]
    frames[0].save(left / "still.png")
    frames[0].save(left / "moves.gif", save_all=True, append_images=frames[1:], duration=100, loop=0)
    shown = [Shown("still.png", "What it <i>sees</i>", "a & b"), Shown("moves.gif", "How it moves", "twice")]
    write_pictures(left, shown)
    history = "step\tloss\tfid\n1\t2.0\t\n2\t1.0\t80\n3\t0.5\t60\n"
    write_whole(study / "volforge/fold0/seed0/models/net/history.tsv", history)
    write_measures(study / "measures.tsv", lines)
    published = {"table": str(folder / "p.tsv"), "study": "", "same_data": False, "cohort": ""}
    arms = {"volforge": {"kind": "model", "role": "ours", "published_as": "net", "note": "a <i>note</i>"}}
    arms["base"] = {"kind": "baseline", "role": "baseline", "published_as": "base", "note": ""}
    settings = {"study": "s", "task": "segmentation", "cohort": "c", "arms": arms, "published": published}
    settings["parts"] = [["volforge", 0, 0], ["base", 0, 0]]
    settings |= {k: getattr(task("segmentation"), k) for k in ("shown", "first", "judged_in", "picture", "note")}
    settings["compares_sides"] = []
    write_json(study / "table.settings.json", settings)
    write_tables(study / "measures.tsv", settings, study)
    write_study_figures(study / "measures.tsv", settings, study / "figures")
    request = {
        "report": Report(title="t").model_dump(), "cohorts": {}, "studies": ["s"], "published": [str(folder / "p.tsv")],
        "configuration": {"cohorts": {}, "recipes": {}},
    }  # fmt: skip
    write_report(results, results / "report.html", results / "provenance.json", request)
    return results


def test_all_figures_are_drawn_as_svg_and_png(results):
    names = {p.stem for p in (results / "studies/s/figures").glob("*.svg")}
    assert names == {p.stem for p in (results / "studies/s/figures").glob("*.png")}
    assert names == {
        "box_dice", "box_hd95_mm", "bland_altman_volforge", "bland_altman_base", "published_dice", "calibration",
        "history_loss", "history_fid",
    }  # fmt: skip
    for path in (results / "studies/s/figures").glob("*.png"):
        picture = np.asarray(Image.open(path).convert("L"))
        assert picture.min() < 100, path.name
        assert picture.max() > 250, path.name


def test_samples_of_one_label_map_are_shown_once_an_arm(results):
    page = (results / "report.html").read_text()
    assert page.count("Samples of one label map") == 1
    assert page.count("the samples, as they are.</figcaption>") == 1
    assert "scan-0, volforge: label map" in page  # no case is ranked as the median: the first one


def test_further_pictures_of_an_arm_have_a_section_by_title_and_may_move(results):
    page = (results / "report.html").read_text()
    assert page.index("<h3>What it &lt;i&gt;sees&lt;/i&gt;</h3>") < page.index("<h3>How it moves</h3>")
    assert "volforge: a &amp; b</figcaption>" in page
    assert sum(v.startswith("data:image/gif;base64,") for v in kept(page).values()) == 1


def test_figures_are_the_same_bytes_again(results, tmp_path):
    import json

    settings = json.loads((results / "studies/s/table.settings.json").read_text())
    study = results / "studies/s"
    before = {p.name: p.read_bytes() for p in (study / "figures").iterdir()}
    write_study_figures(study / "measures.tsv", settings, study / "figures")
    assert {p.name: p.read_bytes() for p in (study / "figures").iterdir()} == before


def test_box_plots_show_every_subject(results):
    """A point per subject with a value: eight of one arm, seven of the other."""
    text = (results / "studies/s/figures/box_dice.svg").read_text()
    clouds = re.findall(r"<g clip-path[^>]*>((?:\s*<use[^>]*/>)+)\s*</g>", text)
    assert sorted(len(re.findall("<use", c)) for c in clouds)[-2:] == [7, 8]


def test_page_holds_tables_tests_published_numbers_and_cases(results):
    text = (results / "report.html").read_text()
    assert "<b>p0</b>" not in text
    assert "<b>Roe</b>" not in text
    assert "<i>note</i>" not in text
    for expected in (
        "&lt;b&gt;p0&lt;/b&gt;",
        "0.907 ± 0.005",
        "(1 failed)",
        "Doe &amp; &lt;b&gt;Roe&lt;/b&gt; careful",
    ):
        assert expected in text
    assert "8.8e-04" in text or "0.008" in text, "p values are there"
    assert sum(v.startswith("svg:") for v in kept(text).values()) == 8


def test_tables_sort_as_numbers_filter_and_open_cases(results, browser):  # noqa: F811
    view = browser.new_page(viewport={"width": 1200, "height": 900})
    errors: list[str] = []
    view.on("console", lambda m: errors.append(m.text))
    view.on("pageerror", lambda e: errors.append(str(e)))
    view.goto((results / "report.html").as_uri())
    view.click("#study-s summary:has-text('All 16 cases')")
    table = view.locator("#study-s details[open] table")
    head = table.locator("th", has_text="hd95_mm")
    column = head.evaluate("h => h.cellIndex") + 1
    head.click()
    cells = [float(t) for t in table.locator(f"tbody td:nth-child({column})").all_text_contents()]
    assert len(cells) == 16
    assert cells == sorted(cells)
    view.fill("#study-s details[open] input.filter", "scan-3")
    assert table.locator("tbody tr:visible").count() == 2
    view.click("#study-s .typical .zoom >> nth=0")
    assert view.is_visible("#viewer img")
    assert "input, prediction, reference, error" in view.inner_text("#viewer p")
    view.click("#viewer button")
    figure = view.locator("#study-s .drawn img").first
    figure.scroll_into_view_if_needed()
    view.wait_for_function("i => i.naturalWidth > 300", arg=figure.element_handle())
    assert errors == []
    view.close()
