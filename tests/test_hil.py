"""``pytest --hil`` through the virtual pair: it passes what is right, says what is wrong, and is asleep without it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from support.broker import await_true

from device.hil.setup import read_broker, read_format
from device.hil.virtual import missing_programs

ROOT = Path(__file__).parents[1]
FIXTURES = ROOT / "tests" / "fixtures"
LOADED = ["--volume", "0", "--delay", "8"]  # other tests run meanwhile: how soon a request arrives says nothing here
FORMATS = ("16000x1", "48000x2")

pairs = pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {' '.join(missing_programs())}")


def hil(*arguments, status, timeout_s=100):
    """Run scripts/hil's program and return what it prints; the status must be the expected one."""
    command = [sys.executable, "-P", "-m", "device.hil", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def folder_of(tmp_path, *names):
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in names:
        for ending in (".wav", ".json"):
            shutil.copy(FIXTURES / (name + ending), folder)
    return folder


@pairs
@pytest.mark.parametrize("form", FORMATS)
def test_a_request_and_a_bare_word_pass_and_every_report_says_so(tmp_path, form):
    folder = folder_of(tmp_path, "short-request", "wake-word-alone")
    junit, page, lines = (tmp_path / name for name in ("junit.xml", "page.html", "log.jsonl"))
    reports = ["--junit-xml", junit, "--html", page, "--report-log", lines]
    printed = hil("--virtual", "--format", form, *LOADED, *reports, folder, status=0)
    assert "5 passed" in printed
    cases = {case.get("name"): case for case in ET.parse(junit).iter("testcase")}  # noqa: S314 - ours
    measured = {one.get("name"): one.get("value") for one in cases[f"short-request[{form}]"].iter("property")}
    assert {"level", "drift", "drop-outs", "kept before", "kept after", "to the broker"} <= measured.keys()
    assert measured["drop-outs"] == "0"
    assert len(re.findall(r"data:image/webp;base64,", page.read_text())) == 2
    assert len(re.findall(r"data:audio/flac;base64,", page.read_text())) == 2
    outcomes = [json.loads(line) for line in lines.read_text().splitlines()]
    assert sum(one.get("when") == "call" and one["outcome"] == "passed" for one in outcomes) == 5


@pairs
def test_a_recording_that_does_not_keep_its_sidecar_fails_with_what_is_wrong(tmp_path):
    folder = folder_of(tmp_path, "short-request", "quiet-room")
    said = json.loads((folder / "short-request.json").read_text())
    said["requests"][0]["start_sample"] -= 8_000
    said["requests"][0]["wake_end_sample"] -= 8_000
    (folder / "short-request.json").write_text(json.dumps(said))
    printed = hil("--virtual", "--format", "16000x1", *LOADED, folder, status=1)
    assert 'request 1 "stop": its first 0.' in printed
    assert "s are cut off" in printed
    assert "Traceback" not in printed
    assert "1 failed, 4 passed" in printed


@pairs
@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("form", FORMATS)
def test_every_fixture_passes_with_a_sweep_of_volumes_first(tmp_path, form):
    printed = hil("--virtual", "--format", form, "--junit-xml", tmp_path / "junit.xml", status=0, timeout_s=1100)
    count = len(list(FIXTURES.glob("*.wav")))
    assert f"{count + 3} passed" in printed


@pairs
@pytest.mark.long
@pytest.mark.timeout(3600)
def test_hundreds_of_recordings_run_in_one_call(tmp_path):
    """One daemon hears them all: its sample numbers grow from the first to the last."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(200):
        for ending in (".wav", ".json"):
            shutil.copy(FIXTURES / f"short-request{ending}", folder / f"request-{number:03}{ending}")
    printed = hil("--virtual", "--format", "16000x1", "--volume", "0", folder, status=0, timeout_s=3500)
    assert "203 passed" in printed


@pairs
@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        (
            "loud room",
            "the room is too loud: -20 dBFS while nothing is played, -35 is the most; make it quiet, or turn",
        ),
        ("muted", 'microphone "Virtual Microphone" does not hear the loudspeaker: it is muted there'),
        (
            "other microphone",
            'does not hear the loudspeaker "Virtual Loudspeaker"; it is heard by "Virtual Microphone"',
        ),
        (
            "unheard",
            'no microphone hears the loudspeaker "Other Loudspeaker": it is muted, turned down or not connected',
        ),
    ],
)
def test_what_is_wrong_with_a_bench_is_said_once_and_before_any_recording(tmp_path, how, complaint):
    folder = folder_of(tmp_path, "short-request", "quiet-room")
    command = [sys.executable, "-m", "support.broken_bench", how, str(folder)]
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100, check=False)
    printed = done.stdout + done.stderr
    assert complaint in printed, printed
    assert "1 failed" in printed
    assert "skipped" in printed
    assert "Traceback" not in printed
    assert done.returncode == 1


@pairs
def test_killed_without_warning_it_leaves_no_process_that_holds_the_microphone(tmp_path):
    folder = folder_of(tmp_path, "short-request")
    command = [sys.executable, "-P", "-m", "device.hil", "--virtual", "--format", "16000x1", *LOADED, folder]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as bench:
        started = await_true(lambda: children_of(bench.pid, 3), timeout_s=60)
        bench.kill()
    await_true(lambda: not any(is_running(pid) for pid in started), started, timeout_s=30)


def children_of(pid, least):
    """The processes that it has started, once there are so many: daemon, broker and PulseAudio."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return found if len(found) >= least else None


def is_running(pid):
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--format", "fast", "--virtual"], "'fast' is no format of a virtual pair; RATExCHANNELS is, such as"),
        (["--format", "16000x1"], "--hil-format is a virtual pair's; add --hil-virtual, or leave it out"),
        (["--virtual", "--speaker", "desk"], "--hil-speaker names a real one, --hil-virtual takes none"),
        (["--virtual", "--broker", "a b"], "'a b' is no broker; HOST or HOST:PORT is"),
        (["--virtual", "--volume", "99"], "--hil-volume 99: it is in dB, from -60 to 30"),
        (["--virtual", "--delay", "0"], "--hil-delay 0: it is in seconds, above 0"),
        (["--config", "/no/such.toml"], "/no/such.toml: cannot be read: No such file or directory"),
    ],
)
def test_a_wrong_option_is_refused_in_a_line_as_pytest_does(arguments, complaint):
    printed = hil(*arguments, status=4)
    assert f"ERROR: {complaint}" in printed
    assert "Traceback" not in printed


def test_a_folder_that_is_not_there_is_refused_in_a_line():
    assert hil("/no/such", status=2) == "error: /no/such: there is no such folder; see scripts/hil --help\n"


def test_a_wrong_sidecar_is_one_line(tmp_path):
    folder = folder_of(tmp_path, "short-request")
    (folder / "short-request.json").write_text('{"wake_word": "hey_jarvis", "requets": []}')
    printed = hil("--virtual", folder, status=2)
    assert "requets: unknown key; did you mean requests?" in printed
    assert "Traceback" not in printed


def test_a_broker_and_a_format_are_read():
    assert read_broker("[::1]:1884") == ("::1", 1884)
    assert read_broker("pi.example") == ("pi.example", 1883)
    assert (read_format("48000x2").rate_hz, read_format("48000x2").channels) == (48_000, 2)


def test_without_its_option_the_plugin_imports_nothing_and_collects_nothing(tmp_path):
    (tmp_path / "test_user.py").write_text(
        "def test(): import sys; assert 'device.hil.session' not in sys.modules\n"
        "def test_lean(): import sys; assert not {'numpy', 'scipy'} & set(sys.modules)\n"
    )
    folder_of(tmp_path, "short-request")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert "2 passed" in done.stdout, done.stdout
    assert "wakeword-recorder" in done.stdout  # it is there
