"""A running daemon's wake words are changed over MQTT, kept over restarts, shown, and undone on the device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.broker import Broker, Listener, listening
from support.daemon import Daemon, Device
from support.stores import open_store

from device.hearing.tuning import Tuning

FIXTURES = Path(__file__).parent / "fixtures"
BASE = "wakeword/kitchen"
SET = f"{BASE}/wake/set"
NOBODY = 'name = "no such thing"'  # so that the daemon only waits
BOTH = 'words = ["hey_jarvis", "alexa"]\nthreshold = { alexa = 0.4 }\n'
KEPT = ("wake_word", "start_sample", "end_sample", "ended_by")
ALLOWED = BOTH + "allow_remote_changes = true"


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path) as broker:
        yield broker


def device(folder: Path, broker: Broker, wake: str = ALLOWED) -> Device:
    return Device(folder, broker.port, wake=wake, microphone=NOBODY)


def shown(listener: Listener) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(listener.next("/wake").payload)
    return found


def say(listener: Listener, payload: str, *, retain: bool = False) -> None:
    listener.publish(SET, payload.encode(), retain=retain)


def await_subscribed(listener: Listener) -> None:
    """Wait until the daemon hears commands: it subscribes before it says that it is online."""
    while listener.next("/status").payload != b"online":
        pass


def change(folder: Path, tuning: Tuning) -> None:
    """Have something changed already."""
    with open_store(folder / "state") as store:
        store.tunings.change(lambda _: tuning)


def heard(events: list[dict[str, Any]]) -> list[str]:
    return [event["wake_word"] for event in events if event["event"] == "wake"]


def test_a_word_is_chosen_its_threshold_set_and_the_device_undoes_both(tmp_path, broker):
    kitchen = device(tmp_path, broker)
    as_configured = {
        "word": "all", "threshold": None, "thresholds": {"hey_jarvis": 0.5, "alexa": 0.4}, "changed": False,
    }  # fmt: skip
    with listening(broker.port, f"{BASE}/wake") as listener, Daemon(kitchen) as daemon:
        assert shown(listener) == as_configured
        say(listener, "listen alexa")
        assert shown(listener) == as_configured | {"word": "alexa", "threshold": 0.4, "changed": True}
        say(listener, "threshold alexa 0.62")
        changed = shown(listener)
        assert (changed["word"], changed["threshold"], changed["thresholds"]["hey_jarvis"]) == ("alexa", 0.62, 0.5)
        event = [daemon.wait_for("wake-changed") for _ in range(2)][-1]
        assert (event["word"], event["thresholds"]["alexa"], event["changed"]) == ("alexa", 0.62, True)
        done = kitchen.call("wake", "reset")
        assert (done.returncode, done.stdout) == (0, "undone: the configuration counts again\n")
        assert shown(listener) == as_configured
        assert daemon.wait_for("wake-changed")["changed"] is False
        assert kitchen.call("wake", "reset").stdout == "nothing was changed over MQTT\n"


def test_it_counts_after_a_restart_from_the_first_frame_on_and_is_told_to_who_comes_late(tmp_path, broker):
    kitchen = device(tmp_path, broker)
    assert heard(kitchen.hear(FIXTURES / "both-words.wav", arguments=("--drain-timeout", "0"), status=69)) == [
        "alexa", "hey_jarvis",
    ]  # fmt: skip
    with listening(broker.port, f"{BASE}/status") as listener, Daemon(kitchen) as daemon:
        await_subscribed(listener)
        say(listener, "listen hey_jarvis")
        daemon.wait_for("wake-changed")
        assert daemon.stop() == 0
    events = kitchen.hear(FIXTURES / "both-words.wav", arguments=("--drain-timeout", "0"), status=69)
    assert heard(events) == ["hey_jarvis"]
    assert next(event["words"] for event in events if event["event"] == "started") == ["hey_jarvis"]
    with listening(broker.port, f"{BASE}/wake") as late:
        assert shown(late)["word"] == "hey_jarvis"


def test_a_change_while_a_request_is_spoken_leaves_it_whole(tmp_path, broker):
    recording, unsent = FIXTURES / "hey-jarvis-request.wav", ("--drain-timeout", "0")
    kitchen = device(tmp_path, broker)
    whole = next(event for event in kitchen.hear(recording, arguments=unsent, status=69) if event["event"] == "stored")
    with (
        listening(broker.port, f"{BASE}/status") as listener,
        Daemon(kitchen, "--input", recording, *unsent) as daemon,
    ):
        await_subscribed(listener)
        daemon.wait_for("wake")
        say(listener, "listen alexa")
        daemon.wait_for("wake-changed")
        stored = daemon.wait_for("stored")
    assert {key: stored[key] for key in KEPT} == {key: whole[key] for key in KEPT}


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ("listen hey_marvin", "known: `listen WORD`, `threshold WORD SCORE`; WORD: hey_jarvis, alexa, all"),
        ("threshold all 0.05", "over MQTT it is 0.1 to 1"),
    ],
)
def test_what_is_wrong_changes_nothing_and_is_told_what_would_be_right(tmp_path, broker, payload, why):
    with listening(broker.port, f"{BASE}/status") as listener, Daemon(device(tmp_path, broker)) as daemon:
        await_subscribed(listener)
        say(listener, payload)
        assert why in daemon.wait_for("command-ignored")["problem"]
        daemon.stop()
    assert not [event for event in daemon.events if event["event"] in ("command", "wake-changed")]


def test_a_change_that_the_broker_has_kept_is_not_obeyed(tmp_path, broker):
    with listening(broker.port) as listener:
        say(listener, "listen alexa", retain=True)
    with Daemon(device(tmp_path, broker)) as daemon:
        assert "publish it without the retain flag" in daemon.wait_for("command-ignored")["problem"]
        daemon.stop()
    assert not [event for event in daemon.events if event["event"] in ("command", "wake-changed")]


def test_where_it_is_not_allowed_nobody_is_heard_and_what_was_changed_does_not_count(tmp_path, broker):
    change(tmp_path, Tuning(word="hey_jarvis"))
    with listening(broker.port, f"{BASE}/#") as listener:
        say(listener, "listen hey_jarvis", retain=True)
        kitchen = device(tmp_path, broker, BOTH)
        events = kitchen.hear(FIXTURES / "both-words.wav")
        levels = {message.topic.removeprefix(f"{BASE}/") for message in listener.pending()}
    assert heard(events) == ["alexa", "hey_jarvis"]
    assert "status" in levels
    assert "wake" not in levels
    assert not [event for event in events if event["event"] in ("command-ignored", "wake-changed")]
    assert "over MQTT" not in kitchen.call("wake", "list").stdout
    assert "over MQTT" not in kitchen.call("check").stdout


def test_wake_list_and_check_show_what_counts(tmp_path, broker):
    change(tmp_path, Tuning(word="alexa", thresholds={"alexa": 0.62, "gone": 0.3}))
    kitchen = device(tmp_path, broker)
    done = kitchen.call("wake", "list")
    rows = {line.split()[1]: line for line in done.stdout.splitlines() if line.startswith("*")}
    assert rows["alexa"].endswith("threshold 0.40  bundled  over MQTT: 0.62")
    assert rows["hey_jarvis"].endswith("threshold 0.50  bundled  over MQTT: not listened for")
    assert "`wakeword-recorder wake reset` undoes it" in done.stderr
    words = [json.loads(line) for line in kitchen.call("wake", "list", "--json").stdout.splitlines()]
    counts = {word["word"]: (word["threshold"], word["counts_from"]) for word in words if word["configured"]}
    assert counts == {"alexa": (0.4, 0.62), "hey_jarvis": (0.5, None)}
    (row,) = [line for line in kitchen.call("check").stdout.splitlines() if "models" in line.split()]
    assert (
        "only alexa is listened for, the threshold of alexa is 0.62, over MQTT; `wakeword-recorder wake reset`" in row
    )
