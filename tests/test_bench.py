"""The benchmark's pieces on tiny inputs: they run, they measure what they say, and the table fits a terminal."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from bench import board, hearing, listening, sounds
from bench.cost import processor
from bench.figures import compared, limited, plain, table
from bench.others import CHUNK_SAMPLES, ENGINES, detections
from bench.processes import MeasuredDevice, launched, read_use

from device.edges.wakeword import load_scorer
from device.hil.recordings import load_recording

FIXTURES = Path(__file__).parent / "fixtures"
RECORDING = load_recording(FIXTURES / "hey-jarvis-request.wav", FIXTURES / "hey-jarvis-request.json")
(REQUEST,) = RECORDING.truth.requests


def run(report, program):
    import subprocess

    subprocess.run(launched(report, [sys.executable, "-I", "-S", "-c", program]), check=True)
    return read_use(report)


def test_a_process_is_charged_its_own_time_and_memory_and_not_its_starters(tmp_path):
    ours = np.ones(100_000_000, np.int8)  # this process is large
    idle = run(tmp_path / "use.json", "import time; time.sleep(0.3)")
    assert idle.peak_mb < 50 < len(ours) / 1e6
    assert idle.cpu_s < 0.25 < idle.elapsed_s
    busy = run(tmp_path / "use.json", "x = bytes(200_000_000); [i for i in range(10_000_000)]")
    assert busy.peak_mb > 190
    assert busy.cpu_s > idle.cpu_s + 0.1


def test_the_quiet_room_is_quiet_and_longer_than_its_piece_without_a_seam(monkeypatch):
    monkeypatch.setattr(sounds, "PIECE_S", 2.0)
    room = sounds.quiet_room(5.0)
    assert len(room) == 80_000
    assert np.sqrt(np.mean(room.astype(float) ** 2)) == pytest.approx(40, abs=0.5)
    steps = np.abs(np.diff(room.astype(int)))
    assert steps[31_999] <= np.quantile(steps, 0.999)
    np.testing.assert_array_equal(room[:32_000], room[32_000:64_000])


@pytest.mark.long
@pytest.mark.alone
def test_the_daemons_processor_time_is_compared_with_each_engines(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.cost.SHORT_S", 0.5)
    monkeypatch.setattr("bench.cost.ENGINES", ["microWakeWord"])
    ours, other = processor(MeasuredDevice(tmp_path), "quiet room", 600.0, 100.0, 1)
    assert 0 < ours.value < other.value
    assert other.ratio == pytest.approx(other.value / ours.value)
    assert other.reached is (other.ratio >= 5)


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "microWakeWord"])
def test_each_engine_hears_a_wake_word_where_it_is(engine):
    pcm = RECORDING.samples[: REQUEST.wake_end_sample + 10 * CHUNK_SAMPLES].tobytes()
    (heard,) = detections(ENGINES[engine]("hey_jarvis"), pcm)
    assert abs(heard - REQUEST.wake_end_sample) < 16_000


def test_the_gate_adds_nothing_to_the_latency_of_a_fixture():
    *_, added = hearing.audio_latency([RECORDING])
    assert added.value == 0
    assert added.reached


def test_the_tally_tells_what_was_heard_from_what_was_not():
    tally = hearing.Tally()
    tally.count(RECORDING, [("hey_jarvis", REQUEST.wake_end_sample + 1000), ("alexa", REQUEST.wake_end_sample)])
    tally.count(RECORDING, [("hey_jarvis", REQUEST.end_sample + 40_000)])
    assert (tally.said, tally.heard, tally.wrong) == (2, 1, 2)


def test_the_pipeline_says_each_event_at_the_position_that_decides_it():
    scorer = load_scorer(["hey_jarvis"], engine="streaming", cache_dir=None)
    (heard, at), (_, decided_at) = hearing.hear(hearing.pipeline(scorer, gate=True), RECORDING.samples)
    assert heard.wake_sample <= at
    assert decided_at > REQUEST.end_sample


def test_the_table_fits_a_terminal_and_says_what_is_not_reached(tmp_path, capsys, monkeypatch):
    figures = [
        limited("memory", "a name so long that it has to go on in the next line", 91.2, "MB", 90, "a detail"),
        compared("time", "openwakeword (94 s)", 2.5, 0.02, "ms", 100),
        compared("time", "another", 2.5, 0.02, "ms"),
    ]
    lines = list(table(figures))
    assert max(map(len, lines)) <= 80
    assert sum("NOT REACHED" in line for line in lines) == 1
    monkeypatch.setattr(listening, "measure", lambda *_, **__: figures)
    assert listening.main(["--only", "memory", "--json", str(tmp_path / "out.json")]) == 1
    assert " 125 x  100 x reached" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.json").read_text())["figures"] == plain(figures)


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.timeout(900)
def test_a_boards_row_is_ready_to_paste(tmp_path):
    head, rule, row = board.board(tmp_path, listening.REQUEST, RECORDING)
    assert head.count("|") == rule.count("|") == row.count("|") == 7
    assert re.fullmatch(r"\| .+ \| [\d.e-]+ % \| [\d.]+ % \| \d+ MB \| [\d.]+ s \| [\d.]+ s \|", row), row


def test_a_board_is_named_by_its_device_tree_else_by_its_processor(tmp_path):
    (tmp_path / "model").write_text("Raspberry Pi Zero 2 W Rev 1.0\0")
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name : Some | Processor\n")
    assert board.name_of_board(tmp_path / "model").startswith("Raspberry Pi Zero 2 W Rev 1.0, ")
    assert board.name_of_board(tmp_path / "none", tmp_path / "cpuinfo").startswith("Some / Processor, ")
