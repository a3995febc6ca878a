"""From the words of the configuration to a scorer; each engine is imported only when it is the one asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from device.edges.wakeword.words import find_words
from device.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from device.hearing.wake import WakeScorer

Engine = Literal["streaming", "reference"]
ENGINES: tuple[str, ...] = get_args(Engine)


def load_scorer(words: Sequence[str], *, engine: str, cache_dir: Path | None) -> WakeScorer:
    """Load the models of some wake words, ready to score the first frame of a stream.

    Args:
        words: names of bundled words, or paths to .onnx files; a path's word is the file's stem.
        engine: ``streaming``, or ``reference`` for openwakeword's own Model.
        cache_dir: where the rewritten graph of the features is kept; None: it is made anew, in memory.

    Raises:
        ModelError: no such word or file, two words of one name, a file that is no model or has an unusable shape, or
            an engine that does not exist.
    """
    models = find_words(words)
    if engine == "streaming":
        from device.edges.wakeword.streaming import StreamingScorer

        return StreamingScorer(models, cache_dir)
    if engine == "reference":
        from device.edges.wakeword.reference import ReferenceScorer

        return ReferenceScorer(models)
    raise ModelError(f"there is no wake word engine {engine!r}", hint=f"one of {', '.join(ENGINES)}")
