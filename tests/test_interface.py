"""The description of the MQTT interface: made from the program's types, and kept to by what a device publishes."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import typing
from pathlib import Path

import msgspec
import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError
from support.broker import Broker, Listener
from support.daemon import Device

from device.daemon.sender import EVENTS as SENDERS_EVENTS
from device.edges.flac import read_flac
from device.edges.store.results import StoreEvent
from device.message.envelope import read_wav, tag_json
from device.message.happenings import EVENTS

ROOT = Path(__file__).parents[1]
FIXTURES = ROOT / "tests" / "fixtures"
MADE = sorted(path.relative_to(ROOT / "config") for path in [*ROOT.glob("config/schemas/*.json")])
MADE.append(Path("asyncapi.yaml"))
HOW = {"level", "repeats"}  # of the call, not of the event
PUBLISHING = [*ROOT.glob("device/daemon/*.py"), *ROOT.glob("device/edges/store/*.py"), ROOT / "device/events.py"]


def test_the_committed_description_is_what_the_types_make(tmp_path):
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
    subprocess.run([sys.executable, "-m", "support.describe_mqtt", "--out", tmp_path], env=env, check=True)
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")) == sorted(MADE)
    for name in MADE:
        assert (tmp_path / name).read_text() == (ROOT / "config" / name).read_text(), (
            f"{name}: call scripts/describe-mqtt"
        )


def calls():
    """Where the daemon says an event by its name: the name, its fields, and whether there may be more of them."""
    for path in PUBLISHING:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and (name := event_name(node)):
                keywords = [keyword.arg for keyword in node.keywords]
                fields = {*keywords, *stored_fields(node)} - {None, *HOW}
                yield path.name, name, fields, None in keywords or called(node) == "_say"


def called(node):
    return getattr(node.func, "attr", None) or getattr(node.func, "id", "")


def event_name(node):
    if called(node) not in ("events", "_events", "_report", "_say", "StoreEvent"):
        return None
    match node.args[0]:
        case ast.Constant(str(name)):
            return re.escape(name)
        case ast.JoinedStr(values):
            return "".join(re.escape(part.value) if isinstance(part, ast.Constant) else ".+" for part in values)
    return None


def stored_fields(node):
    third = node.args[2] if called(node) == "StoreEvent" and len(node.args) > 2 else None
    return {key.value for key in third.keys} if isinstance(third, ast.Dict) else set()


def test_every_event_that_is_said_is_described_with_its_fields():
    said = list(calls())
    assert len(said) > 30
    for path, pattern, fields, more in said:
        described = [kind for name, kind in EVENTS.items() if re.fullmatch(pattern, name)]
        assert described, f"{path}: {pattern}"
        for kind in described:
            known = msgspec.structs.fields(kind)
            assert fields <= {field.name for field in known}, f"{path}: {pattern}"
            assert more or {field.name for field in known if field.required} <= fields, f"{path}: {pattern}"


def test_what_the_sender_and_the_store_may_say_is_described_and_nothing_is_that_nobody_says():
    stores = set(typing.get_args(typing.get_type_hints(StoreEvent)["event"]))
    assert set(SENDERS_EVENTS) | stores <= set(EVENTS)
    literal = {name for _, pattern, _, _ in calls() for name in EVENTS if re.fullmatch(pattern, name)}
    assert set(EVENTS) == set(SENDERS_EVENTS) | stores | literal


def strict(schema):
    """The schema with every field forbidden that it does not know."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    return made | {"additionalProperties": False} if isinstance(made.get("properties"), dict) else made


@pytest.fixture(scope="module")
def interface():
    return strict(yaml.safe_load((ROOT / "config" / "asyncapi.yaml").read_text()))


def validate(interface, heard):
    """Hold a message against the channel of its topic; returns the channel's name."""
    levels = heard.topic.removeprefix("wakeword/kitchen/")
    (name,) = [name for name, channel in interface["channels"].items() if channel["address"].endswith("}/" + levels)]
    ((kind, _),) = interface["channels"][name]["messages"].items()
    message = interface["components"]["messages"][kind]
    if kind == "file":
        assert heard.properties["ContentType"] in ("audio/wav", "audio/flac")
        read = read_wav if heard.payload[:4] == b"RIFF" else read_flac
        check(interface, json.loads(tag_json(read(heard.payload)[0])), message["x-tag"])
        check(interface, dict(heard.properties["UserProperty"]), message["headers"])
    elif message["contentType"] == "text/plain":
        check(interface, heard.payload.decode(), message["payload"])
    else:
        check(interface, json.loads(heard.payload), message["payload"])
    return name


def check(interface, value, schema):
    Draft202012Validator({**schema, "components": interface["components"]}).validate(value)


def test_whatever_a_device_publishes_is_as_described(tmp_path, interface):
    told = {"review": "sign = true", "homeassistant": "discovery = true", "wake": "allow_remote_changes = true"}
    with Broker(tmp_path) as broker, Listener(broker.port, "#") as listener:
        listener.publish("wakeword/kitchen/review/set", b"nonsense", retain=True)
        device = Device(tmp_path, broker.port, **told)
        device.hear(FIXTURES / "hey-jarvis-request.wav", FIXTURES / "wake-word-alone.wav")
        for change in (("review", "opt-in", "--yes"), ("microphone", "mute")):  # no daemon runs: the commands tell it
            assert device.call(*change).returncode == 0
        Device(tmp_path, broker.port, mqtt='format = "flac"', **told).hear(FIXTURES / "hey-jarvis-request.wav")
        device.call("review", "opt-out", "--withdraw")
        device.hear(FIXTURES / "wake-word-alone.wav")
        heard = listener.until_barrier(lambda: listener.publish("the/end", b""), "the/end")
    names = {validate(interface, message) for message in heard if not message.topic.endswith(("/set", "/config"))}
    others = {
        "answer",
        "reviewSet",
        "microphoneSet",
        "healthSet",
        "wakeSet",
    }  # what the device hears, and what `answer` publishes
    assert names == set(interface["channels"]) - others
    events = {json.loads(message.payload)["event"] for message in heard if message.topic.endswith("/event")}
    assert events >= {"input", "wake", "no-speech", "stored", "sent", "command-ignored"}


@pytest.mark.parametrize(
    ("levels", "payload"),
    [
        ("event", {"event": "sent"}),
        ("event", {"event": "sent", "id": "1", "more": 1}),
        ("event", {"event": "of-nobody"}),
        ("microphone", {"state": "listening"}),
        ("review", {"opt_out": 1, "choice": "user", "revision": 1, "changed_at": None}),
    ],
)
def test_what_is_not_as_described_is_found(interface, levels, payload):
    class Heard:
        topic = f"wakeword/kitchen/{levels}"

    Heard.payload = json.dumps(payload).encode()
    with pytest.raises(ValidationError):
        validate(interface, Heard)
