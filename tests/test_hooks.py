"""Hooks: each event runs its program, one kind never waits for another, and nobody waits for any."""

import contextlib
import json
import logging
import os
import runpy
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.broker import Broker, await_true
from support.daemon import PROGRAM, Daemon, Device

from device.daemon.hooks import EVENTS, MOST_WAITING, Hooks, say_problem
from device.events import Events
from device.hil.virtual import LOUDSPEAKER, VirtualPair, virtual_microphone
from device.sending.repeats import Repeats

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "config" / "hooks"
FIXTURES = ROOT / "tests" / "fixtures"
REQUEST = FIXTURES / "hey-jarvis-request.wav"
SAID = soundfile.read(REQUEST, start=18_000, stop=60_000, dtype="int16")[0]
NOTE = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"


@pytest.fixture
def hooks(tmp_path):
    """Make hooks from shell scripts by name; ``problems`` collects what goes wrong."""
    with contextlib.ExitStack() as stack:

        def make(timeout_s=5.0, **scripts):
            problems = []
            made = Hooks(
                {name: ["sh", "-c", script] for name, script in scripts.items()},
                folder=str(tmp_path),
                timeout_s=timeout_s,
                on_problem=lambda hook, problem: problems.append((hook, problem)),
            )
            stack.callback(made.close)
            return made, problems

        yield make


def test_an_event_without_a_hook_runs_nothing(hooks):
    made, problems = hooks(on_wake="exit 1")
    made.take("stored", b"{}")
    made.close()
    assert problems == []


def test_a_hook_that_hangs_keeps_neither_another_nor_whoever_says_the_event_waiting(hooks, tmp_path):
    made, problems = hooks(timeout_s=1.5, on_sent="sleep 60", on_wake="cat > chimed")
    began_s = time.monotonic()
    made.take("sent", b"{}")
    made.take("wake", b"{}")
    assert time.monotonic() - began_s < 0.1
    await_true((tmp_path / "chimed").exists, timeout_s=1.4)
    await_true(lambda: problems)
    assert problems == [("on_sent", "not done within 1.5 s; ended")]


def test_events_that_come_faster_than_their_hook_are_bounded_and_the_oldest_go(hooks, tmp_path):
    made, problems = hooks(timeout_s=30, on_sent="cat >> told; while [ ! -e go ]; do sleep 0.01; done")
    made.take("sent", b"first\n")
    await_true((tmp_path / "told").exists)  # the first one runs
    for number in range(MOST_WAITING + 3):
        made.take("sent", b"%d\n" % number)
    assert problems == [("on_sent", f"{MOST_WAITING} events behind; the oldest is left out")] * 3
    (tmp_path / "go").touch()
    made.close()
    assert (tmp_path / "told").read_text().split() == ["first", *map(str, range(3, MOST_WAITING + 3))]


def test_what_waits_at_the_end_is_run_and_what_hangs_then_is_ended(hooks, tmp_path):
    made, problems = hooks(timeout_s=1.0, on_wake="cat >> told", on_sent="sleep 60")
    for number in range(5):
        made.take("wake", b"%d\n" % number)
    made.take("sent", b"{}")
    began_s = time.monotonic()
    made.close()
    assert time.monotonic() - began_s < 2.5
    assert (tmp_path / "told").read_text().split() == list("01234")
    assert len(problems) == 1


def test_a_repeated_problem_is_said_once(caplog):
    said, repeats = Events(), Repeats()
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            say_problem(said, repeats, "on_wake", "aplay: no such program")
    assert [record.message for record in caplog.records] == ["[hooks] on_wake: aplay: no such program"]


def test_each_hook_gets_its_event_as_a_line_of_json_and_a_broken_one_harms_no_recording(tmp_path):
    note = {hook: json.dumps([sys.executable, "-c", NOTE, f"{hook}.txt"]) for hook in EVENTS}
    settings = {hook: f"{hook} = {note[hook]}" for hook in ("on_wake", "on_stored", "on_sent")}
    lines = "\n".join([*settings.values(), 'on_no_speech = ["/no/such/program"]'])
    with Broker(tmp_path) as broker:
        device = Device(tmp_path, broker.port, hooks=lines, mqtt='no_subscriber = "drop"')
        events = device.hear(REQUEST, FIXTURES / "wake-word-alone.wav", FIXTURES / "wake-word-alone.wav")
    told = [json.loads(line) for line in (tmp_path / "on_wake.txt").read_text().splitlines()]
    assert [event["wake_word"] for event in told] == ["hey_jarvis"] * 3
    (stored,) = [json.loads(line) for line in (tmp_path / "on_stored.txt").read_text().splitlines()]
    assert stored["opt_out"] is True
    assert stored["id"] in {event.get("id") for event in events if event["event"] == "stored"}
    (failed,) = [event for event in events if event["event"] == "hook-failed"]  # twice, said once
    assert failed["message"] == "[hooks] on_no_speech: /no/such/program: no such program"
    assert not (tmp_path / "on_sent.txt").exists()  # nobody was subscribed


UNUSED = ["device.daemon.hooks", "device.edges.program", "device.daemon.home_assistant", "device.message.discovery"]


def test_without_hooks_and_discovery_nothing_of_them_is_loaded(tmp_path):
    command = f"""
import sys
from device.__main__ import main
try:
    main({Device(tmp_path).command("run", "--input", REQUEST, "--pace", "fast", "--drain-timeout", 0)[1:]})
finally:
    print(sorted(set(sys.modules) & {set(UNUSED)}))
"""
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def example(name):
    """The lines of an example's section of the document, as a configuration has them."""
    section = (EXAMPLES / "README.md").read_text().split(f"## {name}\n")[1].split("\n## ")[0]
    return section.split("```toml\n[hooks]\n")[1].split("```")[0]


def beside(folder):
    """The examples beside a configuration, as the document copies them."""
    (folder / "hooks").symlink_to(EXAMPLES)
    return folder


def test_the_chime_of_the_document_is_played_by_aplay_when_the_wake_word_is_heard(tmp_path):
    lines = example("A chime").replace('"-q", ', f'"-q", "-D", "{LOUDSPEAKER}", ')
    device = Device(beside(tmp_path), hooks=lines)
    with contextlib.closing(VirtualPair()) as room:
        recorded = tmp_path / "heard.raw"
        with recorded.open("wb") as file:
            command = ["parec", "--device=mouth.monitor", "--rate=16000", "--channels=1", "--format=s16le", "--raw"]
            recorder = subprocess.Popen(command, env=room.env, stdout=file)
        try:
            device.env |= room.settings
            device.hear(REQUEST, arguments=("--drain-timeout", 0), status=69)
            chime = soundfile.read(EXAMPLES / "wake.wav", dtype="int16")[0]
            await_true(lambda: holds(np.fromfile(recorded, "<i2"), chime), "the chime is heard")
        finally:
            recorder.terminate()
            recorder.wait()


@pytest.mark.parametrize(("mask_s", "told"), [(2.0, "no-speech"), (0, "stored")])
def test_what_a_hook_plays_is_no_request_where_it_is_masked(tmp_path, mask_s, told):
    soundfile.write(tmp_path / "talk.wav", SAID[22_500:], 16_000, subtype="PCM_16")  # "turn on the light"
    word = soundfile.read(FIXTURES / "wake-word-alone.wav", dtype="int16")[0]
    hooks = f'on_wake = ["aplay", "-q", "-D", "{LOUDSPEAKER}", "talk.wav"]\nmask_s = {mask_s}'
    with contextlib.closing(VirtualPair()) as room:
        device = Device(tmp_path, hooks=hooks, capture="no_speech_s = 2.2")
        with Daemon(device, env=room.settings) as daemon:
            daemon.wait_for("microphone-listening")
            room.play_samples(word)
            daemon.wait_for("wake")
            daemon.wait_for(told)
            daemon.stop()
    assert {"stored", "no-speech"} & {event["event"] for event in daemon.events} == {told}


def holds(sound, part):
    """Whether a part is in a sound, sample for sample."""
    return sound.tobytes().find(part.tobytes()) >= 0


def test_the_light_of_the_document_is_lit_while_its_program_runs_and_dark_after_it(monkeypatch):
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    from gpiozero import Device as Gpio

    Gpio.pin_factory = Gpio._default_pin_factory()
    pin = Gpio.pin_factory.pin(17)
    script = threading.Thread(target=runpy.run_path, args=(str(EXAMPLES / "led.py"),))
    script.start()
    await_true(lambda: pin.function == "output" and pin.state, "it is lit")
    script.join()
    assert not pin.state or pin.function == "input"


PRESS = """
import runpy, signal, sys
from gpiozero import Device
from gpiozero.pins.mock import MockFactory
Device.pin_factory = MockFactory()
pause = signal.pause
def press_and_pause():
    Device.pin_factory.pin(27).drive_low()
    pause()
signal.pause = press_and_pause  # the example has done all that it does before it waits
runpy.run_path(sys.argv[1])
"""


def test_the_button_of_the_document_starts_a_request(tmp_path):
    with virtual_microphone() as room:
        device = Device(tmp_path)
        home = tmp_path / "config"
        (home / "wakeword-recorder").mkdir(parents=True)
        (home / "wakeword-recorder" / "config.toml").symlink_to(device.config)
        env = device.env | {"XDG_CONFIG_HOME": str(home), "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}
        command = [sys.executable, "-c", PRESS, str(EXAMPLES / "button.py")]
        with Daemon(device, env=room.settings) as daemon:
            daemon.wait_for("microphone-listening")
            button = subprocess.Popen(command, env=env)
            try:
                assert daemon.wait_for("wake")["wake_word"] == "button"
                room.play_samples(SAID[22_500:])  # the request without its wake word
                assert daemon.wait_for("stored")["wake_word"] == "button"
            finally:
                button.kill()
                button.wait()
