"""Where a bundled wake word ends, told from the embeddings that its detector looks at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from device.core.frames import FRAME_SAMPLES, VAD_SAMPLES
from device.core.wake_end import course_end
from device.edges.wakeword.words import BUNDLED_WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device.core.frames import Samples
    from device.core.wake import Detection
    from device.edges.wakeword.streaming import FeatureStream
    from device.edges.wakeword.words import WordModel

WINDOW = 4  # embeddings, the last being of the frame whose end is nearest to where the word is believed to end
LOOKS = 2  # the first where the scores' course points, the next where the one before it told
HISTORY_FRAMES = 36  # a course of 16, the window before it, and the 10 that an embedding depends on
WEIGHTS = Path(__file__).parents[2] / "resources" / "word_ends.npy"


class WordEnds:
    """A linear regression for each bundled word, learnt by ``scripts/train-word-ends`` from synthetic voices.

    On voices that it learnt from it is off by 0.02 to 0.04 s, where the scores' course is off by 0.07 to 0.08 s.

    Args:
        models: the words that can be detected.
        stream: a stream of features that nobody else uses.
    """

    def __init__(self, models: Sequence[WordModel], stream: FeatureStream) -> None:
        rows = dict(zip(BUNDLED_WORDS, np.load(WEIGHTS), strict=True))
        self._weights = {model.word: rows[model.word] for model in models if model.bundled}
        self._stream = stream

    def find(self, detection: Detection, history: Samples) -> int | None:
        """Return the stream position of the word's end; None: no bundled word, or too little was heard before it.

        Args:
            detection: the word.
            history: int16, shape (n,), what was heard up to the detection's ``wake_sample``; its last 3 s count.
        """
        weights = self._weights.get(detection.word)
        frames = history[len(history) % FRAME_SAMPLES :].reshape(-1, FRAME_SAMPLES)[-HISTORY_FRAMES:]
        if weights is None or len(frames) < WINDOW:
            return None
        self._stream.reset()
        features = self._stream.features(frames)
        offset = course_end(detection.scores)
        for _ in range(LOOKS):
            anchor = min(round(offset * VAD_SAMPLES / FRAME_SAMPLES), 0)
            window = features[max(len(frames) + anchor - WINDOW, 0) : len(frames) + anchor]
            if len(window) < WINDOW:
                return None
            offset = float(window.reshape(-1) @ weights[:-1] + weights[-1]) + anchor * FRAME_SAMPLES / VAD_SAMPLES
        return detection.wake_sample + round(offset * VAD_SAMPLES)
