"""``pytest --hil`` through the virtual pair: it passes what is right, says what is wrong, and is asleep without it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from support.hil import FIXTURES, LOADED, folder_of, hil, pairs

from device.hil.setup import read_broker, read_format

FORMATS = ("16000x1", "48000x2")
WRONG_OPTIONS = (
    (["--hil-virtual", "--hil-format=fast"], "'fast' is no format of a virtual pair; RATExCHANNELS is, such as"),
    (["--hil-format=16000x1"], "--hil-format is a virtual pair's; add --hil-virtual, or leave it out"),
    (["--hil-virtual", "--hil-speaker=desk"], "--hil-speaker names a real one, --hil-virtual takes none"),
    (["--hil-virtual", "--hil-broker=a b"], "'a b' is no broker; HOST or HOST:PORT is"),
    (["--hil-virtual", "--hil-volume=99"], "--hil-volume 99: it is in dB, from -60 to 30"),
    (["--hil-virtual", "--hil-delay=0"], "--hil-delay 0: it is in seconds, above 0"),
    (["--hil-config=/no/such.toml"], "/no/such.toml: cannot be read: No such file or directory"),
)
# One process for all, since most of each one's time would be its imports.
EACH = "import ast, pytest, sys; [print(pytest.main(one), flush=True) for one in ast.literal_eval(sys.argv[1])]"


@pairs
def test_a_request_and_a_bare_word_pass_and_every_report_says_so(tmp_path):
    folder = folder_of(tmp_path, "short-request", "wake-word-alone")
    junit, page, lines = (tmp_path / name for name in ("junit.xml", "page.html", "log.jsonl"))
    reports = ["--junit-xml", junit, "--html", page, "--report-log", lines]
    printed = hil("--virtual", "--format", "48000x2", *LOADED, *reports, folder, status=0)
    assert "5 passed" in printed
    cases = {case.get("name"): case for case in ET.parse(junit).iter("testcase")}  # noqa: S314 - ours
    measured = {one.get("name"): one.get("value") for one in cases["short-request[48000x2]"].iter("property")}
    assert {"level", "drift", "drop-outs", "kept before", "kept after", "to the broker"} <= measured.keys()
    assert measured["drop-outs"] == "0"
    assert len(re.findall(r"data:image/webp;base64,", page.read_text())) == 2
    assert len(re.findall(r"data:audio/flac;base64,", page.read_text())) == 2
    outcomes = [json.loads(line) for line in lines.read_text().splitlines()]
    assert sum(one.get("when") == "call" and one["outcome"] == "passed" for one in outcomes) == 5
    assert len(lines.read_bytes()) < 100_000  # without pictures and sounds


@pairs
def test_of_two_recordings_the_one_that_does_not_keep_its_sidecar_fails_with_what_is_wrong(tmp_path):
    folder = folder_of(tmp_path, "short-request")
    shutil.copy(folder / "short-request.wav", folder / "wrong.wav")
    said = json.loads((folder / "short-request.json").read_text())
    said["requests"][0]["start_sample"] -= 8_000
    said["requests"][0]["wake_end_sample"] -= 8_000
    (folder / "wrong.json").write_text(json.dumps(said))
    printed = hil("--virtual", "--format", "16000x1", *LOADED, folder, status=1)
    assert 'request 1 "stop": its first 0.' in printed
    assert "s are cut off" in printed
    assert "Traceback" not in printed
    assert "1 failed, 4 passed" in printed
    assert re.search(r"wrong\[16000x1\] FAILED", printed)


@pairs
@pytest.mark.long
@pytest.mark.alone  # each request must arrive as soon as a user's, by the default bound
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("form", FORMATS)
def test_every_fixture_passes_with_a_sweep_of_volumes_first(tmp_path, form):
    printed = hil("--virtual", "--format", form, "--junit-xml", tmp_path / "junit.xml", status=0, timeout_s=1100)
    count = len(list(FIXTURES.glob("*.wav")))
    assert f"{count + 3} passed" in printed


@pairs
@pytest.mark.long
@pytest.mark.alone  # as above
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


def test_each_wrong_option_is_refused_in_a_line_as_pytest_does(tmp_path):
    calls = [["--hil", "-p", "no:cacheprovider", *options] for options, _ in WRONG_OPTIONS]
    command = [sys.executable, "-P", "-c", EACH, repr(calls)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout.split() == ["4"] * len(WRONG_OPTIONS)
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    for error, (options, complaint) in zip(errors, WRONG_OPTIONS, strict=True):
        assert error.startswith(f"ERROR: {complaint}"), options
    assert "Traceback" not in done.stderr


def test_the_short_form_hands_its_options_to_pytest():
    printed = hil("--format", "fast", "--virtual", status=4)
    assert "ERROR: 'fast' is no format" in printed


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
