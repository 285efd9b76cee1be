"""The report in a real browser: headless Chromium, driven by selenium.

Skipped where either is missing; an error under PATCHGATE_REQUIRE_BROWSER=1.
"""

import os
import re
import shutil

import pytest
from report_clips import GATE, dimmed, lossless, story
from typer.testing import CliRunner

from patchgate.cli import app

WIDE, NARROW = 1280, 400
_LOAD_SECONDS = 1.0


def _missing():
    """What is not there to run these tests with, in words; None if all is."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed (pip install 'patchgate[test]')"
    for program in ("chromium", "chromedriver"):
        if not shutil.which(program):
            return f"{program} is not installed (apt-get install chromium chromium-driver)"
    return None


@pytest.fixture(scope="module", autouse=True)
def _required():
    if reason := _missing():
        if os.environ.get("PATCHGATE_REQUIRE_BROWSER") == "1":
            pytest.fail(f"PATCHGATE_REQUIRE_BROWSER=1, but {reason}")
        pytest.skip(reason)


def written(folder, frames, *words):
    """The address of a report of these frames."""
    clip, page = lossless(folder / "clip.mkv", frames), folder / "r.html"
    result = CliRunner().invoke(app, ["inspect", str(clip), "-o", str(page), *GATE, *words])
    assert result.exit_code == 0, result.output
    return page.as_uri()


@pytest.fixture(scope="module")
def page(tmp_path_factory, _required):
    return written(tmp_path_factory.mktemp("browser"), story(), "--on-motion", "reuse")


@pytest.fixture(scope="module")
def chromium(_required):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium, page):
    """A function that opens the page; at the end nothing may have been complained of."""

    def open_page(width=WIDE, scheme="light"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        chromium.get(page)
        return chromium

    yield open_page
    assert chromium.get_log("browser") == []


def find(driver, selector):
    return driver.find_elements("css selector", selector)


def shown(driver):
    """The visible moment: its number, its figures, and its visible pictures."""
    (moment,) = (m for m in find(driver, ".moment") if m.is_displayed())
    pictures = [i for i in moment.find_elements("css selector", ".frame img") if i.is_displayed()]
    assert all(driver.execute_script("return arguments[0].naturalWidth", i) for i in pictures)
    lenses = moment.find_elements("css selector", ".magnified")
    return {
        "moment": moment.get_attribute("id"),
        "text": moment.text,
        "pictures": [picture.get_attribute("src") for picture in pictures],
        "lenses": [lens.get_attribute("style") for lens in lenses],
    }


def test_every_thumbnail_selects_its_moment(browser):
    driver = browser()
    labels, seen = find(driver, ".strip label"), []
    assert len(labels) >= 10
    for number, label in enumerate(labels):
        label.click()
        now = shown(driver)
        assert now["moment"] == f"moment-{number}"
        assert re.search(r"[\d.]+ s", label.text)[0] in now["text"]
        assert len(now["pictures"]) == len(now["lenses"]) == 3
        assert all("data:image/webp" in lens for lens in now["lenses"])
        seen.append(now)
    assert len({now["text"] for now in seen}) == len(seen)
    assert len({now["pictures"][0] for now in seen}) == len(seen)


def test_the_timeline_selects_the_nearest_moment(browser):
    from selenium.webdriver import ActionChains

    for width in (WIDE, NARROW):
        driver = browser(width)
        (plot,) = (p for p in find(driver, ".plot") if p.is_displayed())
        left, right = (float(plot.get_attribute(f"data-{end}")) for end in ("left", "right"))
        for share, want in ((0.001, 0), (0.999, len(find(driver, ".moment")) - 1)):
            across = (left + share * (right - left) - 0.5) * plot.size["width"]
            ActionChains(driver).move_to_element_with_offset(
                plot, round(across), 0
            ).click().perform()
            assert shown(driver)["moment"] == f"moment-{want}"
            (cursor,) = plot.find_elements("css selector", ".cursor")
            middle = cursor.rect["x"] + cursor.rect["width"] / 2 - plot.rect["x"]
            ends = left * plot.size["width"], right * plot.size["width"]
            assert ends[0] - 2 <= middle <= ends[1] + 2
            assert abs(middle - ends[want > 0]) < 0.05 * plot.size["width"]


def test_it_works_from_the_keyboard(browser):
    from selenium.webdriver.common.keys import Keys

    driver = browser()
    find(driver, ".strip label")[3].click()
    driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert shown(driver)["moment"] == "moment-4"
    ring = "return getComputedStyle(document.activeElement.nextElementSibling).outlineStyle"
    assert driver.execute_script(ring) != "none", "the focus is seen"
    driver.switch_to.active_element.send_keys(Keys.TAB, Keys.ARROW_RIGHT)
    assert driver.execute_script("return document.body.dataset.view") == "differences"
    driver.execute_script("document.getElementById('after').focus()")
    driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert shown(driver)["moment"] == "moment-5"


def test_the_switches_change_pictures_and_the_magnified_place(browser):
    driver = browser()
    before = shown(driver)
    find(driver, "input[value=differences]")[0].find_element("xpath", "..").click()
    cells = shown(driver)
    assert not set(cells["pictures"]) & set(before["pictures"])
    assert cells["lenses"] != before["lenses"]
    find(driver, "input[value=pictures]")[0].find_element("xpath", "..").click()
    assert shown(driver) == before
    find(driver, "input[value=ours]")[0].find_element("xpath", "..").click()
    assert shown(driver)["pictures"] == before["pictures"]
    assert shown(driver)["lenses"] != before["lenses"]


def test_the_magnified_box_marks_the_worst_sub_block(browser):
    driver = browser()
    (moment,) = (m for m in find(driver, ".moment") if m.is_displayed())
    (frame,) = moment.find_elements("css selector", ".adjacent .frame")
    (box,) = moment.find_elements("css selector", ".adjacent .frame .marker")
    (lens,) = moment.find_elements("css selector", ".adjacent .magnified")
    (mark,) = lens.find_elements("css selector", ".marker")
    place = lens.value_of_css_property("background-position")
    offset = [float(n) for n in re.findall(r"-?[\d.]+", place)]
    style = "const s = getComputedStyle(arguments[0]); return [s.left, s.top]"
    small = [float(n[:-2]) for n in driver.execute_script(style, box)]
    large = [float(n[:-2]) for n in driver.execute_script(style, mark)]
    for one, other, moved in zip(small, large, offset, strict=True):
        assert other == pytest.approx(6 * one + moved, abs=1.5)
    assert 0 <= large[0] < lens.size["width"]
    assert 0 <= large[1] < lens.size["height"]
    assert frame.size["width"] > 300


@pytest.mark.parametrize("width", [NARROW, 700, WIDE])
def test_nothing_is_wider_than_the_screen(browser, width):
    driver = browser(width)
    wide = "return [document.documentElement.scrollWidth, window.innerWidth]"
    content, screen = driver.execute_script(wide)
    assert content <= screen == width  # (less by the scroll bar, where there is one)
    beyond = """return [...document.querySelectorAll("main *, header *, footer *")].filter(e =>
        !e.closest(".strip, svg, .magnified, .frame, .numbers") &&
        e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
    assert driver.execute_script(beyond) == []


# WCAG 2: relative luminance of what is drawn, text against the nearest opaque background.
_CONTRAST = """
const light = c => { const v = c.map(x => x / 255).map(x =>
    x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
  return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
const parse = text => text.match(/[\\d.]+/g).map(Number);
const ground = e => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } };
return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility()).map(e => {
  const style = getComputedStyle(e);
  const ink = light(parse(e.closest("svg") ? style.fill : style.color).slice(0, 3));
  const paper = light(ground(e));
  return [(Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05), e.textContent.trim()]; });
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_colour_schemes(browser, scheme):
    driver = browser(scheme=scheme)
    paper = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    is_dark = sum(map(int, re.findall(r"\d+", paper)[:3])) < 200
    assert is_dark == (scheme == "dark")
    text = "h1, h2, p, dt, dd, th, td, li, figcaption *, .switch span, .strip span, code, svg text"
    found = driver.execute_script(_CONTRAST, text)
    assert len(found) > 100
    assert [words for contrast, words in found if contrast < 4.5] == []


def test_print_shows_every_moment(browser):
    """Printed, there is nothing to click: all moments are there, and the strip."""
    driver = browser()
    seen = "return [...document.querySelectorAll(arguments[0])].map(e => e.offsetHeight > 0)"
    assert sum(driver.execute_script(seen, ".moment")) == 1
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert all(driver.execute_script(seen, ".moment"))
        assert all(driver.execute_script(seen, ".strip label"))
        assert not any(driver.execute_script(seen, ".controls"))
    finally:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_it_opens_within_a_second(browser):
    driver = browser()
    timing = "return performance.getEntriesByType('navigation')[0].loadEventEnd / 1000"
    assert 0 < driver.execute_script(timing) < _LOAD_SECONDS
    assert driver.execute_script("return performance.getEntriesByType('resource').filter("
                                 "r => !r.name.startsWith('data:')).length") == 0  # fmt: skip


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_the_light_is_drawn_under_the_errors(chromium, tmp_path, width):
    address = written(tmp_path, dimmed(), "--illumination", "global")
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    chromium.get(address)
    drawn = """const sample = document.querySelector(".line.light");
        const colour = getComputedStyle(sample).backgroundColor;
        const plot = [...document.querySelectorAll(".plot")].find(e => e.checkVisibility());
        return [...plot.querySelectorAll("path")].filter(e =>
            getComputedStyle(e).stroke === colour).map(e => e.getBoundingClientRect().toJSON());"""
    (line,) = chromium.execute_script(drawn)
    (plot,) = (p for p in find(chromium, ".plot") if p.is_displayed())
    left, right = (float(plot.get_attribute(f"data-{end}")) for end in ("left", "right"))
    assert line["width"] == pytest.approx((right - left) * plot.size["width"], rel=0.02)
    assert line["height"] > 20, "the light goes down by half"
    (cursor,) = plot.find_elements("css selector", ".cursor")
    assert cursor.rect["y"] + cursor.rect["height"] >= line["bottom"] - 1
    assert chromium.get_log("browser") == []
