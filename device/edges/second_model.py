"""microWakeWord's models as a second opinion: loaded at each detection, in a millisecond, and not before."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from pymicro_wakeword import MicroWakeWord

    from device.hearing.frames import Samples

# Not hey_jarvis: who says only "jarvis" sets openwakeword off, but not microWakeWord (26 % of 114 people in quiet).
CONFIRMED_WORDS = ("alexa", "hey_mycroft")


class MicroModels:
    """Second models of wake words.

    Args:
        words: those to be heard once more, of ``CONFIRMED_WORDS``.
    """

    def __init__(self, words: Collection[str] = CONFIRMED_WORDS) -> None:
        self._words = frozenset(words)

    def opinion(self, word: str) -> MicroOpinion | None:
        """Make one on a detection of a word; None: there is no other model of it."""
        if word not in self._words:
            return None
        from pymicro_wakeword import MicroWakeWord, Model

        return MicroOpinion(MicroWakeWord.from_builtin(Model(word)))


class MicroOpinion:
    """What a model makes of one detection: its mean probability over five steps of 30 ms, at its highest.

    Args:
        model: one that has heard nothing.
    """

    def __init__(self, model: MicroWakeWord) -> None:
        from pymicro_wakeword import MicroWakeWordFeatures

        self._model = model
        self._features = MicroWakeWordFeatures()
        self._highest = 0.0

    def hear(self, samples: Samples) -> float:
        """Hear more, int16, shape (n,); return the highest probability so far."""
        for features in self._features.process_streaming(samples.tobytes()):
            self._highest = max(self._highest, self._model.process_streaming_prob(features) or 0.0)
        return self._highest
