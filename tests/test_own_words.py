"""Adding a wake word of one's own: what is refused and why, and that a model is there whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from support.classifiers import write_classifier

from device import build
from device.config import settings as config
from device.edges.wakeword.examining import examine
from device.edges.wakeword.feature_graph import load_graph
from device.edges.wakeword.features import FeatureGraph
from device.edges.wakeword.sessions import open_classifier, open_model
from device.edges.wakeword.words import model_folder
from device.edges.wav import AudioFile
from device.errors import ModelError, RecorderError, UsageError
from device.hearing.frames import FRAME_SAMPLES
from device.hearing.words import BUNDLED_WORDS
from device.tools import own_words
from device.tools.own_words import add, words_at_hand, written_words

ALEXA = model_folder() / "alexa_v0.1.onnx"


@pytest.fixture
def settings(tmp_path) -> config.Settings:
    return config.Settings(path=tmp_path / "config.toml")


@pytest.fixture
def computer(tmp_path) -> Path:
    return Path(shutil.copy(ALEXA, tmp_path / "computer.onnx"))


def speech() -> np.ndarray:
    return np.concatenate(list(AudioFile(own_words.SPEECH)))


def examined(path: Path):
    return examine(path, speech(), build.cache_dir())


def complaint(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        examined(path)
    assert str(caught.value).startswith(f"{path} ")
    return str(caught.value)


@pytest.mark.parametrize("word", BUNDLED_WORDS)
def test_openwakewords_own_models_pass(word):
    found = examined(model_folder() / f"{word}_v0.1.onnx")
    assert (found.window_s, found.idle_score < 0.2) == (1.28, True)
    assert (found.speech_score > 0.9) is (word == "hey_jarvis")  # which is said in it


@pytest.mark.parametrize(
    ("model", "what"),
    [
        ({"end": "Identity"}, "gives scores of .* not 0 to 1"),
        ({"end": "Identity", "weights": -0.01, "bias": 0.4}, "not 0 to 1"),
        ({"end": "Log"}, "no numbers"),
        ({"weights": 0.0, "bias": -6.0}, "gives 0.002 whatever it hears"),
        ({"weights": 0.0001, "bias": 3.0}, "in silence or steady noise"),
    ],
)
def test_a_model_that_scores_as_none_should_is_refused(tmp_path, model, what):
    path = write_classifier(tmp_path / "odd.onnx", **model)
    open_classifier(path)
    text = complaint(path)
    assert re.search(what, text), text


def test_a_model_that_goes_off_at_all_speech_is_refused(tmp_path):
    graph = FeatureGraph(open_model(load_graph(model_folder(), build.cache_dir()), model_folder()))
    stream = graph.stream()
    talk = speech()
    talk = talk[: len(talk) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    spoken = stream.features(talk).mean(axis=0)
    between = spoken - graph.silence
    middle = (spoken + 2 * graph.silence) / 3
    path = write_classifier(tmp_path / "talk.onnx", weights=between / 2, bias=-float(between @ middle) / 2)
    assert "while anybody talks" in complaint(path)


def test_it_is_copied_under_its_words_name_for_everybody_to_read(settings, computer):
    before = os.umask(0o077)
    try:
        added = add(computer, settings)
    finally:
        os.umask(before)
    path = settings.path.parent / "models" / "computer.onnx"
    assert (added.word, added.path) == ("computer", str(path))
    assert path.read_bytes() == computer.read_bytes()
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o644, 0o755)
    assert [file.name for file in path.parent.iterdir()] == ["computer.onnx"]
    assert not settings.path.exists()


def test_it_gets_the_name_that_is_asked_for(settings, computer):
    assert add(computer, settings, name="hey computer").word == "hey computer"
    assert (settings.path.parent / "models" / "hey computer.onnx").exists()
    assert add(computer.rename(computer.with_suffix(".ONNX")), settings).word == "computer"


@pytest.mark.parametrize(
    "name", ["", "../computer", "/computer", ".computer", "-x", "a\nb", "alexa", "w" * 129, "ä" * 127]
)
def test_a_name_that_cannot_be_a_word_is_refused(settings, computer, name):
    with pytest.raises(UsageError, match="cannot be the model's word") as caught:
        add(computer, settings, name=name)
    assert "--name" in str(caught.value)
    assert not (settings.path.parent / "models").exists()


def test_a_model_is_replaced_only_by_force(settings, computer):
    add(computer, settings)
    shutil.copy(model_folder() / "hey_marvin_v0.1.onnx", computer)
    with pytest.raises(UsageError, match="--force"):
        add(computer, settings)
    path = settings.path.parent / "models" / "computer.onnx"
    assert path.read_bytes() == ALEXA.read_bytes()
    add(computer, settings, replace=True)
    assert path.read_bytes() == computer.read_bytes()


def test_one_that_lies_there_already_is_checked_where_it_is(settings, computer):
    (settings.path.parent / "models").mkdir()
    path = computer.rename(settings.path.parent / "models" / "computer.onnx")
    inode = path.stat().st_ino
    assert add(path, settings).word == "computer"
    assert path.stat().st_ino == inode


def test_weights_in_a_second_file_come_along(settings, tmp_path):
    path = tmp_path / "computer.onnx"
    onnx.save(onnx.load(ALEXA), path, save_as_external_data=True, location="computer.onnx.data", size_threshold=100)
    added = Path(add(path, settings).path)
    for file in tmp_path.glob("computer.onnx*"):
        file.unlink()
    session, _ = open_classifier(added)
    features = {session.get_inputs()[0].name: np.random.default_rng(1).normal(0, 20, (1, 16, 96)).astype(np.float32)}
    assert session.run(None, features) == open_classifier(ALEXA)[0].run(None, features)


def test_what_breaks_off_leaves_the_old_model_and_no_other_file(settings, computer, monkeypatch):
    add(computer, settings)
    path = settings.path.parent / "models" / "computer.onnx"

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RecorderError, match=r"cannot be written: No space left"):
        add(Path(shutil.copy(model_folder() / "hey_marvin_v0.1.onnx", computer)), settings, replace=True)
    assert path.read_bytes() == ALEXA.read_bytes()
    assert [file.name for file in path.parent.iterdir()] == ["computer.onnx"]


def test_a_folder_that_belongs_to_the_service_asks_for_sudo(settings, computer, monkeypatch):
    (settings.path.parent / "models").mkdir(mode=0o555)
    if os.geteuid() == 0:  # whom nothing is denied

        def denied(*_: object, **__: object) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr(own_words, "write_whole", denied)
    with pytest.raises(RecorderError, match=r"computer\.onnx cannot be written: Permission denied; .*sudo"):
        add(computer, settings)


def test_without_a_configuration_the_file_is_named_that_would_be_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    expected = tmp_path / "wakeword-recorder" / "config.toml"
    assert own_words.configuration_file(config.Settings()) == expected
    assert config.models_dir(config.Settings()).parent == expected.parent


def test_what_is_no_file_or_far_too_large_is_not_read(settings, tmp_path):
    with pytest.raises(RecorderError, match="no such file"):
        add(tmp_path / "none.onnx", settings)
    with pytest.raises(RecorderError, match="not a file"):
        add(tmp_path, settings)
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(RecorderError, match="not a file"):
        add(tmp_path / "pipe.onnx", settings)
    with (tmp_path / "large.onnx").open("wb") as file:
        file.truncate(200_000_000)
    with pytest.raises(RecorderError, match="over 100 MB"):
        add(tmp_path / "large.onnx", settings)


def test_a_model_that_is_none_is_an_error_of_the_command_not_of_the_configuration(settings, tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"<html>")
    with pytest.raises(RecorderError, match="a web page") as caught:
        add(tmp_path / "x.onnx", settings)
    assert caught.value.exit_status == 1


def test_the_words_at_hand_are_the_bundled_the_folders_and_what_else_is_listened_for(settings, computer, tmp_path):
    add(computer, settings)
    folder = tmp_path / "models"
    (folder / "broken.onnx").write_bytes(b"<html>")
    shutil.copy(ALEXA, folder / "hey_marvin.onnx")
    outside = str(shutil.copy(ALEXA, tmp_path / "hal.onnx"))
    text = f'words = ["alexa", "computer", "{outside}", "computr"]\nthreshold = {{ hal = 0.3 }}'
    settings.path.write_text(f"[wake]\n{text}\n")
    settings = config.load(settings.path, any_words=True)
    words = {word.path or word.word: word for word in words_at_hand(settings)}
    assert [word.word for word in words.values()] == [
        "alexa", "hey_jarvis", "hey_marvin", "hey_mycroft", "broken", "computer", "hey_marvin", "hal", "computr",
    ]  # fmt: skip
    assert {word.word: word.threshold for word in words.values() if word.configured} == {
        "alexa": 0.5, "computer": 0.5, "hal": 0.3, "computr": 0.5,
    }  # fmt: skip
    assert {word.word for word in words.values() if word.problem} == {"broken", "hey_marvin", "computr"}
    assert words[f"{folder}/broken.onnx"].problem.startswith("is a web page")
    assert words["computr"].problem.endswith("did you mean 'computer'?")
    assert written_words(settings) == ["alexa", "computer", outside, "computr"]
