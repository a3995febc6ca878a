"""The wake words of the configuration: bundled ones, model files chosen by their name, and others by their path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from device.config.paths import FILES, file_problem
from device.config.wording import did_you_mean, shown
from device.hearing.words import BUNDLED_WORDS, model_name_problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MODELS = "models"  # the default of [wake] models_dir, beside the configuration file


def models_in(folder: Path | None) -> tuple[dict[str, Path], str]:
    """Return the model files of a folder by the words they are for, in the alphabet's order, and why there are none.

    A file's word is its name without ``.onnx``. Hidden files, and names that no configuration can hold, are left out.

    Args:
        folder: where they are; None: nobody knows.

    Returns:
        The files, and what is wrong with the folder; empty if nothing is.
    """
    if folder is None:
        return {}, "nobody knows a home folder for it"
    try:
        files = [path for path in sorted(folder.iterdir()) if path.suffix == ".onnx" and not path.name.startswith(".")]
        return {path.stem: path for path in files if path.is_file() and _is_text(path.stem)}, ""
    except FileNotFoundError:
        return {}, "no such folder"
    except NotADirectoryError:
        return {}, "not a folder"
    except OSError as error:
        return {}, f"cannot be read: {error.strerror}"


def word_names(words: Iterable[str]) -> tuple[str, ...]:
    """The wake words' names: a bundled one's own, a model file's stem."""
    return tuple(Path(word).stem if word.endswith(".onnx") else word for word in words)


def chosen(words: Sequence[str], folder: Path | None, *, named: bool) -> tuple[tuple[str, ...], list[str]]:
    """Find the files of the words that are chosen by the name of a model.

    Args:
        words: as the configuration has them, paths made real.
        folder: [wake] models_dir.
        named: whether the configuration names that folder, which must be there then.

    Returns:
        The words, each a bundled one, the path of a file, or as it stands there if nobody knows it; and the problems:
        with the folder, words that nobody knows or that two models could be, files that are not there.
    """
    models, problem = models_in(folder)
    found = tuple(word if word in BUNDLED_WORDS else str(models.get(word, word)) for word in words)
    advice = "name a folder, which `wakeword-recorder wake add FILE` makes, or leave the key out"
    problems = [f"[wake] models_dir = {str(folder)!r}: {problem}; {advice}"] if named and problem else []
    where = f"{folder}{f' ({problem})' * bool(problem)}" if folder else "[wake] models_dir, of which there is none"
    problems += [
        f"[wake] words = {shown('words', word, most=200)}: {wrong}"
        for word in found
        if (wrong := _word_problem(word, models, where))
    ]
    return found, problems


def _word_problem(word: str, models: Mapping[str, Path], where: str) -> str:
    name = word_names([word])[0]
    if word in BUNDLED_WORDS:
        other = models.get(word)
        return f"both a bundled word and {other}; give that file another name, or write its path" if other else ""
    if not word.endswith(".onnx"):
        meant = did_you_mean(word, [*BUNDLED_WORDS, *models])
        return f"neither a bundled word nor an .onnx file in {where}{meant}; or a path ending in .onnx"
    if problem := file_problem(word):
        return f"{problem}; expected " + (f"the word {name!r} alone" if name in models else FILES["words"])
    return f"{problem}; rename the file" if (problem := model_name_problem(name)) else ""


def _is_text(name: str) -> bool:
    try:
        os.fsencode(name).decode()
    except UnicodeError:
        return False
    return True
