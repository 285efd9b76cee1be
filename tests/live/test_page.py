"""The page of ``patchgate live --web``: what the server answers, and what a real browser shows."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
from live_cases import until
from PIL import Image

import patchgate
from patchgate.live.page import Page

pytest.importorskip("starlette", reason='the page needs pip install "patchgate[live]"')
pytest.importorskip("uvicorn", reason='the page needs pip install "patchgate[live]"')

NAME = '<b>door & "yard"</b>'


@pytest.fixture(scope="module")
def shown():
    """A page of one camera, in whose third picture a square is new; and its address."""
    over = threading.Event()

    def pictures():
        picture = np.full((60, 80, 3), 90, np.uint8)
        for i in range(1_000_000):
            picture[15:30, 20:40] = 90 if i < 2 else 250 - i % 2 * 60
            yield picture, i * 0.04
            if over.wait(0.02):
                return

    watch = patchgate.watch({NAME: pictures()}, size=(56, 56), search_radius=None)
    with watch, Page(watch, 0) as page:

        def work():
            while not over.is_set():
                for seen in watch.work(0.1):
                    page.see(seen)

        worker = threading.Thread(target=work)
        worker.start()
        yield page.address
        over.set()
        worker.join(20)


def asked(address, **headers):
    request = urllib.request.Request(address, headers=headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.headers, answer.read()


def test_it_listens_on_this_machine_only_and_to_its_own_name(shown):
    assert shown.startswith("http://127.0.0.1:")
    headers, page = asked(shown)
    assert headers["Content-Type"].startswith("text/html")
    assert b"<title>patchgate live</title>" in page
    with pytest.raises(urllib.error.HTTPError, match="400"):
        asked(shown, Host="elsewhere.example")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        asked(f"{shown}picture?camera=nobody")


def test_events_have_the_numbers(shown):
    with urllib.request.urlopen(f"{shown}events", timeout=20) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        line = answer.readline().decode()
    cameras = json.loads(line.removeprefix("data: "))
    assert set(cameras) == {NAME}
    assert cameras[NAME]["live"]["state"] in ("opening", "live")


def test_the_picture_has_a_rectangle_around_what_is_new(shown):
    address = f"{shown}picture?camera={urllib.request.quote(NAME)}"

    def drawn():
        try:
            _, data = asked(address)
        except urllib.error.HTTPError:
            return False
        picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
        assert picture.shape == (60, 80, 3)
        orange = (abs(picture - [255, 96, 0]).sum(2) < 160).nonzero()
        return len(orange[0]) > 20 and (orange[0].min() >= 13) and (orange[1].max() <= 42)

    until(drawn)


def test_without_the_packages_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ImportError, match=r'pip install "patchgate\[live\]"'):
        Page(patchgate.watch({}, size=28), 0)


def test_in_a_browser(shown):
    missing = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    if missing and os.environ.get("PATCHGATE_REQUIRE_BROWSER") == "1":
        pytest.fail(f"PATCHGATE_REQUIRE_BROWSER=1, but there is no {missing}")
    webdriver = pytest.importorskip("selenium.webdriver")
    if missing:
        pytest.skip(f"no {missing}")
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        driver.get(shown)

        def text(selector):  # in one step: the page renews its numbers
            return driver.execute_script(
                "return document.querySelector(arguments[0])?.textContent", selector
            )

        until(lambda: text("figure strong") == NAME)  # as text, not as tags
        assert text("#state") == "1 cameras"
        picture = driver.find_element(By.TAG_NAME, "img")
        until(lambda: picture.get_property("naturalWidth") == 80)
        until(lambda: text("dd") == "live")
        first = picture.get_attribute("src")
        until(lambda: picture.get_attribute("src") != first)
        said = [entry["message"] for entry in driver.get_log("browser")]
        assert not [line for line in said if "favicon" not in line]
    finally:
        driver.quit()
