"""Where a bundled wake word ended, and whether more was said at once: told from what its detector looks at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from device.core.frames import FRAME_SAMPLES, VAD_SAMPLES
from device.core.wake import WordEnd
from device.core.wake_end import course_end
from device.edges.wakeword.sessions import FEATURES
from device.edges.wakeword.words import BUNDLED_WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from device.core.frames import Samples
    from device.core.wake import Detection
    from device.edges.wakeword.streaming import FeatureStream
    from device.edges.wakeword.words import WordModel

# All in frames of 80 ms. A word may end nearest to the end of any frame from FIRST to LAST after the one that fired:
# some voices are recognised in the middle of the word, some a second after it.
FIRST, LAST = -14, 6
BEFORE, AFTER = (
    3,
    2,
)  # the embeddings that an end is told from: those of the frame that it is nearest to, and so many more
FOLLOWING = (1, 3, 5, 7)  # and after it, those that tell whether more was said
LIKELY = 1.5  # so little below the greatest one, the logarithm of a frame's odds says that it may be the one as well
LATEST = 7  # frames that the scores' course may tell a word's end too late: more in 1 of 2000 detections
PEAK = 3  # frames about a word's end that have such odds
SETTLING = 10  # an embedding depends on the 10 frames before its own
HEARD_BEFORE = SETTLING + BEFORE - FIRST
HEARD_AFTER = LAST + max(AFTER, *FOLLOWING)
WINDOW = (BEFORE + 1 + AFTER) * FEATURES
WEIGHTS = Path(__file__).parents[2] / "resources" / "word_ends.npy"


class WordEnds:
    """Three linear models for each bundled word, learnt by ``scripts/train-word-ends`` from synthetic voices.

    The first gives the odds that the word ends at a frame, the second how far from the end of that frame it does, the
    third the odds that more was said at once. On scenes that they did not learn from, the end is told with a deviation
    of 0.03 s, within 0.1 s in 998 of 1000; whether more was said, rightly in as many.

    Args:
        models: the words that can be detected.
        stream: a stream of features that nobody else uses.
    """

    def __init__(self, models: Sequence[WordModel], stream: FeatureStream) -> None:
        rows = dict(zip(BUNDLED_WORDS, np.load(WEIGHTS), strict=True))
        self._weights = {model.word: Weights(rows[model.word]) for model in models if model.bundled}
        self._stream = stream

    def find(self, detection: Detection, audio: Samples, start_sample: int) -> WordEnd | None:
        """Tell how a detected word ended; None: it is no bundled word, or it came too early in the stream.

        Args:
            detection: the word.
            audio: int16, shape (n,), what was heard before the detection and after it, as far as it was heard yet;
                what is missing of the second after it counts as silence.
            start_sample: the stream position of the audio's first sample.
        """
        weights = self._weights.get(detection.word)
        if weights is None:
            return None
        features = features_around(detection, audio, start_sample, self._stream)
        before = len(features) - HEARD_AFTER
        return weights.tell(features, before, detection) if before >= BEFORE + 1 else None


def features_around(
    detection: Detection, audio: Samples, start_sample: int, stream: FeatureStream
) -> npt.NDArray[np.float32]:
    """Return the features of the frames before a detection that count, at most ``HEARD_BEFORE``, and after it.

    Args:
        detection: a word.
        audio: int16, shape (n,).
        start_sample: the stream position of the audio's first sample, not after the detection.
        stream: is reset first.

    Returns:
        float32, shape (n + HEARD_AFTER, FEATURES): the frame that fired is the one before the last ``HEARD_AFTER``.
    """
    fired = detection.wake_sample - start_sample
    frames = min(fired // FRAME_SAMPLES, HEARD_BEFORE)
    heard = audio[fired - frames * FRAME_SAMPLES : fired + HEARD_AFTER * FRAME_SAMPLES]
    padded = np.zeros((frames + HEARD_AFTER) * FRAME_SAMPLES, np.int16)
    padded[: len(heard)] = heard
    stream.reset()
    return stream.features(padded.reshape(-1, FRAME_SAMPLES))


class Weights:
    """One word's three models.

    Args:
        row: float32, shape (Weights.SIZE,).
    """

    SIZE = 2 * (WINDOW + 1) + len(FOLLOWING) * FEATURES + 1

    def __init__(self, row: npt.NDArray[np.float32]) -> None:
        self._place, self._offset, self._followed = np.split(row, (WINDOW + 1, 2 * (WINDOW + 1)))

    def tell(self, features: npt.NDArray[np.float32], before: int, detection: Detection) -> WordEnd:
        """Find the frame where the word most likely ended, and what its surroundings say.

        Args:
            features: float32, shape (before + HEARD_AFTER, FEATURES).
            before: how many of them are of the time up to the detection, more than ``BEFORE``.
            detection: the word.
        """
        windows, first = candidates(features, before)
        odds = _dot(windows, self._place)
        likely = odds >= odds.max() - LIKELY
        # A request, too, may hold what sounds like the word's end: the earliest of the likely ones it is, since to take
        # it for too late would cut the request. But what lies long before the scores' rise was said by somebody else.
        course = course_end(detection.scores) * VAD_SAMPLES / FRAME_SAMPLES
        likely[: min(max(round(course - LATEST) - first, 0), int(np.argmax(odds)))] = False
        best = int(np.argmax(likely))
        best += int(np.argmax(odds[best : best + PEAK]))
        end = detection.wake_sample + (first + best) * FRAME_SAMPLES + float(_dot(windows[best], self._offset))
        after = following(features, before + first + best)
        return WordEnd(round(end), float(_dot(after, self._followed)))


def candidates(features: npt.NDArray[np.float32], before: int) -> tuple[npt.NDArray[np.float32], int]:
    """Return the window around the end of every frame where a word may end, and which frame is the first of them.

    Args:
        features: float32, shape (before + HEARD_AFTER, FEATURES).
        before: how many of them are of the time up to the detection.

    Returns:
        float32, shape (n, WINDOW), and how many frames after the one that fired (or before) the first of them is.
    """
    first = max(FIRST, BEFORE + 1 - before)
    span = features[before + first - BEFORE - 1 : before + LAST + AFTER]
    windows = sliding_window_view(span, BEFORE + 1 + AFTER, axis=0)  # (n, FEATURES, frames)
    return windows.transpose(0, 2, 1).reshape(len(windows), WINDOW), first


def following(features: npt.NDArray[np.float32], end: int) -> npt.NDArray[np.float32]:
    """Return what tells whether more was said after ``end`` frames, float32, shape (len(FOLLOWING) * FEATURES,)."""
    return features[[end - 1 + later for later in FOLLOWING]].reshape(-1)


def _dot(inputs: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    result: npt.NDArray[np.float32] = inputs @ weights[:-1] + weights[-1]
    return result
