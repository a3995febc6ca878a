"""Where the models are: found by name or path, importing neither openwakeword nor onnxruntime."""

from __future__ import annotations

import difflib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from device.errors import ModelError
from device.hearing.words import BUNDLED_WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class WordModel:
    """A wake word and the file of its classifier.

    Attributes:
        word: its name.
        path: the file.
        bundled: whether the file came with openwakeword.
    """

    word: str
    path: Path
    bundled: bool = False


def model_folder() -> Path:
    """Return the folder of the models inside the installed openwakeword, which is not imported.

    Raises:
        ModelError: it is not installed, or without its models.
    """
    # Importing it would bring scikit-learn and scipy: 0.95 s and 170 MB more than the models need.
    spec = importlib.util.find_spec("openwakeword")
    if spec is None or spec.origin is None:
        raise ModelError("openwakeword is not installed", hint="install openwakeword==0.4.0, which carries the models")
    folder = Path(spec.origin).parent / "resources" / "models"
    if not (folder / "embedding_model.onnx").is_file():
        raise ModelError(f"no models in {folder}", hint="install openwakeword==0.4.0; later ones come without models")
    return folder


def find_words(words: Sequence[str]) -> tuple[WordModel, ...]:
    """Find the file of each word.

    Args:
        words: names of bundled words, or paths to .onnx files.

    Raises:
        ModelError: no such word or file, or two words of one name.
    """
    if not words:
        raise ModelError("no wake word is named", hint=f"bundled are {', '.join(BUNDLED_WORDS)}")
    models = tuple(_find(word) for word in words)
    seen: dict[str, WordModel] = {}
    for model in models:
        # openwakeword's Model tells its models apart by the file's stem alone.
        for name in {model.word, model.path.stem}:
            if name in seen:
                raise ModelError(
                    f"the wake word {name!r} is named twice, by {seen[name].path} and {model.path}",
                    hint="name it once, or give one file another name",
                )
            seen[name] = model
    return models


def _find(word: str) -> WordModel:
    if word in BUNDLED_WORDS:
        return WordModel(word, model_folder() / f"{word}_v0.1.onnx", bundled=True)
    path = Path(word)
    if path.suffix != ".onnx":
        close = difflib.get_close_matches(word, BUNDLED_WORDS, n=1)
        guess = f"did you mean {close[0]!r}? " if close else ""
        raise ModelError(
            f"there is no wake word {word!r}",
            hint=f"{guess}bundled are {', '.join(BUNDLED_WORDS)}; anything else is a path to an .onnx file",
        )
    if not path.is_file():
        raise ModelError(
            f"there is no wake word model {path}", hint="the path of an .onnx file trained for openwakeword"
        )
    return WordModel(path.stem, path)
