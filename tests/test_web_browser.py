"""The privacy page in a real browser: what a person sees, presses and hears, and what comes of it on the broker."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.broker import Broker, Listener
from support.browser import PROGRAM, Browser
from support.daemon import Daemon, Device
from support.stores import drain, open_store, put
from support.web import PASSWORD, Page, state_of

from device.edges.clock import SystemClock
from device.hil.virtual import virtual_microphone
from device.message.envelope import read_wav
from device.message.wording import VERSION
from device.page.overview import NOTICES

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(PROGRAM is None, reason="not installed: chromium"),
]

REQUEST = soundfile.read(Path(__file__).parent / "fixtures" / "hey-jarvis-request.wav", dtype="int16")[0]
REVIEW, MICROPHONE = "[aria-describedby=review-means]", "[aria-describedby=microphone-means]"
WIDTHS = (360, 1280)
FIRST_PAINT_MS = 300
MOST_BYTES = 60_000


@pytest.fixture
def page(tmp_path):
    with Page(Device(tmp_path)) as page:
        yield page


@pytest.fixture
def store(page):
    with open_store(state_of(page.device), default_opt_out=True, clock=SystemClock(), history_days=30) as store:
        yield store


@pytest.fixture
def browser(page):
    with Browser() as browser:
        browser.look()
        yield browser
        told = [event["params"] for event in browser.events if event["method"] == "Log.entryAdded"]
        assert [one["entry"]["text"] for one in told if one["entry"]["level"] in ("error", "warning")] == []
        assert [event for event in browser.events if event["method"] == "Runtime.exceptionThrown"] == []


def log_in(browser, page):
    browser.open(f"http://127.0.0.1:{page.port}/")
    browser.until("document.activeElement.id === 'password'")
    browser.write(PASSWORD)
    with browser.loading():
        browser.key("Enter", 13, "\r")


def press(browser, selector):
    with browser.loading():
        browser.click(selector)


def is_on(browser, switch):
    return browser.evaluate(f"document.querySelector({json.dumps(switch)}).getAttribute('aria-checked')") == "true"


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_what_is_chosen_by_the_switch_is_the_tag_of_what_is_said_next(tmp_path, scripts):
    with Broker(tmp_path) as broker, virtual_microphone() as room, Browser() as browser:
        device = Device(tmp_path, broker.port)
        listener = Listener(broker.port, "wakeword/kitchen/request/+")
        with Daemon(device, env=room.settings) as daemon, Page(device) as page:
            if not scripts:
                browser.without_scripts()
            log_in(browser, page)
            daemon.wait_for("microphone-listening")
            press(browser, REVIEW)
            press(browser, "button.main")
            assert is_on(browser, REVIEW)
            assert NOTICES["opted-in"] in browser.text()
            room.play_samples(REQUEST)
            message = listener.next("request/reviewable", timeout_s=60)
            tag, _ = read_wav(message.payload)
            assert (tag.review.opt_out, tag.review.choice, tag.review.wording) == (False, "user", VERSION)
            press(browser, REVIEW)
            assert not is_on(browser, REVIEW)
            room.play_samples(REQUEST)
            tag, _ = read_wav(listener.next("request/opted-out", timeout_s=60).payload)
            assert (tag.review.opt_out, tag.review.choice) == (True, "user")
            press(browser, MICROPHONE)
            daemon.wait_for("microphone-muted")
            assert not is_on(browser, MICROPHONE)


def test_by_keyboard_alone_everything_is_reached_and_done(page, browser, store):
    put(store)
    log_in(browser, page)

    def tab_to(what):
        for _ in range(20):
            browser.key("Tab", 9)
            if what in browser.evaluate("document.activeElement.textContent + document.activeElement.ariaLabel"):
                return
        raise AssertionError(what)

    tab_to("People may listen")
    with browser.loading():
        browser.key(" ", 32, " ")
    tab_to("Opt in")
    with browser.loading():
        browser.key("Enter", 13, "\r")
    assert not store.review().opt_out
    tab_to("Delete today")
    with browser.loading():
        browser.key(" ", 32, " ")
    assert store.count() == 0
    tab_to("Log out")
    with browser.loading():
        browser.key("Enter", 13, "\r")
    assert "Password" in browser.text()


def test_a_waiting_request_is_played_where_it_stands_and_stops_by_itself(page, browser, store):
    put(store, 1, 8_000)
    log_in(browser, page)
    browser.evaluate("HTMLMediaElement.prototype.play = new Proxy(HTMLMediaElement.prototype.play, {apply(f, sound) {"
                     "window.played = sound; return Reflect.apply(f, sound, [])}})")  # fmt: skip
    browser.click("a.play")
    browser.until("window.played && window.played.ended")
    assert browser.evaluate("window.played.duration") == 0.5
    browser.until("document.querySelector('a.play').textContent === 'Play'")
    store.delete()
    browser.click("a.play")
    browser.until("document.querySelector('a.play').textContent === 'Gone'")
    browser.events.clear()  # it says that it found nothing


def test_the_state_and_the_level_follow_the_recorder_without_a_reload(tmp_path):
    noise = np.random.default_rng(2).integers(-9000, 9000, 640_000).astype(np.int16)
    soundfile.write(tmp_path / "noise.wav", noise, 16_000)
    with virtual_microphone() as room, Page(Device(tmp_path)) as page, Browser() as browser:
        log_in(browser, page)
        assert "The recorder is not running" in browser.text()
        with Daemon(page.device, env=room.settings) as daemon:
            daemon.wait_for("microphone-listening")
            browser.until("document.body.innerText.includes('Listening for the wake word')")
            with room.playing(tmp_path / "noise.wav"):
                browser.until("parseFloat(document.getElementById('level').style.transform.slice(7)) > 0.5")
        browser.until("document.body.innerText.includes('The recorder is not running')")


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("axe")
    if shutil.which("npm") is None:
        pytest.skip("not installed: npm")
    subprocess.run(["npm", "pack", "--silent", "axe-core@4"], cwd=folder, check=True, capture_output=True)
    (archive,) = folder.glob("axe-core-*.tgz")
    subprocess.run(["tar", "-xf", archive, "package/axe.min.js"], cwd=folder, check=True)
    return (folder / "package" / "axe.min.js").read_text()


def test_axe_finds_nothing_on_any_page_in_light_or_dark_on_a_phone_or_a_desk(page, browser, store, axe):
    base = f"http://127.0.0.1:{page.port}"

    def look():
        browser.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
        for dark in (False, True):
            for width in WIDTHS:
                browser.look(width=width, dark=dark)
                browser.evaluate(axe)
                found = browser.evaluate("axe.run().then((found) => JSON.stringify(found.violations))")
                assert [(one["id"], one["nodes"][0]["html"]) for one in json.loads(found)] == []
                assert browser.evaluate("document.documentElement.scrollWidth") <= width

    browser.open(f"{base}/login")
    browser.until("document.activeElement.id === 'password'")
    look()
    browser.write("not it")
    with browser.loading():
        browser.key("Enter", 13, "\r")
    look()
    log_in(browser, page)
    look()
    browser.open(f"{base}/opt-in")
    look()
    store.choose(False)
    put(store, 3)
    drain(store)
    store.flush()
    put(store, 1, 40_000, wake_word="hey_mycroft_of_a_long_name_that_is_the_users_own")
    store.choose(True)
    store.choose(False)
    put(store, 2)
    store.refused(store.waiting()[0].id, "the broker's access list must let this login write there")
    store.set_muted(True)
    browser.open(f"{base}/?done=opted-in")
    look()
    browser.open(f"{base}/nowhere")
    look()
    browser.events.clear()  # it says that it found nothing, and what a password field would like to have


@pytest.mark.alone
def test_the_first_paint_comes_at_once_and_the_whole_page_is_light(page, browser, store):
    for seed in range(25):
        put(store, seed)
    drain(store)
    store.flush()
    for seed in range(25):
        put(store, seed)
    log_in(browser, page)
    paints = []
    for _ in range(5):
        browser.call("Network.clearBrowserCache")
        browser.events.clear()
        browser.open(f"http://127.0.0.1:{page.port}/")
        find = "performance.getEntriesByName('first-contentful-paint').map((one) => one.startTime)[0]"
        paints.append(browser.until(find))
        loaded = [event["params"] for event in browser.events if event["method"] == "Network.loadingFinished"]
        assert len(loaded) >= 3
        assert sum(one["encodedDataLength"] for one in loaded) < MOST_BYTES
    assert min(paints) < FIRST_PAINT_MS, paints
