"""A real Home Assistant is told of the device: its entities are there, switches tighten, and what loosens goes back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import home_assistant
from support.answering import Answering, Publisher, said
from support.broker import Broker, await_true, listening
from support.daemon import Daemon, Device
from support.home_assistant import HomeAssistant
from support.speech_to_text import SpeechToText

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

REQUEST = Path(__file__).parents[1] / "fixtures" / "hey-jarvis-request.wav"
ENTITIES = {
    "switch.kitchen_review_opt_out", "switch.kitchen_mute", "event.kitchen_wake_word", "sensor.kitchen_microphone",
    "sensor.kitchen_waiting", "sensor.kitchen_last_request", "sensor.kitchen_last_check", "sensor.kitchen_problem",
    "sensor.kitchen_cpu", "button.kitchen_check",
}  # fmt: skip
REVIEW, MUTE = "switch.kitchen_review_opt_out", "switch.kitchen_mute"
NOBODY = 'name = "no such thing"'  # so that the daemon only waits


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with Broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture(scope="module")
def home(tmp_path_factory, broker):
    if reason := home_assistant.obstacle():
        pytest.skip(reason)
    with HomeAssistant(tmp_path_factory.mktemp("home")) as home:
        assert home.add("mqtt", broker="127.0.0.1", port=broker.port)["type"] == "create_entry"
        yield home
        log = home.log.read_text()
    assert not [line for line in log.splitlines() if "mqtt" in line and ("WARNING" in line or "ERROR" in line)]


@pytest.fixture
def device(tmp_path, broker, home):
    """A device of which nothing is left at Home Assistant's afterwards."""
    device = Device(tmp_path, broker.port, homeassistant="discovery = true", microphone=NOBODY)
    yield device
    assert device.call("discovery", "remove").returncode == 0
    await_true(lambda: not entities(home), "its entities have gone", 20)


def entities(home):
    return {one["entity_id"] for one in home.call("/api/states") if "kitchen" in one["entity_id"]}


def shows(home, entity, state):
    await_true(lambda: entity in entities(home) and home.state(entity) == state, f"{entity} is {state}", 20)


def turn(home, entity, to):
    home.call(f"/api/services/switch/turn_{to}", {"entity_id": entity})


def test_its_entities_are_there_tighten_and_go_back_and_the_last_problem_says_why(device, home):
    device.call("review", "opt-in", "--yes")
    with Daemon(device) as daemon:
        shows(home, REVIEW, "off")
        await_true(lambda: entities(home) == ENTITIES, "all entities are there", 20)
        turn(home, REVIEW, "on")
        shows(home, REVIEW, "on")
        assert json.loads(device.call("review", "status", "--json").stdout)["opt_out"] is True
        turn(home, MUTE, "on")
        shows(home, MUTE, "on")
        for switch, why in ((REVIEW, "opt-in over MQTT is not allowed"), (MUTE, "unmuting over MQTT is not possible")):
            turn(home, switch, "off")
            daemon.wait_for("command-ignored")
            home.call("/api/services/button/press", {"entity_id": "button.kitchen_check"})
            await_true(lambda why=why: why in home.state("sensor.kitchen_problem"), why, 20)
            assert home.state(switch) == "on"
        assert home.state("sensor.kitchen_last_check") != "unknown"


def test_where_it_is_allowed_the_switch_opts_in_to_the_revision_that_it_shows(device, home):
    text = device.config.read_text()
    device.config.write_text(f"{text}[review]\nallow_remote_opt_in = true\n")
    with Daemon(device):
        shows(home, REVIEW, "on")
        turn(home, REVIEW, "off")
        shows(home, REVIEW, "off")
    assert json.loads(device.call("review", "status", "--json").stdout)["opt_out"] is False


def test_where_it_is_allowed_a_wake_word_is_chosen_there_and_its_threshold_set_and_only_then(device, home):
    text, word, threshold = device.config.read_text(), "select.kitchen_listened_word", "number.kitchen_threshold"
    wake = '[wake]\nwords = ["hey_jarvis", "alexa"]\nthreshold = { alexa = 0.4 }\n'
    device.config.write_text(f"{text}{wake}allow_remote_changes = true\n")
    with Daemon(device) as daemon:
        shows(home, word, "all")
        await_true(lambda: entities(home) == ENTITIES | {word, threshold}, "all entities are there", 20)
        assert home.call(f"/api/states/{word}")["attributes"]["options"] == ["hey_jarvis", "alexa", "all"]
        assert home.state(threshold) == "unknown"  # the words differ in it
        home.call("/api/services/select/select_option", {"entity_id": word, "option": "alexa"})
        shows(home, word, "alexa")
        shows(home, threshold, "0.4")
        home.call("/api/services/number/set_value", {"entity_id": threshold, "value": 0.62})
        shows(home, threshold, "0.62")
        assert [daemon.wait_for("command")["command"] for _ in range(2)] == ["listen alexa", "threshold alexa 0.62"]
        assert device.call("wake", "reset").returncode == 0
        shows(home, word, "all")
    device.config.write_text(text + wake)
    with Daemon(device):
        await_true(lambda: entities(home) == ENTITIES, "they are gone", 20)


def test_a_wake_word_is_an_event_there(device, home):
    with Daemon(device, "--input", REQUEST, "--drain-timeout", "100"):
        await_true(lambda: "event.kitchen_wake_word" in entities(home), "the event is there", 20)
        await_true(lambda: home.state("sensor.kitchen_last_request") not in ("unknown", "unavailable"), timeout_s=20)
        heard = home.call("/api/states/event.kitchen_wake_word")["attributes"]
    assert heard["event_type"] == "hey_jarvis"
    assert 0.5 <= heard["score"] <= 1


def test_home_assistant_asks_on_behalf_of_the_device_that_it_made(tmp_path, device, broker, home):
    with SpeechToText() as server:
        assert home.add("wyoming", host="127.0.0.1", port=server.port)["type"] == "create_entry"
        await_true(lambda: "stt.test" in {one["entity_id"] for one in home.call("/api/states")})
        home.prefer(stt_engine="stt.test", stt_language="en")
        (area,) = [one for one in home.command("config/area_registry/list") if one["name"] == "Kitchen"]
        server.understand = lambda pcm: "turn on the lights"  # of the room, which only the device's place tells
        with Daemon(device):
            shows(home, REVIEW, "on")
            (own,) = [one["id"] for one in home.command("config/device_registry/list") if one["name"] == "kitchen"]
            home.command("config/device_registry/update", device_id=own, area_id=area["area_id"])
            home.command("config/entity_registry/update", entity_id="light.light", area_id=area["area_id"])
            folder = tmp_path / "answer"
            folder.mkdir()
            (folder / "token").write_text(home.token)
            answer = f'home_assistant = "{home.url}"\ntoken_file = "{folder / "token"}"'
            with (
                listening(broker.port, "wakeword/+/answer") as listener,
                Publisher(broker.port) as somebody,
                Answering(folder, broker.port, answer) as command,
            ):
                command.await_event("backend-ready")
                somebody.say(said())
                listener.next()
            await_true(lambda: home.state("light.light") == "on", "the light of the room is on")
