"""A segmenter for tests that says of each 20 ms what the test wrote down, as if it had been told from the sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from device.hearing.frames import VAD_SAMPLES
from device.hearing.segment_network import KINDS, NOTHING, REQUEST, WAKE_WORD

if TYPE_CHECKING:
    from device.hearing.frames import Samples
    from device.hearing.wake import Detection

KIND = {".": NOTHING, "w": WAKE_WORD, "r": REQUEST}


class Scripted:
    """What ``hearing.take.Segmenter`` is: frames are segmented as a text says, one letter for each 20 ms.

    Args:
        text: ``w`` for the wake word, ``r`` for the request, ``.`` for neither; beyond its end there is neither.
        detection: the wake word.
        history: int16, what was heard up to it; the text's first letter is the stream's first 20 ms.
        knows_word: whether the wake word is one that the network was taught.
    """

    def __init__(self, text: str, detection: Detection, history: Samples, *, knows_word: bool = True) -> None:
        self.knows_word = knows_word
        self._text = text
        self._frames = len(history) // VAD_SAMPLES
        self.start_sample = detection.wake_sample - self._frames * VAD_SAMPLES

    @property
    def chances(self) -> np.ndarray:
        first = self.start_sample // VAD_SAMPLES
        letters = self._text[first : first + self._frames].ljust(self._frames, ".")
        chances = np.zeros((self._frames, KINDS), np.float32)
        chances[np.arange(self._frames), [KIND[letter] for letter in letters]] = 1.0
        return chances

    def push(self, samples: Samples) -> None:
        self._frames += len(samples) // VAD_SAMPLES
