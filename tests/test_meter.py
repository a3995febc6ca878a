"""The meter: what it measures, and that it can be read with and without a terminal."""

import os
import pty
import re
import signal
import subprocess
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from support.daemon import Device
from support.virtual_microphone import virtual_microphone

from device import build, config, signals
from device.core.frames import FRAME_SAMPLES
from device.edges.vad import WebrtcVad
from device.edges.wav import Recording
from device.meter import Meter, Reading, bar, lines
from device.observe import ObservedGate, ObservedScorer

REQUEST = Path(__file__).parent / "fixtures" / "hey-jarvis-request.wav"


@pytest.fixture(scope="module")
def readings():
    settings = config.Settings()
    scorer, gate = ObservedScorer(build.build_scorer(settings)), ObservedGate(build.build_gate())
    meter = Meter(build.build_pipeline(settings, scorer, gate), scorer, gate, WebrtcVad(2))
    return [reading for block in Recording(REQUEST) for reading in meter.push(block)]


def test_there_is_a_reading_for_each_frame_and_one_hears_the_wake_word(readings):
    samples = np.concatenate(list(Recording(REQUEST)))
    assert len(readings) == len(samples) // FRAME_SAMPLES
    assert [reading.heard for reading in readings if reading.heard] == ["hey_jarvis"]


def test_the_level_is_that_of_the_frame_and_the_floor_that_of_the_room(readings):
    samples = np.concatenate(list(Recording(REQUEST))) / 32768
    for number in (0, 20, 30):
        frame = samples[number * FRAME_SAMPLES : (number + 1) * FRAME_SAMPLES]
        assert readings[number].level_dbfs == pytest.approx(10 * np.log10(np.mean(frame**2)), abs=0.01)
    assert readings[30].floor_dbfs == pytest.approx(readings[3].level_dbfs, abs=3)


def test_the_peak_outlives_the_score(readings):
    assert readings[-1].scores["hey_jarvis"][0] < 0.1
    assert max(reading.scores["hey_jarvis"][1] for reading in readings) > 0.9
    assert sum(reading.scores["hey_jarvis"][1] > 0.5 for reading in readings) >= 30


def test_speech_opens_the_gate_and_silence_is_shown_as_such(readings):
    assert not readings[5].open
    assert not readings[5].speech
    assert any(reading.open and reading.speech for reading in readings)


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(columns):
    reading = Reading(12345.6, -42.0, -61.0, True, True, {"a_very_long_wake_word": (0.5, 1.0)}, "a", 1.0)
    assert all(len(line) < columns for line in lines(reading, (0.5,), columns))


@pytest.mark.parametrize("columns", [33, 40, 53, 80])
def test_a_narrow_terminal_shows_as_much_as_a_wide_one(columns):
    reading = Reading(12345.6, -42.0, -61.0, True, False, {"alexa": (0.5, 1.0), "hey": (0.25, 0.3)}, "hey", 1.0)
    drawn = lines(reading, (0.55, 0.45), columns)
    facts = ("-42 dBFS", "floor  -61", "12345.6 s", "speech", "gate closed", "cpu 100%", "peak 1.00", "HEARD", "0.25")
    for fact in facts:
        assert sum(fact in line for line in drawn) == 1, fact
    assert sum("threshold 0.55" in line or "threshold 0.45" in line for line in drawn) == 2
    assert (len(drawn) == 4) is (columns == 80)


def test_a_bar_shows_value_and_mark():
    assert bar(0.5, 10, 0.8) == "#####...|."
    assert bar(1.0, 4, 1.0) == "###|"


def test_without_a_terminal_it_prints_plain_lines(tmp_path):
    done = Device(tmp_path).call("meter", "--input", REQUEST, "--pace", "fast")
    assert done.returncode == 0
    assert "\033" not in done.stdout
    assert sum("HEARD hey_jarvis" in line for line in done.stdout.splitlines()) == 1


@pytest.mark.parametrize("number", signals.ENDING, ids=lambda number: number.name)
def test_on_a_terminal_it_redraws_and_a_signal_ends_it_with_the_cursor_shown(tmp_path, number):
    leader, follower = pty.openpty()
    device = Device(tmp_path)
    process = subprocess.Popen(
        device.command("meter", "--input", REQUEST), env=device.env | {"TERM": "xterm"}, stdout=follower,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(follower)
    seen = b""
    while len(re.findall(rb"\033\[3F", seen)) < 3:
        seen += os.read(leader, 4096)
    process.send_signal(number)
    while True:
        try:
            seen += os.read(leader, 4096)
        except OSError:  # the terminal's other side is closed
            break
    assert process.wait(10) == 0
    assert process.stderr.read() == b""
    process.stderr.close()
    os.close(leader)
    assert seen.endswith(b"\033[?25h\033[K")
    assert seen.count(b"\033[J") == seen.count(b"\033[3F") + 1  # fewer lines than before leave nothing behind


def test_a_muted_microphone_stays_closed(tmp_path):
    device = Device(tmp_path)
    device.call("microphone", "mute")
    done = device.call("meter")
    assert done.returncode == 69
    assert "muted" in done.stderr


def test_muted_meanwhile_the_microphone_is_closed(tmp_path):
    device = Device(tmp_path)
    with virtual_microphone() as microphone:
        pipe = subprocess.PIPE
        command = device.command("meter")
        with subprocess.Popen(command, env=device.env | microphone.env, stdout=pipe, stderr=pipe, text=True) as process:
            next(process.stdout)  # it listens
            device.call("microphone", "mute")
            _, complaint = process.communicate(timeout=30)
    assert (process.returncode, complaint.count("\n"), "muted" in complaint) == (69, 1, True)


def test_it_measures_the_microphone(tmp_path):
    device = Device(tmp_path)
    with virtual_microphone() as microphone:
        process = subprocess.Popen(
            device.command("meter"), env=device.env | microphone.env, stdout=subprocess.PIPE, text=True
        )
        with process:
            next(process.stdout)  # it listens
            line = ""
            while not line:  # spoken again where this machine was too busy to hear all of it
                with microphone.playing(REQUEST):
                    line = next((line for line in islice(process.stdout, 8) if "HEARD" in line), "")
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0  # before its output is closed under it
    assert "hey_jarvis" in line
