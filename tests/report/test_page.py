"""The report page in headless Chromium: it shows everything, asks for nothing, and fits phone and paper."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import ball_ct, save
from volforge.cohort.collect import collect_index, collect_scans
from volforge.cohort.sheet import read_sheet
from volforge.config.models import SliceRecipe
from volforge.report.cohort_view import choose, loud_flags
from volforge.report.page import write_report
from volforge.volume.cut_scan import cut_scan
from volforge.volume.import_scan import ImportSettings, ScanRequest, import_scan
from volforge.workflow.configuration import Report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A report of two good scans and a refused one; names try to be markup."""
    folder = tmp_path_factory.mktemp("page")
    results = folder / "results"
    names = ["one", "two", "bad"]
    lines = ["subject\tscan\tmodality\timage\tlabels\tlabel_source"]
    for name in names:
        array = ball_ct()
        image = save(folder / f"{name}.nii.gz", array if name != "bad" else array + 1024)
        labels = save(folder / f"{name}_l.nii.gz", (array > 0).astype("uint8"))
        out = results / "cohorts/c/scans" / name
        request = ScanRequest(name, "CT", "hu", {"image": image, "labels": labels})
        import_scan(request, ImportSettings({"ball": 1}, {"ball": "#ff0000"}), out, record_refusal=True)
        cut_scan(out, SliceRecipe(kind="slices"), results / "cohorts/c/recipes/ax" / name, record_refusal=True)
        lines.append(f"<b>{name}</b>\t{name}\tCT\t{name}.nii.gz\t{name}_l.nii.gz\texpert")
    (folder / "sheet.tsv").write_text("\n".join(lines) + "\n")
    sheet = read_sheet(folder / "sheet.tsv")
    settings = {
        "seed": 0,
        "folds": 2,
        "splits": {"train": 0.5, "val": 0.0, "test": 0.5},
        "on_bad_scan": "exclude",
        "makes_labels": False,
    }
    scans = results / "cohorts/c/scans.tsv"
    collect_scans(sheet.rows, results / "cohorts/c/scans", scans, settings)
    collect_index(results / "cohorts/c/recipes/ax", scans, results / "cohorts/c/recipes/ax/index.tsv", "exclude")
    write_report(
        results,
        results / "report.html",
        results / "provenance.json",
        {
            "report": Report(title="A <title> & more").model_dump(),
            "cohorts": {
                "c": {
                    "comments": ["licence: <i>CC0</i>"],
                    "licence": "CC0",
                    "structures": [["ball", 1, "#ff0000", "", ""]],
                    "recipes": ["ax"],
                }
            },
            "studies": [],
            "published": [],
            "configuration": {"cohorts": {"c": {"sheet": "sheet.tsv"}}, "recipes": {"ax": {"kind": "slices"}}},
        },
    )
    return results / "report.html"


def test_text_is_escaped_and_complete(page):
    text = page.read_text()
    assert "<b>one</b>" not in text
    assert "&lt;b&gt;one&lt;/b&gt;" in text
    assert "A &lt;title&gt; &amp; more" in text
    for expected in ("1 excluded", "look like HU + 1024", "ball", "licence: &lt;i&gt;CC0", "2 of 2 subjects", "numpy"):
        assert expected in text


def test_nothing_outside_of_the_page_is_named(page):
    text = page.read_text()
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", text)
    assert "url(" not in re.sub(r"url\(data:", "", text)
    assert "default-src 'none'" in text


def test_provenance_names_versions_inputs_and_machine(page):
    origin = json.loads((page.parent / "provenance.json").read_text())
    assert {"made", "versions", "code", "hardware", "seeds", "configuration", "input_sha256"} <= set(origin)
    assert len(origin["input_sha256"]["c"]) == 2


def test_flagged_scans_are_shown_first_and_the_rest_evenly():
    rows = [{"scan": str(i), "flags": "labels_empty" if i == 7 else "body_cut_left"} for i in range(20)]
    shown = [r["scan"] for r in choose(rows, 4)]
    assert shown[0] == "7"
    assert shown[1] == "0"
    assert shown[-1] == "19"
    assert len(shown) == 4
    assert loud_flags({"flags": "body_cut_left,unit_assumed"}) == []


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian package chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield opened
        opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 390])
def test_page_opens_without_error_or_request_and_fits(browser, page, scheme, width):
    view = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    errors, requests = [], []
    view.on("console", lambda m: errors.append(m.text))
    view.on("pageerror", lambda e: errors.append(str(e)))
    view.on("request", lambda r: requests.append(r.url))
    view.goto(page.as_uri())
    view.wait_for_load_state("load")
    assert errors == []
    assert [r for r in requests if not r.startswith(("data:", "blob:"))] == [page.as_uri()]
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    first = view.locator("#cohort-c figure img").first
    first.scroll_into_view_if_needed()
    view.wait_for_function("i => i.naturalWidth > 100", arg=first.element_handle())
    ground = view.evaluate("getComputedStyle(document.body).backgroundColor")
    dark = sum(map(int, re.findall(r"\d+", ground)[:3])) < 200
    assert dark == (scheme == "dark")
    view.click("#theme")
    assert view.evaluate("getComputedStyle(document.body).backgroundColor") != ground
    view.close()


def test_pictures_open_tables_sort_and_filter(browser, page):
    view = browser.new_page(viewport={"width": 1200, "height": 800})
    view.goto(page.as_uri())
    view.click("figure .zoom >> nth=0")
    assert view.is_visible("#viewer img")
    view.click("#viewer button")
    assert not view.is_visible("#viewer img")
    view.click("#cohort-c summary:has-text('2 scans') >> nth=-1")
    table = view.locator("#cohort-c details[open] table")
    before = table.locator("tbody tr td:first-child").all_text_contents()
    table.locator("th >> nth=0").click()
    table.locator("th >> nth=0").click()
    assert table.locator("tbody tr td:first-child").all_text_contents() == sorted(before, reverse=True)
    table.locator("th >> nth=1").press("Enter")
    assert table.locator("th >> nth=1").get_attribute("aria-sort") == "ascending"
    view.close()


def test_page_prints(browser, page, tmp_path):
    view = browser.new_page()
    view.goto(page.as_uri())
    content = view.pdf(format="A4")
    assert content.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) >= 2
    view.close()
