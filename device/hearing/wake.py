"""From scores to detections: threshold by word, patience, refractory in audio time; scorers come in by Protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from device.hearing.frames import FRAME_SAMPLES
from device.hearing.words import BUTTON

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    import numpy.typing as npt

    from device.hearing.frames import Samples
    from device.hearing.segmenter import Segmenter


class WakeScorer(Protocol):
    """Scores consecutive 80 ms frames of one stream for one or more wake words.

    Attributes:
        words: the wake words' names, in the order of the scores' columns.
        context_frames: how many frames before a frame its scores can depend on: after ``reset`` and ``score`` of at
            least this many frames of history, scores are those of a scorer that heard the whole stream.
    """

    words: tuple[str, ...]
    context_frames: int

    def reset(self) -> None:
        """Forget everything: the next frame is scored as the first of a stream."""

    def score(self, frames: Samples) -> npt.NDArray[np.float32]:
        """Score frames that follow those of the call before.

        Args:
            frames: int16, shape (n, FRAME_SAMPLES).

        Returns:
            float32, shape (n, len(words)), each 0 to 1; valid until the next call.
        """

    def segmenter(self, detection: Detection, history: Samples) -> Segmenter:
        """Make what follows a detection and tells wake word and request apart. Changes no scores.

        Args:
            detection: the word.
            history: int16, shape (n * VAD_SAMPLES,), what was heard up to it.
        """


@dataclass(frozen=True, slots=True)
class Detection:
    """A wake word was heard, or a button pressed.

    Attributes:
        word: the word; ``BUTTON`` for a button.
        score: the score that fired, 0 to 1; with a second model, the highest until both were sure enough.
        wake_sample: stream position of the end of the frame that fired.
        confirmed: a second model's probability, 0 to 1; None: there is no second model of it.
        together: how sure both are, 0 to 1; None likewise.
    """

    word: str
    score: float
    wake_sample: int
    confirmed: float | None = None
    together: float | None = None

    @property
    def is_press(self) -> bool:
        """Whether nothing was said: somebody pressed a button."""
        return self.word == BUTTON


class Detector:
    """Turns the scores of consecutive frames into detections: one spoken word, one detection.

    After a detection nothing fires until ``refractory_samples`` of audio have passed and there was a frame in which
    every word's score lay below its threshold. Frames that nobody scored (a gap between the positions of two calls)
    count as such a frame, and the scores before them as no longer consecutive.

    Args:
        words: the words, in the order of the scores.
        thresholds: for each word, the score from which on a frame counts.
        patience: how many consecutive frames must count, at least 1.
        refractory_samples: the audio time after a detection in which none follows.

    Attributes:
        thresholds: as given; others may take their place between two frames.
    """

    def __init__(
        self, words: Sequence[str], thresholds: Sequence[float], patience: int, refractory_samples: int
    ) -> None:
        if len(words) != len(thresholds):
            raise ValueError(f"{len(words)} words and {len(thresholds)} thresholds; each word needs one")
        if patience < 1:
            raise ValueError(f"patience is {patience}; it must be at least 1")
        self._words = tuple(words)
        self.thresholds = tuple(thresholds)
        self._patience = patience
        self._refractory = refractory_samples
        self._streaks = [0] * len(self._words)
        self._expected_end: int | None = None
        self._fired_at: int | None = None
        self._fell = True

    def push(self, scores: Iterable[float], end_sample: int) -> Detection | None:
        """Take one frame's scores and say whether a word was heard with it.

        Args:
            scores: one score for each word, shape (len(words),).
            end_sample: stream position of the frame's end; greater than that of the call before.

        Returns:
            The detection of the word with the highest score among those that qualify, or None.
        """
        row = [float(score) for score in scores]
        if end_sample != self._expected_end:
            self._streaks = [0] * len(self._words)
            self._fell = True
        self._expected_end = end_sample + FRAME_SAMPLES
        best: int | None = None
        above = False
        for column, (score, threshold) in enumerate(zip(row, self.thresholds, strict=True)):
            if score < threshold:
                self._streaks[column] = 0
                continue
            above = True
            self._streaks[column] += 1
            if self._streaks[column] >= self._patience and (best is None or score > row[best]):
                best = column
        if not above:
            self._fell = True
        if best is None or not self._fell:
            return None
        if self._fired_at is not None and end_sample - self._fired_at < self._refractory:
            return None
        self._fired_at = end_sample
        self._fell = False
        return Detection(self._words[best], row[best], end_sample)
