"""Home Assistant is told of the device where the configuration says so: what, when again, and how that ends."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.broker import Broker, Listener, await_true, listening
from support.daemon import Daemon, Device
from support.sending import Sending
from support.stores import JumpingClock

from device.daemon import home_assistant
from device.daemon.home_assistant import CPU_S, LONGEST_DELAY_S, LOOK_S, HomeAssistant
from device.events import Events
from device.message.commands import Action
from device.message.discovery import Recorder, discovery, identifier, topic

REQUEST = Path(__file__).parent / "fixtures" / "hey-jarvis-request.wav"
BASE = "wakeword/kitchen"
CONFIG = "homeassistant/device/wakeword-kitchen/config"
NOBODY = {"microphone": 'name = "no such thing"'}  # so that the daemon only waits
KITCHEN = Recorder("wakeword", "kitchen", "0.1", ("hey_jarvis", "computer"), allow_remote_opt_in=False)

TUNABLE = replace(KITCHEN, thresholds=(0.5, 0.6))


def told(recorder: Recorder) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(discovery(recorder))
    return document


def entities(recorder: Recorder) -> dict[str, dict[str, Any]]:
    """Those that there are; what is a platform alone is removed."""
    return {name: entity for name, entity in told(recorder)["cmps"].items() if set(entity) != {"p"}}


def test_each_entity_has_what_home_assistant_asks_for_and_no_name_has_the_devices_in_it():
    for own, entity in entities(TUNABLE).items():
        assert entity["uniq_id"] == f"wakeword-kitchen-{own}"
        assert entity["def_ent_id"] == f"{entity['p']}.kitchen_{own}"
        assert "kitchen" not in entity["name"].lower()
        assert entity["name"][0].isupper()
        assert all(entity[key].startswith(f"{BASE}/") for key in ("stat_t", "cmd_t", "json_attr_t") if key in entity)


def test_identifiers_outlive_another_version_other_words_and_other_rights():
    def identifiers(**changes: Any) -> list[str]:
        recorder = Recorder(**{"topic_prefix": "wakeword", "id": "kitchen", "thresholds": (0.5,), **changes})
        return [*told(recorder)["dev"]["ids"], *(entity["uniq_id"] for entity in entities(recorder).values())]

    first = identifiers(version="0.1", words=["alexa"], allow_remote_opt_in=False)
    assert first == identifiers(version="9.9", words=["hey_jarvis"], allow_remote_opt_in=True)


def test_two_devices_and_two_prefixes_share_nothing():
    pairs = [("wakeword", "kitchen"), ("wakeword", "hall"), ("house/wake", "kitchen")]
    assert len({identifier(*pair) for pair in pairs}) == len({topic("homeassistant", *pair) for pair in pairs}) == 3
    assert topic("ha", "wäke/+", "k") == "ha/device/w-ke---k/config"


def test_every_name_that_the_event_may_have_is_listed():
    assert told(KITCHEN)["cmps"]["wake_word"]["evt_typ"] == ["hey_jarvis", "computer", "button"]


def test_the_switch_of_the_review_choice_says_that_recording_goes_on():
    assert "recording goes on" in told(KITCHEN)["cmps"]["review_opt_out"]["name"]


def test_only_where_it_is_allowed_a_word_is_chosen_and_its_threshold_set():
    settings = {"listened_word", "threshold"}
    assert entities(TUNABLE).keys() - entities(KITCHEN).keys() == settings
    assert {name: told(KITCHEN)["cmps"][name] for name in settings} == {
        "listened_word": {"p": "select"}, "threshold": {"p": "number"},
    }  # fmt: skip


def test_words_are_chosen_among_the_configured_ones_and_all_of_them_where_there_are_more():
    assert entities(TUNABLE)["listened_word"]["ops"] == ["hey_jarvis", "computer", "all"]
    assert entities(replace(TUNABLE, words=("alexa",)))["listened_word"]["ops"] == ["alexa"]


@pytest.mark.parametrize(("configured", "least"), [((0.5, 0.6), 0.1), ((0.5, 0.02), 0.02)])
def test_a_threshold_may_be_as_low_as_is_accepted_or_as_it_is_configured(configured, least):
    assert entities(replace(TUNABLE, thresholds=configured))["threshold"]["min"] == least


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path) as broker:
        yield broker


def device(folder: Path, broker: Broker, **settings: str) -> Device:
    return Device(folder, broker.port, homeassistant="discovery = true", **{**NOBODY, **settings})


def health(listener: Listener, until: str) -> dict[str, Any]:
    """Return the first health in which something is known."""
    while True:
        found: dict[str, Any] = json.loads(listener.next("/health").payload)
        if found[until] is not None:
            return found


def test_what_somebody_else_left_on_its_topic_is_replaced_and_what_it_says_is_kept(tmp_path, broker):
    with Listener(broker.port) as somebody:
        somebody.publish(CONFIG, b'{"garbage": ' + bytes(2_000_000), retain=True)
        somebody.publish("homeassistant/status", bytes(2_000_000), retain=True)
    with Daemon(device(tmp_path, broker)) as daemon, listening(broker.port, f"{BASE}/health") as listener:
        assert health(listener, "waiting")["waiting"] == 0
        assert daemon.stop() == 0
    assert not [event for event in daemon.events if event["event"] in ("command-ignored", "broker-lost")]
    with listening(broker.port, CONFIG, f"{BASE}/health") as late:
        kept = {message.topic: message for message in (late.next(), late.next())}
    assert kept[CONFIG].retain
    assert json.loads(kept[CONFIG].payload)["dev"]["ids"] == ["wakeword-kitchen"]
    assert json.loads(kept[f"{BASE}/health"].payload)["waiting"] == 0


def test_without_the_key_neither_home_assistant_nor_anybody_else_is_told_more(tmp_path, broker):
    with listening(broker.port, "#") as listener:
        Device(tmp_path, broker.port, mqtt='no_subscriber = "drop"').hear(REQUEST)
        levels = {message.topic.removeprefix(f"{BASE}/") for message in listener.pending()}
    assert levels == {"review", "status", "event", "request/opted-out"}


def test_asked_to_loosen_nothing_changes_and_the_last_problem_says_why(tmp_path, broker):
    with (
        listening(broker.port, f"{BASE}/+") as listener,
        Daemon(device(tmp_path, broker)) as daemon,
        listening(broker.port) as home,
    ):
        daemon.wait_for("broker-connected")
        assert health(listener, "problem")["problem"]["event"] == "microphone-lost"
        home.publish(f"{BASE}/review/set", b"opt-out")
        home.publish(f"{BASE}/microphone/set", b"mute")
        daemon.wait_for("microphone-muted")
        listener.pending()
        home.publish(f"{BASE}/microphone/set", b"unmute")
        daemon.wait_for("command-ignored")
        home.publish(f"{BASE}/health/set", b"check")
        found = health(listener, "checked_at")
    assert found["problem"]["text"] == (
        "command ignored: unmuting over MQTT is not possible; use `microphone unmute` on the device"
    )


def test_a_request_is_in_its_health(tmp_path, broker):
    with (
        listening(broker.port, f"{BASE}/health") as listener,
        Daemon(device(tmp_path, broker), "--input", REQUEST, "--pace", "fast", "--drain-timeout", "100") as daemon,
    ):
        daemon.wait_for("stored")
        daemon.wait_for("not-sent")
        listener.publish(f"{BASE}/health/set", b"check")
        found = health(listener, "checked_at")
        assert daemon.stop() == 69
    assert found["last_request_at"] is not None
    assert found["waiting"] == 1
    assert found["problem"]["text"].startswith("not sent: nobody is subscribed to wakeword/kitchen/request/opted-out")


def test_when_home_assistant_has_started_every_state_is_told_again_and_online_last(broker):
    states = [f"{BASE}/review", CONFIG, f"{BASE}/status"]
    with (
        listening(broker.port, *states) as listener,
        Sending(broker.port, birth_topic="homeassistant/status") as sending,
    ):
        sending.sender.set_state("review", b"{}")
        sending.sender.set_topic(CONFIG, b"{}")
        assert {listener.next().topic for _ in states} == set(states)
        for word in (b"offline", b"online"):
            listener.publish("homeassistant/status", word)
        await_true(lambda: sending.commands)
        sending.sender.tell_again()
        assert [listener.next().topic for _ in states] == states
    assert sending.commands == [Action.BIRTH]
    assert not sending.named("command-ignored")


class Told:
    """What a sender was asked to tell."""

    def __init__(self) -> None:
        self.health: list[dict[str, Any]] = []
        self.again: list[float] = []
        self.now_s = 1000.0
        self.used_s = 0.0

    def set_state(self, level: str, payload: bytes) -> None:
        assert level == "health"
        self.health.append(json.loads(payload))

    def tell_again(self) -> None:
        self.again.append(self.now_s)

    def count(self) -> int:
        return 3


@pytest.fixture
def home(monkeypatch):
    """Something to tell Home Assistant, with time that a test moves: ``home(s)`` looks a few times a second."""
    told = Told()
    monkeypatch.setattr(home_assistant.time, "monotonic", lambda: told.now_s)
    monkeypatch.setattr(home_assistant.time, "process_time", lambda: told.used_s)
    told.home = HomeAssistant(told, told, JumpingClock())
    return told


def passes(told: Told, seconds: float, meanwhile=lambda: None) -> None:
    for _ in range(round(seconds * 4)):
        meanwhile()
        told.home.look()
        told.now_s += 0.25


def test_a_flood_of_births_has_it_told_once_each_time_at_a_moment_of_its_own(home):
    delays = []
    for _ in range(20):
        began_s = home.now_s
        home.home.execute(Action.BIRTH)
        passes(home, LONGEST_DELAY_S + 1)
        delays.append(home.again[-1] - began_s)
    assert len(home.again) == 20
    assert len(set(delays)) > 5
    assert max(delays) <= LONGEST_DELAY_S + 0.25
    passes(home, 100, lambda: home.home.execute(Action.BIRTH))
    assert 20 + 100 / (2 * LONGEST_DELAY_S) < len(home.again) < 20 + 100 / 2


def test_the_health_is_looked_at_now_and_then_and_at_once_where_somebody_asks(home):
    passes(home, 9 * LOOK_S + 1)
    assert len(home.health) == 10
    assert home.health[-1]["checked_at"] is None
    home.home.execute(Action.CHECK)
    passes(home, 0.25)
    assert len(home.health) == 11
    assert home.health[-1]["checked_at"] == "2026-11-22T20:43:21.652Z"


def test_the_processors_share_is_that_of_the_last_minute(home):
    def works() -> None:
        home.used_s += 0.05

    passes(home, CPU_S + LOOK_S, works)
    assert home.health[-1]["cpu_percent"] == pytest.approx(20, abs=0.2)
    passes(home, 2 * CPU_S)
    assert home.health[-1]["cpu_percent"] == 0


def test_the_last_problem_is_a_line_and_what_is_no_problem_leaves_it(home):
    events = Events()
    events.note = home.home.note
    events("not-sent", "…", level=logging.WARNING, problem="x" * 1000)
    events("sent", "…")
    passes(home, 0.25)
    problem = home.health[-1]["problem"]
    assert (problem["event"], problem["at"]) == ("not-sent", "2026-11-22T20:43:21.652Z")
    assert problem["text"] == ("not sent: " + "x" * 1000)[:255]


@pytest.mark.parametrize(("key", "warns"), [("discovery = false", False), ("discovery = true", True)])
def test_it_is_removed_by_a_command(tmp_path, broker, key, warns):
    with Listener(broker.port) as somebody:
        somebody.publish(CONFIG, b"{}", retain=True)
        somebody.publish(f"{BASE}/health", b"{}", retain=True)
    done = Device(tmp_path, broker.port, homeassistant=key).call("discovery", "remove")
    assert (done.returncode, done.stdout) == (0, f"removed {CONFIG}\nremoved {BASE}/health\n")
    assert ("tells Home Assistant anew" in done.stderr) is warns
    with listening(broker.port, CONFIG, f"{BASE}/health", f"{BASE}/event") as late:
        assert late.until_barrier(lambda: late.publish(f"{BASE}/event", b"{}"), f"{BASE}/event") == []


def test_a_broker_that_does_not_take_the_removal_is_said(tmp_path):
    done = Device(tmp_path).call("discovery", "remove")
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.startswith(f"error: {CONFIG} stays: ")
    assert "nothing listens there" in done.stderr
