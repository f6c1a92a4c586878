"""The page of a large run: 1,000 scans and 40 arms stay under 20 MB and can be searched."""

import pytest
from benchmarks.scale import page as made_page

from tests.report.test_page import browser  # noqa: F401

SCANS, ARMS = 1000, 40


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    made_page(folder, SCANS, ARMS)
    return folder / "results/report.html"


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
