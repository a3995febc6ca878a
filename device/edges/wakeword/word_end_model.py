"""What tells a bundled wake word's end, and whether more was said at once: one word's three networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from device.core.frames import FRAME_SAMPLES, VAD_SAMPLES
from device.core.noise import BANDS
from device.core.wake import WordEnd
from device.core.wake_end import course_end
from device.edges.wakeword.sessions import FEATURES

if TYPE_CHECKING:
    import numpy.typing as npt

    from device.core.wake import Detection

    Array = npt.NDArray[np.float32]

# All in frames of 80 ms. A word may end nearest to the end of any frame from FIRST to LAST after the one that fired:
# some voices are recognised in the middle of the word, some a second after it.
FIRST, LAST = -14, 6
BEFORE, AFTER = 3, 2  # an end is told from the embeddings of the frame that it is nearest to, and of so many more
FOLLOWING = (1, 3, 5, 7)  # and from those so many frames after it, whether more was said
LIKELY = 1.5  # so little below the greatest one, the logarithm of a frame's odds says that it may be the one as well
LATEST = 7  # frames that the scores' course may tell a word's end too late: more in 1 of 2000 detections
PEAK = 3  # frames about a word's end that have such odds
FARTHEST = 2.0  # from a word's end is the end of the frame that it is told from: it learnt from up to 1.5
HEARD_AFTER = LAST + max(AFTER, *FOLLOWING)
WINDOW = (BEFORE + 1 + AFTER) * FEATURES
# In frames of 20 ms: the levels from so long before an end to so long after it count, two frames at a time.
LEVELS_BEFORE, LEVELS_AFTER, PAIR = 10, 30, 2
STEP = FRAME_SAMPLES // VAD_SAMPLES
COURSE = (LEVELS_BEFORE + LEVELS_AFTER) // PAIR * BANDS
HIDDEN = 32


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What was heard about a detection.

    Attributes:
        features: float32, shape (before + HEARD_AFTER, FEATURES), openwakeword's embeddings.
        before: how many of them are of the time up to the detection, more than ``BEFORE``.
        levels: float32, shape (Surroundings.LEVELS, BANDS), how far the noise in frames of 20 ms is exceeded; those up
            to the detection are the first ``Surroundings.FIRED``.
    """

    FIRED = -FIRST * STEP + LEVELS_BEFORE + STEP
    LEVELS = FIRED + LAST * STEP + LEVELS_AFTER + STEP

    features: Array
    before: int
    levels: Array

    def candidates(self) -> tuple[Array, int]:
        """Return the window around the end of every frame where a word may end, and which frame is the first of them.

        Returns:
            float32, shape (n, WINDOW), and how many frames after the one that fired (or before) the first of them is.
        """
        first = max(FIRST, BEFORE + 1 - self.before)
        span = self.features[self.before + first - BEFORE - 1 : self.before + LAST + AFTER]
        windows = sliding_window_view(span, BEFORE + 1 + AFTER, axis=0)  # (n, FEATURES, frames)
        return windows.transpose(0, 2, 1).reshape(len(windows), WINDOW), first

    def at(self, end: int) -> Array:
        """Return what tells how far from the end of a frame a word ends, float32, shape (WINDOW + COURSE,).

        Args:
            end: so many frames after the detection (or before) a word is about to end.
        """
        frame = self.before + end
        window = self.features[frame - BEFORE - 1 : frame + AFTER].reshape(-1)
        return np.concatenate([window, self._course(end * STEP)])

    def after(self, end_samples: float) -> Array:
        """Return what tells whether more was said, float32, shape (len(FOLLOWING) * FEATURES + COURSE,).

        Args:
            end_samples: so long after the detection (or before) a word ends, in samples.
        """
        frame = max(self.before + int(np.clip(round(end_samples / FRAME_SAMPLES), FIRST, LAST)), 0)
        later = self.features[[frame - 1 + number for number in FOLLOWING]].reshape(-1)
        return np.concatenate([later, self._course(round(end_samples / VAD_SAMPLES))])

    def _course(self, end: int) -> Array:
        """Return the levels around an end in frames of 20 ms after the detection."""
        middle = self.FIRED + int(np.clip(end, FIRST * STEP, LAST * STEP))
        around = self.levels[middle - LEVELS_BEFORE : middle + LEVELS_AFTER]
        course: Array = around.reshape(-1, PAIR, BANDS).mean(axis=1).reshape(-1)
        return course


class Network:
    """A network with one hidden layer of rectified units and one output.

    Args:
        weights: float32, shape (Network.size(inputs),): the hidden layer's, (inputs, HIDDEN), its biases, the output's,
            its bias.
        inputs: how many numbers it is told.
    """

    def __init__(self, weights: Array, inputs: int) -> None:
        hidden, self._biases, self._output, bias = np.split(weights, np.cumsum((inputs * HIDDEN, HIDDEN, HIDDEN)))
        self._hidden, self._bias = hidden.reshape(inputs, HIDDEN), bias[0]

    @staticmethod
    def size(inputs: int) -> int:
        """Return how many weights there are."""
        return (inputs + 2) * HIDDEN + 1

    def tell(self, inputs: Array) -> Array:
        """Return the output for every row of inputs, float32, shape (..., inputs), as shape (...)."""
        hidden = np.maximum(inputs @ self._hidden + self._biases, 0.0)
        output: Array = hidden @ self._output + self._bias
        return output


class WordEndModel:
    """One word's three networks: the odds that it ends at a frame, how far from there, the odds that more was said.

    Args:
        row: float32, shape (WordEndModel.SIZE,), as ``scripts/train-word-ends`` makes them: the three's weights.
    """

    AT, AFTERWARDS = WINDOW + COURSE, len(FOLLOWING) * FEATURES + COURSE
    SIZE = Network.size(WINDOW) + Network.size(AT) + Network.size(AFTERWARDS)

    def __init__(self, row: Array) -> None:
        place, offset, followed = np.split(row, np.cumsum((Network.size(WINDOW), Network.size(self.AT))))
        self._place, self._offset = Network(place, WINDOW), Network(offset, self.AT)
        self._followed = Network(followed, self.AFTERWARDS)

    def tell(self, heard: Surroundings, detection: Detection) -> WordEnd:
        """Find the frame where the word most likely ended, and what its surroundings say."""
        frame = self._frame(heard, detection)
        offset = float(np.clip(self._offset.tell(heard.at(frame)), -FARTHEST, FARTHEST))
        end = (frame + offset) * FRAME_SAMPLES
        return WordEnd(round(detection.wake_sample + end), float(self._followed.tell(heard.after(end))))

    def _frame(self, heard: Surroundings, detection: Detection) -> int:
        windows, first = heard.candidates()
        odds = self._place.tell(windows)
        likely = odds >= odds.max() - LIKELY
        # A request, too, may hold what sounds like the word's end: the earliest of the likely ones it is, since to take
        # it for too late would cut the request. But what lies long before the scores' rise was said by somebody else.
        course = course_end(detection.scores) * VAD_SAMPLES / FRAME_SAMPLES
        likely[: min(max(round(course - LATEST) - first, 0), int(np.argmax(odds)))] = False
        best = int(np.argmax(likely))
        return first + best + int(np.argmax(odds[best : best + PEAK]))
