"""Looks over the pipeline's shoulder for `explain`, `meter` and `wake try`: the same parts, noting what they decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from device.hearing.capture import Segmenter
    from device.hearing.frames import Samples
    from device.hearing.gate import Gate
    from device.hearing.wake import Detection, WakeScorer


class ObservedScorer:
    """A scorer that remembers the newest scores.

    Attributes:
        latest: float32, shape (words,), the scores of the last frame scored; zeros before the first.
    """

    def __init__(self, scorer: WakeScorer) -> None:
        self._scorer = scorer
        self.words = scorer.words
        self.context_frames = scorer.context_frames
        self.latest = np.zeros(len(scorer.words), np.float32)

    def reset(self) -> None:
        """As the scorer's."""
        self._scorer.reset()

    def score(self, frames: Samples) -> npt.NDArray[np.float32]:
        """As the scorer's."""
        scores = self._scorer.score(frames)
        if len(scores):
            self.latest = scores[-1].copy()
        return scores

    def segmenter(self, detection: Detection, history: Samples) -> Segmenter:
        """As the scorer's."""
        return self._scorer.segmenter(detection, history)


class LoggedScorer(ObservedScorer):
    """A scorer of one word that keeps its scores until they are asked for."""

    def __init__(self, scorer: WakeScorer) -> None:
        super().__init__(scorer)
        self._kept: list[float] = []

    def score(self, frames: Samples) -> npt.NDArray[np.float32]:
        """As the scorer's."""
        scores = super().score(frames)
        self._kept += scores[:, 0].tolist()
        return scores

    def take(self) -> list[float]:
        """Return the scores since the last call, one for each frame."""
        scores, self._kept = self._kept, []
        return scores


class ObservedGate:
    """A gate that remembers its decisions.

    Attributes:
        open: whether it is open now.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.open = False

    def push(self, frame: Samples) -> bool:
        """As the gate's."""
        self.open = self._gate.push(frame)
        return self.open

    def hold(self) -> None:
        """As the gate's."""
        self._gate.hold()
