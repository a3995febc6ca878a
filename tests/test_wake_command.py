"""The command `wake` as a user calls it."""

from __future__ import annotations

import json
import shutil
import tomllib

import pytest
from support.daemon import Device

from device.edges.wakeword.words import model_folder

ALEXA = model_folder() / "alexa_v0.1.onnx"


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
    done = device.call("run", "--input", "tests/fixtures/alexa-request.wav", "--pace", "fast", "--drain-timeout", "0")
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
        (["list", "alexa"], 2, "a file only goes with add"),
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
