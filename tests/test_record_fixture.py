"""A fixture recorded from the microphone is one that the tests load; whatever stands against it is said before."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from support import record_fixture
from support.daemon import Device

from device.config import settings as config
from device.hil.recordings import load_recordings
from device.hil.virtual import virtual_microphone

REQUEST = Path(__file__).parent / "fixtures" / "hey-jarvis-request.wav"


@pytest.fixture
def device(tmp_path):
    return Device(tmp_path)


@pytest.fixture
def deaf(tmp_path):
    """A device whose microphone is not there, on any machine."""
    return Device(tmp_path, microphone='name = "no such thing"')


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "fixtures"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def microphone():
    with virtual_microphone() as microphone:
        yield microphone


@contextlib.contextmanager
def recording(device, out, microphone):
    """The script's program on the virtual microphone, running."""
    command = [sys.executable, "-m", "support.record_fixture", "mine", "--out", out, "--config", device.config]
    env = device.env | microphone.settings | {"PYTHONPATH": str(Path(__file__).parent)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        yield process
        process.kill()


@pytest.fixture
def refused(out, monkeypatch, capsys):
    """Run it here, for a device with arguments, where it must refuse; return its status and its one line."""
    before = signal.getsignal(signal.SIGINT)
    reading, writing = os.pipe()  # nobody presses Enter
    with os.fdopen(reading) as stdin, os.fdopen(writing):
        monkeypatch.setattr(sys, "stdin", stdin)
        yield partial(refusal, out, capsys)
    signal.signal(signal.SIGINT, before)


def refusal(out, capsys, device, *arguments):
    try:
        status = record_fixture.main(["--config", str(device.config), "--out", str(out), *map(str, arguments)])
    except SystemExit as ended:
        status = ended.code
    said, complaint = capsys.readouterr()
    assert said == ""
    assert complaint.startswith("error: ")
    assert complaint.count("\n") == 1
    return status, complaint


def test_what_is_said_becomes_a_wav_with_its_marks(device, out, microphone):
    with recording(device, out, microphone) as process:
        assert "recording" in process.stderr.readline()
        microphone.play(REQUEST)
        said, _ = process.communicate("\n", timeout=30)
    assert process.returncode == 0
    assert "requests found: 1" in said
    (mine,) = load_recordings(out)
    (original,) = [each for each in load_recordings(REQUEST.parent) if each.name == REQUEST.stem]
    (found,), (true,) = mine.truth.requests, original.truth.requests
    assert abs((found.end_sample - found.start_sample) - (true.end_sample - true.start_sample)) < 3_200


@pytest.mark.parametrize("typed", ["", "\n"], ids=["end of input", "Enter"])
def test_what_ends_it_before_the_first_sample_leaves_nothing(device, out, microphone, typed):
    with recording(device, out, microphone) as process:
        said, complaint = process.communicate(typed, timeout=30)
    assert process.returncode == 1
    assert complaint.startswith("error: nothing was recorded")
    assert complaint.count("\n") == 1
    assert (said, list(out.iterdir())) == ("", [])


def test_interrupted_it_is_one_line_and_leaves_nothing(device, out, microphone):
    with recording(device, out, microphone) as process:
        assert "recording" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        said, complaint = process.communicate(timeout=30)
    assert (process.returncode, said, complaint) == (130, "", "error: interrupted; nothing was written\n")
    assert list(out.iterdir()) == []


def test_muted_meanwhile_the_microphone_is_closed_and_nothing_is_kept(device, out, microphone):
    with recording(device, out, microphone) as process:
        assert "recording" in process.stderr.readline()
        device.call("microphone", "mute")
        assert process.wait(30) == 69  # standard input stays open: its end would be Enter
        said, complaint = process.stdout.read(), process.stderr.read()
    assert said == ""
    assert complaint == "error: the microphone is muted; `wakeword-recorder microphone unmute`\n"
    assert list(out.iterdir()) == []


def test_interrupted_before_the_first_sample_it_does_not_speak_of_enter(deaf):
    interrupted = threading.Event()
    interrupted.set()
    with pytest.raises(record_fixture.InterruptedRecordingError):
        record_fixture.record(config.load(deaf.config), interrupted)


def test_interrupted_while_it_looks_for_the_marks_it_leaves_nothing(device, out, refused, monkeypatch):
    monkeypatch.setattr(record_fixture, "record", lambda *_: np.zeros(16_000, np.int16))
    monkeypatch.setattr(record_fixture, "explain", lambda *_: signal.raise_signal(signal.SIGINT))
    assert refused(device, "mine")[0] == 130
    assert list(out.iterdir()) == []


def test_a_muted_microphone_stays_closed(device, refused):
    device.call("microphone", "mute")
    status, complaint = refused(device, "mine")
    assert (status, complaint) == (69, "error: the microphone is muted; `wakeword-recorder microphone unmute`\n")


def test_without_a_microphone_the_status_is_the_one_of_every_command(deaf, refused):
    status, complaint = refused(deaf, "mine")
    assert status == 69
    assert "no such thing" in complaint


@pytest.mark.parametrize("ending", ["wav", "json"])
def test_a_fixture_is_replaced_only_by_force(deaf, out, refused, ending):
    (out / f"mine.{ending}").write_text("precious")
    status, complaint = refused(deaf, "mine")
    assert status == 2
    assert f"{out}/mine.{ending} exists; choose another NAME, or replace it with --force" in complaint
    assert refused(deaf, "mine", "--force")[0] == 69  # it went on, to the microphone


@pytest.mark.parametrize("name", ["a/b", "../mine", "Mine", "-mine", "", "x" * 65, "mine.wav"])
def test_a_name_is_one_that_a_file_can_have_anywhere(device, refused, name):
    status, complaint = refused(device, "--", name)
    assert status == 2
    assert "lower-case letters, digits and hyphens" in complaint


@pytest.mark.parametrize("where", ["file", "file/below"])
def test_a_folder_that_is_none_is_refused_before_anybody_speaks(tmp_path, device, refused, where):
    (tmp_path / "file").write_text("")
    status, complaint = refused(device, "mine", "--out", tmp_path / where)
    assert status == 2
    assert f"--out {tmp_path / where}: " in complaint


@pytest.mark.parametrize("word", ["hey_jarvs", "none.onnx", __file__])
def test_a_wake_word_that_cannot_be_heard_is_refused_before_anybody_speaks(device, refused, word):
    status, complaint = refused(device, "mine", "--wake-word", word)
    assert status == 2
    assert complaint.startswith("error: --wake-word: ")


def test_a_wake_word_of_ones_own_is_named_as_seen_from_the_sidecar(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert record_fixture.as_seen_from(tmp_path / "fixtures", "models/mine.onnx") == "../models/mine.onnx"
    assert record_fixture.as_seen_from(tmp_path / "fixtures", "alexa") == "alexa"
