"""The command `wake` as a user calls it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.daemon import Device
from support.terminal import Terminal

from device.edges.wakeword.words import model_folder
from device.hil.virtual import virtual_microphone

ALEXA = model_folder() / "alexa_v0.1.onnx"
FIXTURES = Path(__file__).parent / "fixtures"
BARE = FIXTURES / "wake-word-alone.wav"
REQUEST = FIXTURES / "hey-jarvis-request.wav"
SOON = "no_speech_s = 0.5\nsilence_s = 0.4"  # the outcome is known soon


@pytest.fixture
def device(tmp_path) -> Device:
    return Device(tmp_path)


def test_list_marks_what_is_listened_for(device):
    done = device.call("wake", "list")
    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if line.startswith("*")] == [
        "* hey_jarvis   threshold 0.50  bundled",
    ]
    assert f"puts them into {device.folder}/models (no such folder)" in done.stderr
    words = [json.loads(line) for line in device.call("wake", "list", "--json").stdout.splitlines()]
    assert {word["word"]: word["configured"] for word in words} == {
        "alexa": False, "hey_jarvis": True, "hey_marvin": False, "hey_mycroft": False,
    }  # fmt: skip


def test_what_add_says_makes_the_daemon_listen_for_the_word(device, tmp_path):
    """The line it prints is put into the configuration as it stands."""
    device.config.write_text(device.config.read_text() + '[wake]\nwords = ["hey_marvin"]\n')
    before = device.config.read_text()
    shutil.copy(ALEXA, tmp_path / "computer.onnx")
    done = device.call("wake", "add", tmp_path / "computer.onnx")
    assert (done.returncode, done.stderr, device.config.read_text()) == (0, "", before)
    line = next(line for line in done.stdout.splitlines() if line.startswith("words = "))
    assert tomllib.loads(line) == {"words": ["hey_marvin", "computer"]}
    device.config.write_text(before.replace('words = ["hey_marvin"]', line))
    rows = device.call("wake", "list").stdout.splitlines()
    assert [row.split()[1] for row in rows if row.startswith("*")] == ["hey_marvin", "computer"]
    done = device.call("run", "--input", FIXTURES / "alexa-request.wav", "--pace", "fast", "--drain-timeout", "0")
    assert "heard 'computer'" in done.stderr


def test_a_word_may_be_configured_before_its_model_is_added(device, tmp_path):
    device.config.write_text(device.config.read_text() + '[wake]\nwords = ["computer"]\nmodels_dir = "own"\n')
    assert device.call("check").returncode == 78
    shutil.copy(ALEXA, tmp_path / "computer.onnx")
    done = device.call("wake", "add", tmp_path / "computer.onnx")
    assert f"{device.config} listens for it already" in done.stdout
    assert (tmp_path / "own" / "computer.onnx").exists()
    assert json.loads(device.call("wake", "list", "--json").stdout.splitlines()[-1])["configured"]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["add", "none.onnx"], 1, "none.onnx: no such file"),
        (["add", "web.onnx"], 1, "web.onnx is a web page"),
        (["add", "alexa.onnx"], 2, "'alexa' cannot be the model's word: there is a bundled word of this name"),
        (["add"], 2, "add takes an .onnx file"),
        (["list", "alexa"], 2, "a file or a word only goes with add or try"),
        (["list", "--input", "x.wav"], 2, "--input only goes with try"),
        (["add", "x.onnx", "--input", "x.wav"], 2, "--input only goes with try"),
        (["try"], 2, "try takes a word"),
        (["try", "alxa"], 2, "there is no wake word 'alxa', did you mean 'alexa'?"),
        (["try", "none.onnx"], 1, "none.onnx: no such file"),
        (["try", "web.onnx"], 1, "web.onnx is a web page"),
        (["try", "alexa", "--input", "none.wav"], 1, "'none.wav': No such file"),
        (["list", "--force"], 2, "--force only goes with add"),
        (["list", "--name", "x"], 2, "--name only goes with add"),
    ],
)
def test_what_cannot_be_done_is_one_line(device, tmp_path, arguments, status, said):
    (tmp_path / "web.onnx").write_text("<html>")
    shutil.copy(ALEXA, tmp_path / "alexa.onnx")
    done = device.call("wake", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1)
    assert said in done.stderr


def test_json_tells_what_was_found_of_a_model(device, tmp_path):
    shutil.copy(ALEXA, tmp_path / "computer.onnx")
    found = json.loads(device.call("wake", "add", tmp_path / "computer.onnx", "--json").stdout)
    assert (found["word"], found["path"]) == ("computer", str(tmp_path / "models" / "computer.onnx"))
    assert 0 < found["idle_score"] < 0.2


def test_try_says_of_each_recording_what_was_heard_and_sums_it_up(device):
    done = device.call("wake", "try", "hey_jarvis", "--input", BARE, "--input", REQUEST)
    assert (done.returncode, done.stderr) == (0, "")
    bare, request, _, *lines = done.stdout.splitlines()
    assert bare.startswith("wake-word-alone.wav    1.")
    assert bare.endswith("heard; then silence, no request")
    assert "then a REQUEST of 1." in request
    assert lines[0] == "hey_jarvis: heard 2 of 2, threshold 0.5"
    assert lines[1].startswith("threshold: 0.5, as it is: all 2 scored 1.00 or more")
    assert lines[2] == "a bare word: 1 of 2 gave silence, but 1 gave a request"


def test_try_counts_by_the_words_own_threshold_and_tells_what_to_write(device, tmp_path):
    weak = tmp_path / "weak.wav"
    soundfile.write(weak, soundfile.read(BARE)[0] / 300, 16_000, subtype="PCM_16")
    device.config.write_text(f"{device.config.read_text()}[wake]\nthreshold = {{ hey_jarvis = 1.0 }}\n")
    told = json.loads(device.call("wake", "try", "hey_jarvis", "--json", "--input", weak).stdout)
    assert (told["word"], told["threshold"], told["heard"]) == ("hey_jarvis", 1.0, 0)
    suggested = told["suggestion"]["threshold"]
    assert 0.2 <= suggested < told["attempts"][0]["score"]
    done = device.call("wake", "try", "hey_jarvis", "--input", weak)
    line = done.stdout.splitlines()[-1]
    assert tomllib.loads(line) == {"threshold": suggested}
    device.config.write_text(device.config.read_text().replace("threshold = { hey_jarvis = 1.0 }", line))
    told = json.loads(device.call("wake", "try", "hey_jarvis", "--json", "--input", weak).stdout)
    assert (told["heard"], told["suggestion"]["threshold"]) == (1, suggested)


@pytest.mark.parametrize("by", ["name", "path", "configured path"])
def test_try_takes_a_model_of_ones_own(device, tmp_path, by):
    """Also one that the configuration does not listen for."""
    path = tmp_path / "computer.onnx"
    if by == "name":
        path = tmp_path / "models" / "computer.onnx"
        path.parent.mkdir()
    if by == "configured path":
        device.config.write_text(f'{device.config.read_text()}[wake]\nwords = ["{path}"]\n')
    shutil.copy(ALEXA, path)
    target = path if by == "path" else "computer"
    done = device.call("wake", "try", target, "--input", FIXTURES / "alexa-request.wav")
    assert "computer: heard 1 of 1" in done.stdout


def test_two_models_of_one_name_are_told_apart_by_their_path(device, tmp_path):
    (tmp_path / "models").mkdir()
    other = shutil.copy(model_folder() / "hey_jarvis_v0.1.onnx", tmp_path / "models" / "alexa.onnx")
    done = device.call("wake", "try", "alexa", "--input", BARE)
    assert (done.returncode, f"{other}; try the other one by its path" in done.stderr) == (2, True)
    assert "alexa: heard 1 of 1" in device.call("wake", "try", other, "--input", BARE).stdout


@pytest.mark.parametrize("as_json", [False, True])
def test_try_hears_the_microphone_until_ctrl_c_and_tells_what_is_known_so_far(tmp_path, as_json):
    device = Device(tmp_path, capture=SOON)
    with virtual_microphone() as microphone:
        command = device.command("wake", "try", "hey_jarvis", *["--json"] * as_json)
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env=device.env | microphone.env, stdout=pipe, stderr=pipe, text=True) as process:
            assert "say 'hey_jarvis' 5 times" in process.stderr.readline()
            heard: list[str] = []
            while not heard or "NOT heard" in heard[-1]:  # said again where this machine was too busy to hear all of it
                microphone.play(BARE)
                heard.append((process.stderr if as_json else process.stdout).readline())
            process.send_signal(signal.SIGINT)
            output, complaint = process.communicate(timeout=30)
    assert (process.returncode, complaint) == (0, "")
    assert heard[-1].startswith(f"{len(heard)} of 5")
    assert heard[-1].endswith("heard; then silence, no request\n")
    if as_json:
        told = json.loads(output)
        assert [attempt["source"] for attempt in told["attempts"]] == ["microphone"] * len(heard)
        assert (told["heard"], told["silent"]) == (1, 1)
    else:
        assert f"hey_jarvis: heard 1 of {len(heard)}" in output


def test_try_shows_on_a_terminal_how_it_stands_and_leaves_the_attempts_on_it(tmp_path):
    device = Device(tmp_path, capture=SOON)
    with virtual_microphone() as microphone:
        terminal = Terminal(device, "wake", "try", "hey_jarvis", env=device.env | microphone.env)
        assert "q or Ctrl-C ends it." in terminal.screen_after(
            having=b'Say "hey_jarvis", and nothing after it: 1 of 5.'
        )
        with microphone.playing(BARE):
            terminal.screen_after(having=b"Heard. Say nothing")
            assert "1 of 5" in terminal.screen_after(having=b"2 of 5.")
        terminal.type(b"q")
        assert terminal.end() == 0
    left = terminal.seen.split(b"\033[?1049l")[1].decode().splitlines()
    assert left[0].startswith("1 of 5 ")
    assert left[2].startswith("hey_jarvis: heard 1 of 1")


def test_try_ends_by_itself_after_five_times(tmp_path):
    device = Device(tmp_path, capture=SOON)
    bare = soundfile.read(BARE, dtype="int16")[0][16_000:48_000]
    with virtual_microphone() as microphone:
        command = device.command("wake", "try", "hey_jarvis")
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env=device.env | microphone.env, stdout=pipe, stderr=pipe, text=True) as process:
            assert "Ctrl-C ends it" in process.stderr.readline()
            microphone.play_samples(np.tile(bare, 7))
            output, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (0, "")
    assert [line[:6] for line in output.splitlines()[:5]] == [f"{number} of 5" for number in range(1, 6)]
    assert "of 5, threshold 0.5" in output


def test_a_muted_microphone_stays_closed_and_one_muted_meanwhile_is_closed_with_what_is_known(tmp_path):
    device = Device(tmp_path, capture=SOON)
    device.call("microphone", "mute")
    done = device.call("wake", "try", "hey_jarvis")
    assert (done.returncode, "the microphone is muted" in done.stderr) == (69, True)
    assert device.call("wake", "try", "hey_jarvis", "--input", BARE).returncode == 0
    device.call("microphone", "unmute")
    with virtual_microphone() as microphone:
        command = device.command("wake", "try", "hey_jarvis")
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env=device.env | microphone.env, stdout=pipe, stderr=pipe, text=True) as process:
            process.stderr.readline()
            microphone.play(BARE)
            process.stdout.readline()
            device.call("microphone", "mute")
            output, complaint = process.communicate(timeout=30)
    assert (process.returncode, "the microphone is muted" in complaint) == (69, True)
    assert "of 1, threshold 0.5" in output
