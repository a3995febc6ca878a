"""The meter: what it measures, and that it can be read with and without a terminal."""

import re
import signal
import subprocess
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.daemon import Device
from support.terminal import Terminal

from device import build, signals
from device.config import settings as config
from device.edges.vad import WebrtcVad
from device.edges.wav import AudioFile
from device.hearing.confirm import Unconfirmed
from device.hearing.frames import FRAME_SAMPLES, RATE_HZ
from device.hearing.pipeline import Heard
from device.hil.virtual import virtual_microphone
from device.tools.meter import Meter, Peak, Reading
from device.tools.meter_view import bar, heard_line, lines, plain, screen

REQUEST = Path(__file__).parent / "fixtures" / "hey-jarvis-request.wav"
REQUEST_SAMPLES = np.concatenate(list(AudioFile(REQUEST)))


@pytest.fixture(scope="module")
def readings():
    return _readings(REQUEST_SAMPLES)


def _readings(samples):
    return list(_meter().push(samples))


def _meter() -> Meter:
    settings = config.Settings()
    scorer = build.build_scorer(settings)
    return Meter(build.build_pipeline(settings, scorer, build.build_gate()), scorer.words, WebrtcVad(2))


def test_there_is_a_reading_for_each_frame_and_one_hears_the_wake_word(readings):
    assert len(readings) == len(REQUEST_SAMPLES) // FRAME_SAMPLES
    assert [reading.detection.word for reading in readings if reading.detection] == ["hey_jarvis"]


def test_the_level_is_that_of_the_frame_and_the_floor_that_of_the_room(readings):
    samples = np.concatenate(list(AudioFile(REQUEST))) / 32768
    for number in (0, 20, 30):
        frame = samples[number * FRAME_SAMPLES : (number + 1) * FRAME_SAMPLES]
        assert readings[number].level_dbfs == pytest.approx(10 * np.log10(np.var(frame)), abs=0.01)
    assert readings[30].floor_dbfs == pytest.approx(readings[3].level_dbfs, abs=3)


def test_a_constant_offset_is_no_level(readings):
    offset = [reading.level_dbfs for reading in _readings(np.concatenate(list(AudioFile(REQUEST))) + np.int16(1500))]
    assert offset == pytest.approx([reading.level_dbfs for reading in readings], abs=0.01)


def test_digital_silence_and_clipping_are_named_and_speech_is_not(readings):
    assert not any(reading.remark for reading in readings)
    flat = np.full(4 * FRAME_SAMPLES, 1500, np.int16)
    loud = np.clip(60_000 * np.sin(np.arange(4 * FRAME_SAMPLES) / 5), -32_768, 32_767).astype(np.int16)
    assert {reading.remark for reading in _readings(flat)} == {"digital silence"}
    assert all("clips" in reading.remark for reading in _readings(loud))


def test_the_peak_of_the_last_wake_word_is_held_to_the_end_with_its_time_and_the_score_that_fired(readings):
    (fired,) = [reading for reading in readings if reading.detection]
    assert fired.detection.score == pytest.approx(fired.scores["hey_jarvis"], abs=1e-6)
    peak, at_s = readings[-1].peaks["hey_jarvis"]
    assert readings[-1].scores["hey_jarvis"] < 0.1
    assert peak == max(reading.scores["hey_jarvis"] for reading in readings)
    assert at_s == next(reading.position_s for reading in readings if reading.scores["hey_jarvis"] == peak)


def test_a_key_clears_the_peaks():
    meter = _meter()
    assert [reading.peaks["hey_jarvis"][0] > 0.5 for reading in meter.push(REQUEST_SAMPLES)][-1]
    meter.clear_peaks()
    assert [reading.peaks["hey_jarvis"][0] for reading in meter.push(np.zeros(FRAME_SAMPLES, np.int16))] == [0.0]


def test_the_next_attempt_replaces_a_peak_however_low():
    peak = Peak()
    for number, score in enumerate([0.0, 0.2, 0.9, 0.3, 0.05]):
        peak.push(score, number * 0.08)
    assert (peak.score, peak.at_s) == (0.9, 0.16)
    for number in range(100, 200):
        peak.push(0.09, number * 0.08)  # the room's own noise is no attempt
    assert peak.score == 0.9
    peak.push(0.15, 16.0)
    assert (peak.score, peak.at_s) == (0.15, 16.0)


def test_speech_opens_the_gate_and_silence_is_shown_as_such(readings):
    assert not readings[5].open
    assert not readings[5].speech
    assert any(reading.open and reading.speech for reading in readings)


READING = Reading(
    position_s=12345.6, level_dbfs=-42.0, floor_dbfs=-61.0, speech=True, open=False,
    scores={"alexa": 0.5, "a_very_long_wake_word": 0.25},
    peaks={"alexa": (1.0, 12340.1), "a_very_long_wake_word": (0.3, 1.0)},
    detection=Heard("alexa", 0.5, 16_000, again=False, confirmed=0.9), cpu=1.0,
    remark="it clips: turn the microphone's gain down",
)  # fmt: skip
KEYS = "q or Ctrl-C ends it, any other key clears the peaks."


@pytest.mark.parametrize("columns", [1, 2, 10, 20, 33, 40, 60, 80, 200])
@pytest.mark.parametrize("rows", [1, 3, 8, 24, 60])
def test_a_screen_fits_into_any_terminal_and_begins_with_the_level(columns, rows):
    drawn = screen(READING, (0.55, 0.45), [heard_line(READING)] * 30, KEYS, columns, rows)
    assert 1 <= len(drawn) <= rows
    assert all(len(line) < columns for line in drawn)
    assert drawn[0].startswith("level"[: columns - 1])


def test_what_a_second_model_says_of_a_wake_word_is_shown():
    unconfirmed = replace(READING, detection=Unconfirmed("alexa", 0.61, 16_000, 0.02, 0.01))
    assert heard_line(unconfirmed).endswith("not confirmed: alexa (0.61, by the second model 0.02)")
    assert "not confirmed: alexa" in plain(unconfirmed)
    alone = replace(READING, detection=Heard("hey_jarvis", 0.97, 16_000, again=False))
    assert heard_line(alone).endswith("heard hey_jarvis (0.97)")


@pytest.mark.parametrize("columns", [33, 40, 53, 80])
def test_a_narrow_terminal_shows_as_much_as_a_wide_one(columns):
    drawn = screen(READING, (0.55, 0.45), [heard_line(READING)], KEYS, columns, 60)
    text = " ".join(" ".join(drawn).split())
    for fact in (
        "-42 dBFS", "floor -61", "12345.6 s speech gate closed", "cpu 100%", "peak 1.00 at 12340.1 s", "0.25",
        "threshold 0.55", "threshold 0.45", "heard alexa (0.50, confirmed 0.90)",
        "it clips: turn the microphone's gain down",
        "| marks the room's noise floor, in a word's its threshold", KEYS,
    ):  # fmt: skip
        assert text.count(fact) == 1, fact
    assert (len(lines(READING, (0.55, 0.45), columns)) == 5) is (columns == 80)


def test_the_newest_detections_are_shown_where_not_all_fit():
    heard = [f"heard {number}" for number in range(30)]
    drawn = screen(READING, (0.55, 0.45), heard, KEYS, 80, 20)
    shown = [line for line in drawn if line.startswith("heard ")]
    assert shown == heard[-len(shown) :]
    assert 1 < len(shown) < 20


def test_a_bar_shows_value_and_mark():
    assert bar(0.5, 10, 0.8) == "#####...|."
    assert bar(1.0, 4, 1.0) == "###|"


def test_without_a_terminal_it_prints_plain_lines(tmp_path):
    done = Device(tmp_path).call("meter", "--input", REQUEST, "--pace", "fast")
    assert done.returncode == 0
    assert "\033" not in done.stdout
    assert len(re.findall(r"heard hey_jarvis \(0\.\d\d\)", done.stdout)) == 1


@pytest.mark.parametrize("number", signals.ENDING, ids=lambda number: number.name)
def test_on_a_terminal_it_redraws_and_a_signal_ends_it_with_the_terminal_as_it_was(tmp_path, number):
    terminal = Terminal(Device(tmp_path), "meter", "--input", REQUEST)
    terminal.screen_after(screens=3)
    terminal.process.send_signal(number)
    assert terminal.end() == 0


def test_keys_clear_the_peak_and_end_it_and_what_was_heard_stays(tmp_path):
    long = tmp_path / "long.wav"
    samples = np.concatenate([*AudioFile(REQUEST), np.zeros(40 * RATE_HZ, np.int16)])
    soundfile.write(long, samples, RATE_HZ)
    terminal = Terminal(Device(tmp_path), "meter", "--input", long)
    drawn = terminal.screen_after(having=b"heard hey_jarvis")
    assert "peak 0.00" not in drawn
    assert "q or Ctrl-C ends it, any other key clears the peaks." in drawn
    terminal.screen_after(screens=30)  # its score is long over
    assert "peak 0.00" not in terminal.screen_after()
    terminal.type(b"x")
    terminal.screen_after(having=b"peak 0.00")
    terminal.type(b"q")
    assert terminal.end() == 0
    assert re.search(rb"\033\[\?1049l.*heard hey_jarvis \(0\.\d\d\)\r\n$", terminal.seen)


def test_another_size_clears_the_terminal_and_is_drawn_for(tmp_path):
    terminal = Terminal(Device(tmp_path), "meter", "--input", REQUEST)
    assert max(map(len, terminal.screen_after().splitlines())) > 40
    cleared = terminal.seen.count(b"\033[2J")
    terminal.resize(36, 30)
    while terminal.seen.count(b"\033[2J") == cleared:
        terminal.screen_after()
    assert max(map(len, terminal.screen_after().splitlines())) < 36
    assert terminal.seen.count(b"\033[2J") == cleared + 1
    terminal.type(b"q")
    assert terminal.end() == 0


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
                    line = next((line for line in islice(process.stdout, 8) if "heard" in line), "")
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0  # before its output is closed under it
    assert "hey_jarvis" in line
