"""The consumers that the documents show: each does what it is shown for, on what a device really publishes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.broker import Broker, Listener, await_true, free_port
from support.daemon import Device

ROOT = Path(__file__).parents[1]
SHOWN = ROOT / "config" / "consumers"
REQUEST = ROOT / "tests" / "fixtures" / "hey-jarvis-request.wav"
LINES = re.findall(r"^(?:mosquitto_|ffprobe).*$", (SHOWN / "README.md").read_text(), re.MULTILINE)
NODE_RED, ASYNCAPI_PARSER = "node-red@4.1.8", "@asyncapi/parser@3.6.0"


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path) as broker:
        yield broker


@contextlib.contextmanager
def running(command, broker, **options):
    """A subscriber's process, once the broker has its subscription, until the block ends."""
    known = broker.log.read_text().count("Sending SUBACK")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
    try:
        await_true(lambda: broker.log.read_text().count("Sending SUBACK") > known, command, timeout_s=60)
        yield process
    finally:
        process.kill()
        process.communicate()


def shown(part, broker):
    """The command line of the document that has this in it, word for word but for the broker's address."""
    (line,) = [line for line in LINES if part in line]
    return ["bash", "-c", "exec " + line.replace("BROKER", f"127.0.0.1 -p {broker.port}")]


def until(process, wanted):
    """The lines up to the first that has a text in it."""
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if wanted in line:
            return lines
    raise AssertionError(f"{wanted!r} is not in {lines}")


def test_events_are_shown_one_json_object_a_line(tmp_path, broker):
    with running(shown("wakeword/+/event", broker), broker) as process:
        Device(tmp_path, broker.port, mqtt='no_subscriber = "drop"').hear(REQUEST)
        events = [json.loads(line)["event"] for line in until(process, '"stored"')]
    assert "wake" in events


def test_states_are_shown_with_their_topics_and_no_sound(tmp_path, broker):
    with running(shown("%p", broker), broker) as process:
        Device(tmp_path, broker.port, mqtt='no_subscriber = "drop"').hear(REQUEST)
        lines = until(process, "wakeword/kitchen/status offline")
    assert any(line.startswith('wakeword/kitchen/review {"opt_out":true') for line in lines)


def test_requests_are_shown_by_their_properties(tmp_path, broker):
    with running(shown("%P", broker), broker) as process:
        Device(tmp_path, broker.port).hear(REQUEST)
        (line,) = until(process, "Content-Usage")
    assert line.startswith("wakeword/kitchen/request/opted-out id:")
    assert "Content-Usage:train-ai=n" in line


def test_a_request_becomes_a_file_whose_tag_is_shown(tmp_path, broker):
    with running(shown("> request.wav", broker), broker, cwd=tmp_path) as process:
        Device(tmp_path, broker.port).hear(REQUEST)
        assert process.wait(15) == 0
    done = subprocess.run(shown("ffprobe", broker), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert re.search('"wake_word":"?"hey_jarvis', done.stdout.replace('""', '"'))


def test_the_command_that_is_published_opts_the_device_out(tmp_path, broker):
    device = Device(tmp_path, broker.port, mqtt='no_subscriber = "drop"')
    device.call("review", "opt-in", "--yes")
    *shell, line = shown("review/set", broker)
    subprocess.run([*shell, f"{line} -r"], check=True)  # kept, since the daemon runs for a moment only here
    device.hear(REQUEST)
    assert json.loads(device.call("review", "status", "--json").stdout)["opt_out"] is True


def test_the_consumer_in_python_takes_what_is_reviewable_once(tmp_path, broker):
    device = Device(tmp_path, broker.port)
    env = {**os.environ, "BROKER": "127.0.0.1", "PORT": str(broker.port)}
    with running([sys.executable, SHOWN / "consumer.py"], broker, env=env) as process:
        device.call("review", "opt-in", "--yes")
        device.hear(REQUEST)
        fields = process.stdout.readline().split()
        assert fields[1:] == ["kitchen", "hey_jarvis", fields[3], "s", "True"]
        sent = [event["id"] for event in device.hear(REQUEST) if event["event"] == "sent"]
        assert [process.stdout.readline().split()[0]] == sent


@pytest.fixture(scope="module")
def npm(tmp_path_factory):
    """Installs a package from npm, and returns the folder that it is in."""
    if shutil.which("npm") is None:
        pytest.skip("not installed: npm")

    def install(package):
        folder = tmp_path_factory.mktemp("npm")
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder, package]
        subprocess.run(command, check=True, capture_output=True)
        return folder / "node_modules"

    return install


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_flow_runs_in_node_red_and_tells_what_was_asked(tmp_path, broker, npm):
    modules = npm(NODE_RED)
    home = tmp_path / "node-red"
    home.mkdir()
    flow = json.loads((SHOWN / "flow.json").read_text())
    (configured,) = [node for node in flow if node["type"] == "mqtt-broker"]
    configured |= {"broker": "127.0.0.1", "port": str(broker.port)}
    (home / "flow.json").write_text(json.dumps(flow))
    command = ["node", modules / "node-red" / "red.js", "-u", home, "-p", str(free_port()), home / "flow.json"]
    topics = ("home/request", "home/wake")
    with Listener(broker.port, *topics) as listener, running(command, broker):
        await_true(lambda: "wakeword/+/event" in broker.log.read_text(), "the flow has subscribed")
        device = Device(tmp_path, broker.port)
        device.hear(REQUEST)
        wake, told = json.loads(listener.next("wake").payload), json.loads(listener.next("request").payload)
    assert wake["wake_word"] == told["wake_word"] == "hey_jarvis"
    assert told["use"]["cawg.ai_training"] == {"use": "notAllowed"}


PARSE = """
import pkg from '@asyncapi/parser';
import fs from 'fs';
const parsed = await new pkg.Parser().parse(fs.readFileSync(process.argv[2], 'utf8'));
const errors = parsed.diagnostics.filter(one => one.severity === 0).map(one => `${one.path.join('.')}: ${one.message}`);
console.log(JSON.stringify({errors, channels: parsed.document?.channels().all().length}));
"""


@pytest.mark.long
@pytest.mark.timeout(600)
def test_asyncapis_own_parser_finds_no_error_in_the_description(npm):
    folder = npm(ASYNCAPI_PARSER).parent
    (folder / "parse.mjs").write_text(PARSE)
    command = ["node", folder / "parse.mjs", ROOT / "config" / "asyncapi.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    parsed = json.loads(done.stdout)
    assert parsed["errors"] == []
    assert parsed["channels"] >= 10
