"""The page of one skull in a browser: it opens without a request, in light and dark, wide and narrow, and turns."""

import re
import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian package chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield opened
        opened.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1300), ("dark", 390)])
def test_page_opens_without_error_or_request_and_fits(browser, case, scheme, width):
    page = case[0] / "qc.html"
    view = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    errors, requests = [], []
    view.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    view.on("pageerror", lambda e: errors.append(str(e)))
    view.on("request", lambda r: requests.append(r.url))
    view.goto(page.as_uri())
    view.wait_for_selector("#turned[data-ready]")
    assert errors == []
    assert [r for r in requests if not r.startswith(("data:", "blob:"))] == [page.as_uri()]
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    ground = view.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 200) == (scheme == "dark")
    view.close()


def test_surfaces_change_their_colours_and_the_skull_fades(browser, case):
    view = browser.new_page(viewport={"width": 1200, "height": 800})
    view.goto((case[0] / "qc.html").as_uri())
    view.wait_for_selector("#turned[data-ready]")
    for name, most in (("thickness_mm", 10), ("uncertainty_mm", 3), ("step_mm", 2)):
        view.select_option("#colour", name)
        assert view.evaluate("document.getElementById('turned').data[1].cmax") == most
        assert view.inner_text("#meaning")
    view.select_option("#colour", "")
    assert view.evaluate("document.getElementById('turned').data[1].intensity === undefined")
    view.evaluate("o = document.getElementById('opacity'); o.value = 40; o.dispatchEvent(new Event('change'))")
    assert view.evaluate("document.getElementById('turned').data[0].opacity") == 0.4
    whole = view.evaluate("document.getElementById('turned').data[0].i.length")
    view.click("button[data-look=inside]")
    assert 0 < view.evaluate("document.getElementById('turned').data[0].i.length") < whole
    view.click("figure .zoom >> nth=0")
    assert view.is_visible("#viewer img")
    view.close()
