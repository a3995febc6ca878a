"""The wake words at hand, and how a model of one's own joins them: for `wake list` and `wake add`."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from device import build
from device.config import settings as config
from device.config.paths import user_folder
from device.config.wording import did_you_mean
from device.config.words import models_in, word_names
from device.edges.wakeword.examining import examine
from device.edges.wakeword.sessions import open_classifier
from device.edges.wav import AudioFile
from device.errors import ModelError, RecorderError, UsageError
from device.hearing.tuning import UNCHANGED, Tuning, listens_for
from device.hearing.words import BUNDLED_WORDS, model_name_problem
from device.whole_file import write_whole

if TYPE_CHECKING:
    from device.config.settings import Settings

LARGEST_MB = 100  # of a model file; openwakeword's have 0.2 to 1.5
SPEECH = Path(__file__).parents[1] / "resources" / "demo.wav"
MODE, FOLDER_MODE = 0o644, 0o755  # whatever root's umask: the service's user reads them
EXTENSION = ".onnx"
LONGEST_FILE = 255  # bytes of a file's name


class Word(Struct, frozen=True, kw_only=True):
    """A wake word at hand, or one that the configuration asks for in vain.

    Attributes:
        word: its name.
        path: its model; None for a bundled one, and where there is none.
        bundled: whether it came with openwakeword.
        configured: whether the configuration listens for it.
        threshold: its threshold there; None where nobody listens for it.
        counts_from: the threshold that counts, where one was changed over MQTT; None: it is not listened for.
        problem: why it cannot be used; empty if it can.
    """

    word: str
    path: str | None
    bundled: bool
    configured: bool
    threshold: float | None
    counts_from: float | None
    problem: str


def words_at_hand(settings: Settings, tuning: Tuning = UNCHANGED) -> list[Word]:
    """Return the bundled words, those of the folder of models, and whatever else the configuration names.

    Args:
        settings: as ``config.load`` gives them for any words.
        tuning: what counts of what was changed over MQTT.
    """
    wanted = settings.wake.words
    thresholds = dict(zip(wanted, config.thresholds(settings.wake), strict=True))
    models, _ = models_in(config.models_dir(settings))
    at_hand = [*BUNDLED_WORDS, *map(str, models.values())]
    return [
        _word(written, thresholds, models, tuning)
        for written in (*at_hand, *(word for word in wanted if word not in at_hand))
    ]


def _word(written: str, thresholds: dict[str, float], models: dict[str, Path], tuning: Tuning) -> Word:
    """Look at one word.

    Args:
        written: a bundled word, the path of a model, or a name that nobody knows.
        thresholds: those of the words that the configuration listens for.
        models: the folder's, by name.
        tuning: what counts of what was changed over MQTT.
    """
    name, bundled = word_names([written])[0], written in BUNDLED_WORDS
    problem, path = "", None
    if written.endswith(EXTENSION):
        path, twice = written, name in BUNDLED_WORDS and str(models.get(name)) == written
        problem = "there is a bundled word of this name; give the file another" if twice else ""
        problem = problem or model_name_problem(name) or _model_problem(Path(written))
    elif not bundled:
        problem = f"neither bundled nor among the models{did_you_mean(name, [*BUNDLED_WORDS, *models])}"
    threshold = thresholds.get(written)
    counts_from = (
        tuning.thresholds.get(name, threshold) if threshold is not None and listens_for(tuning, name) else None
    )
    return Word(
        word=name, path=path, bundled=bundled, configured=threshold is not None, threshold=threshold,
        counts_from=counts_from, problem=problem,
    )  # fmt: skip


def _model_problem(path: Path) -> str:
    try:
        open_classifier(path)
    except ModelError as error:
        return str(error).removeprefix(f"{path} ")
    return ""


def written_words(settings: Settings) -> list[str]:
    """Return the words as they would stand in the configuration: a model of the folder by its name."""
    models, _ = models_in(config.models_dir(settings))
    names = {str(path): name for name, path in models.items() if name not in BUNDLED_WORDS}
    return [names.get(word, word) for word in settings.wake.words]


def configuration_file(settings: Settings) -> Path | str:
    """Return the configuration file, or where a user's own would be looked for."""
    folder = user_folder("XDG_CONFIG_HOME", ".config")
    return settings.path or (folder / "wakeword-recorder" / "config.toml" if folder else "a configuration file")


def find(target: str, settings: Settings) -> str:
    """Find a wake word to try.

    Args:
        target: a bundled word, one of the folder's or the configuration's by its name, or the path of a model.
        settings: as ``config.load`` gives them for any words.

    Returns:
        The bundled word, or the path of its model.

    Raises:
        UsageError: there is no such word, or there are two.
        RecorderError: its model cannot be used.
    """
    models, _ = models_in(config.models_dir(settings))
    others = {name: Path(word) for name, word in zip(word_names(settings.wake.words), settings.wake.words, strict=True)}
    models = {name: path for name, path in others.items() if path.suffix == EXTENSION} | models
    if target in BUNDLED_WORDS:
        if target in models:
            raise UsageError(f"{target!r} is a bundled word and {models[target]}", hint="try the other one by its path")
        return target
    path = Path(target).absolute() if target.endswith(EXTENSION) else models.get(target)
    if path is None:
        meant = did_you_mean(target, [*BUNDLED_WORDS, *models])
        raise UsageError(f"there is no wake word {target!r}{meant}", hint="`wakeword-recorder wake list` shows them")
    if not path.is_file():
        raise RecorderError(f"{path}: {'not a file' if path.exists() else 'no such file'}", hint="an .onnx is expected")
    if problem := model_name_problem(path.stem) or _model_problem(path):
        raise RecorderError(f"{path} {problem}")
    return str(path)


class Added(Struct, frozen=True, kw_only=True):
    """A model that was added: the word it is for and where it is now; the rest is as in `Examined`."""

    word: str
    path: str
    window_s: float
    idle_score: float
    speech_score: float


def add(file: Path, settings: Settings, *, name: str | None = None, replace: bool = False) -> Added:
    """Check a wake word's model and copy it into the folder of models, whole or not at all.

    Args:
        file: the model.
        settings: the configuration, which is not changed.
        name: the word it is for; None: the file's name without its extension.
        replace: take the place of a model of this name.

    Raises:
        RecorderError: it is no such model, or cannot be copied.
        UsageError: its word cannot have this name, or has a model.
    """
    folder = config.models_dir(settings)
    if folder is None:
        raise UsageError("nobody knows a home folder for models", hint="set HOME, or name a configuration by --config")
    content = _read(file)
    word = (file.stem if file.suffix.lower() == EXTENSION else file.name) if name is None else name
    _refuse_name(word)
    target = folder / f"{word}{EXTENSION}"
    there = target.exists() and target.samefile(file)  # somebody put it there by hand
    if not there:
        _refuse_taken(target, replace=replace)
    try:
        speech = np.concatenate(list(AudioFile(SPEECH)))
        examined = examine(file, speech, build.cache_dir())
        content = _whole(file, content)
    except ModelError as error:
        raise RecorderError(error.message, hint=error.hint) from error  # no matter of the configuration's
    if not there:
        _refuse_taken(target, replace=replace)
        _put(content, target)
    return Added(word=word, path=str(target), **asdict(examined))


def _refuse_name(word: str) -> None:
    problem = model_name_problem(word)
    if not word or "/" in word or word.startswith((".", "-")):
        problem = "it must neither be empty nor hold a / nor begin with . or -"
    elif word in BUNDLED_WORDS:
        problem = "there is a bundled word of this name"
    elif len(os.fsencode(word + EXTENSION)) > LONGEST_FILE:
        problem = f"with {EXTENSION} it has over {LONGEST_FILE} bytes, too many for a file's name"
    if problem:
        raise UsageError(f"{word!r} cannot be the model's word: {problem}", hint="name another by --name")


def _refuse_taken(target: Path, *, replace: bool) -> None:
    if os.path.lexists(target) and not replace:
        raise UsageError(
            f"there is {target} already", hint="--force replaces it, --name gives the new one another name"
        )


def _read(file: Path) -> bytes:
    try:
        if not file.is_file():
            raise RecorderError(
                f"{file}: {'not a file' if file.exists() else 'no such file'}", hint="an .onnx model is expected"
            )
        if file.stat().st_size > LARGEST_MB * 1_000_000:
            raise RecorderError(f"{file} has over {LARGEST_MB} MB", hint="a wake word's model has about 1 MB")
        return file.read_bytes()
    except OSError as error:
        raise RecorderError(f"{file} cannot be read: {error.strerror}", hint="run this as a user who may") from error


def _whole(file: Path, content: bytes) -> bytes:
    """Return the model with its weights in it: some exporters put them into a second file, which would stay behind."""
    import onnx

    model = onnx.load_from_string(content)
    outside = onnx.TensorProto.EXTERNAL
    if not any(tensor.data_location == outside for tensor in model.graph.initializer):
        return content
    whole: bytes = onnx.load(file).SerializeToString()
    return whole


def _put(content: bytes, target: Path) -> None:
    """Write a file whole or not at all, for everybody to read.

    Raises:
        RecorderError: it cannot be written.
    """
    try:
        _make_folder(target.parent)
        write_whole(target, content, mode=MODE)
    except OSError as error:
        denied = isinstance(error, PermissionError)
        hint = "run this with sudo, for the service's models" if denied else "or name another folder, [wake] models_dir"
        raise RecorderError(f"{target} cannot be written: {error.strerror}", hint=hint) from error


def _make_folder(folder: Path) -> None:
    for missing in reversed([parent for parent in (folder, *folder.parents) if not parent.exists()]):
        missing.mkdir(exist_ok=True)
        missing.chmod(FOLDER_MODE)
