"""A fixture recorded from the microphone is a recording with a sidecar that the tests can load."""

import subprocess
import sys
from pathlib import Path

from support.recordings import load_recordings
from support.virtual_microphone import virtual_microphone

REQUEST = Path(__file__).parent / "fixtures" / "hey-jarvis-request.wav"


def test_what_is_said_becomes_a_wav_with_its_marks(tmp_path):
    with virtual_microphone() as microphone:
        command = [sys.executable, "-m", "support.record_fixture", "mine", "--out", tmp_path]
        env = microphone.env | {"PYTHONPATH": str(Path(__file__).parent), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
            assert "recording" in process.stderr.readline()
            microphone.play(REQUEST)
            said, _ = process.communicate("\n", timeout=30)
    assert process.returncode == 0
    assert "requests found: 1" in said
    (recording,) = load_recordings(tmp_path)
    (original,) = [each for each in load_recordings(REQUEST.parent) if each.name == REQUEST.stem]
    (mine,), (true,) = recording.truth.requests, original.truth.requests
    assert abs((mine.end_sample - mine.start_sample) - (true.end_sample - true.start_sample)) < 3_200
