"""Wake words of one's own, chosen by name: where they are looked for, and what is said where they are not there."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from device.config import settings as config
from device.config.words import word_names
from device.errors import ConfigurationError

LONG = "w" * 128


@pytest.fixture
def folder(tmp_path) -> Path:
    """The folder of a configuration file, with two models beside it."""
    for name in ("computer", "hey_pi", LONG):
        model(tmp_path / "models" / f"{name}.onnx")
    return tmp_path


def model(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a model")
    return path


def settings(folder: Path, wake: str, **options: bool) -> config.Settings:
    return config.validate(tomllib.loads(f"[wake]\n{wake}"), folder / "config.toml", **options)


def problems(folder: Path, wake: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        settings(folder, wake)
    return [problem.removeprefix(f"{folder}/config.toml: ") for problem in caught.value.problems]


def test_a_model_beside_the_configuration_is_chosen_by_its_name_like_a_bundled_word(folder):
    wake = settings(folder, 'words = ["computer", "alexa"]\nthreshold = { computer = 0.7 }').wake
    assert wake.words == (str(folder / "models" / "computer.onnx"), "alexa")
    assert word_names(wake.words) == ("computer", "alexa")
    assert config.thresholds(wake) == (0.7, 0.5)


@pytest.mark.parametrize("written", ["../others", "~/others", "{}/others"])
def test_the_folder_of_models_is_a_path_like_the_others_of_the_file(folder, written, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    path = model(folder / "others" / "hal.onnx")
    (folder / "etc").mkdir()
    wake = settings(folder / "etc", f'words = ["hal"]\nmodels_dir = "{written.format(folder)}"').wake
    assert Path(wake.words[0]).samefile(path)


def test_without_a_file_models_are_beside_where_the_users_would_be(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config.models_dir(config.Settings()) == tmp_path / "wakeword-recorder" / "models"


def test_a_folder_that_nobody_named_need_not_be_there(tmp_path):
    assert settings(tmp_path, "patience = 1").wake.words == ("hey_jarvis",)
    (tmp_path / "models").write_text("no folder")
    assert settings(tmp_path, "patience = 1").wake.words == ("hey_jarvis",)
    assert "models (not a folder), did you mean" in problems(tmp_path, 'words = ["hey_jarvs"]')[0]


@pytest.mark.parametrize(("made", "problem"), [("", "no such folder"), ("file", "not a folder")])
def test_a_folder_that_is_named_must_be_there(tmp_path, made, problem):
    if made:
        (tmp_path / "own").write_text("")
    found = problems(tmp_path, 'models_dir = "own"')
    assert len(found) == 1
    assert found[0].startswith(f"[wake] models_dir = '{tmp_path}/own': {problem}; ")


def test_the_close_name_of_a_model_is_offered_too(folder):
    (found,) = problems(folder, 'words = ["computr"]')
    assert found.startswith("[wake] words = 'computr': neither a bundled word nor an .onnx file in ")
    assert "did you mean 'computer'?" in found
    assert "known: alexa, hey_jarvis, hey_marvin, hey_mycroft, computer, hey_pi" in problems(folder, 'words = ["q"]')[0]


@pytest.mark.parametrize("word", ["computer.onnx", "/none/computer.onnx"])
def test_a_path_that_leads_nowhere_names_the_word_that_may_be_meant(folder, word):
    assert "no such file; expected the word 'computer' alone" in problems(folder, f'words = ["{word}"]')[0]


def test_a_word_that_is_bundled_and_in_the_folder_is_refused_where_it_is_listened_for(folder):
    other = model(folder / "models" / "alexa.onnx")
    (found,) = problems(folder, 'words = ["alexa"]')
    assert f"both a bundled word and {other}" in found
    assert settings(folder, f'words = ["{other}"]').wake.words == (str(other),)
    assert settings(folder, 'words = ["hey_jarvis"]').wake.words == ("hey_jarvis",)


def test_a_model_by_name_and_by_path_is_one_word_twice(folder):
    assert "a word stands there twice" in problems(folder, 'words = ["computer", "models/computer.onnx"]')[0]


@pytest.mark.parametrize("by", ["name", "path"])
def test_a_name_that_no_tag_can_hold_is_refused(folder, by):
    assert settings(folder, f'words = ["{LONG}"]').wake.words
    path = model(folder / "models" / f"{LONG}w.onnx")
    (found,) = problems(folder, f'words = ["{path if by == "path" else f"{LONG}w"}"]')
    assert found.endswith("a name of 129 characters; a tag holds at most 128; rename the file")
    model(folder / "models" / "a\tb.onnx")
    assert "control character" in problems(folder, 'words = ["a\\tb"]')[0]


def test_neither_a_hidden_file_nor_a_folder_nor_a_name_that_is_no_text_is_a_model(folder):
    models = folder / "models"
    model(models / "._computer.onnx")
    model(models / "notes.txt")
    (models / "x.onnx").mkdir()
    (models / "broken.onnx").symlink_to(models / "nothing.onnx")
    model(Path(f"{models}/\udcff.onnx"))
    found = problems(folder, 'words = ["qqq"]')[0]
    assert "hey_mycroft, computer, hey_pi" in found
    for absent in ("_computer", "notes", "x,", "broken", "\udcff"):
        assert absent not in found.split("known:")[1]


def test_what_brings_a_model_may_read_a_configuration_that_names_it_already(folder):
    wake = settings(folder, 'words = ["hal"]\nmodels_dir = "own"', any_words=True).wake
    assert wake.words == ("hal",)
    with pytest.raises(ConfigurationError):
        settings(folder, 'words = ["hal"]\npatience = 0', any_words=True)


def test_a_model_named_as_a_button_is_refused(folder):
    model(folder / "models" / "button.onnx")
    (problem,) = problems(folder, 'words = ["button"]')
    assert problem.endswith("button.onnx': the name 'button' stands for a button that is pressed; rename the file")


def test_a_model_named_as_all_words_are_is_refused_where_mqtt_may_choose(folder):
    model(folder / "models" / "all.onnx")
    assert settings(folder, 'words = ["all"]').wake.words
    (problem,) = problems(folder, 'words = ["all"]\nallow_remote_changes = true')
    assert problem.endswith(
        "with allow_remote_changes = true, 'all' stands for every word; give that model another name"
    )
