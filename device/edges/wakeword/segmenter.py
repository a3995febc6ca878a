"""Follows what is heard about a detection: levels and embeddings as they come, segmented by the shipped network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from device.edges.wakeword.segment_weights import SHIPPED, load
from device.hearing.frames import FRAME_SAMPLES, VAD_SAMPLES
from device.hearing.noise import BANDS, band_levels
from device.hearing.segment_inputs import AHEAD, BEFORE, STEP, embedding_inputs, frame_inputs, reference_of
from device.hearing.segment_network import KINDS, REACH, chances

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.hearing.frames import Samples
    from device.hearing.segment_network import Array, Weights
    from device.hearing.wake import Detection

# So many frames after a frame may still change its chances: as far as the network sees, and as late as the embeddings
# come.
SETTLED = REACH + (AHEAD + 1) * STEP


class Features(Protocol):
    """The embeddings of one stream."""

    def features(self, frames: Samples) -> Array:
        """Return those of frames that follow, int16, shape (n, FRAME_SAMPLES): float32, shape (n, EMBEDDING)."""


class Segmenters:
    """Makes the segmenter of each detection.

    Args:
        new_stream: makes a stream of features that has heard nothing.
    """

    def __init__(self, new_stream: Callable[[], Features]) -> None:
        self._new_stream = new_stream
        self._weights, self._words = load(SHIPPED)

    def make(self, detection: Detection, history: Samples) -> StreamSegmenter:
        """Follow a detection.

        Args:
            detection: the wake word.
            history: int16, shape (n * VAD_SAMPLES,), what was heard up to it.
        """
        known = detection.word in self._words
        word = self._words.index(detection.word) if known else len(self._words)
        return StreamSegmenter(self._weights, word, self._new_stream(), detection.wake_sample, history)


class StreamSegmenter:
    """A Segmenter, see `device.hearing.take`.

    Args:
        weights: the network's.
        word: the wake word's number there.
        stream: a stream of features that nobody else uses.
        wake_sample: stream position of the detection.
        history: int16, shape (n * VAD_SAMPLES,), what was heard up to it.

    Attributes:
        knows_word: whether the network was taught the wake word.
        start_sample: stream position where the first frame begins.
    """

    def __init__(self, weights: Weights, word: int, stream: Features, wake_sample: int, history: Samples) -> None:
        self._weights = weights
        self._word = word
        self.knows_word = word < len(weights.words) - 1
        self._stream = stream
        fired = len(history) // VAD_SAMPLES
        self._before = min(fired, BEFORE)
        self.start_sample = wake_sample - self._before * VAD_SAMPLES
        levels = band_levels(history)
        self._reference = reference_of(levels if fired else np.zeros((1, BANDS), np.float32))
        self._frames = [frame_inputs(levels[fired - self._before :], self._reference, -self._before)]
        self._count = self._before
        steps = history[len(history) % FRAME_SAMPLES :].reshape(-1, FRAME_SAMPLES)
        self._embeddings = [stream.features(steps)] if len(steps) else []
        self._fired_step = len(steps)
        self._rest = np.empty(0, np.int16)  # heard, but no whole step yet
        self._settled = np.empty((0, KINDS), np.float32)
        self._newest: Array | None = None

    @property
    def chances(self) -> Array:
        """What each frame is part of, float32, shape (frames, KINDS)."""
        if self._newest is None:
            self._newest = self._segment()
        return self._newest

    def push(self, samples: Samples) -> None:
        """Hear the next samples, int16, shape (n * VAD_SAMPLES,)."""
        if not len(samples):
            return
        levels = band_levels(samples)
        self._frames.append(frame_inputs(levels, self._reference, self._count - self._before))
        self._count += len(levels)
        self._rest = np.concatenate([self._rest, samples])
        whole = len(self._rest) // FRAME_SAMPLES * FRAME_SAMPLES
        if whole:
            self._embeddings.append(self._stream.features(self._rest[:whole].reshape(-1, FRAME_SAMPLES)))
            self._rest = self._rest[whole:]
        self._newest = None

    def _segment(self) -> Array:
        """Segment the frames whose chances may still change, and keep those that will not any more."""
        known = len(self._settled)
        first = max(known - REACH, 0)
        frames = self._joined(self._frames)[first:]
        embeddings = self._joined(self._embeddings) if self._embeddings else np.empty((0, 96), np.float32)
        inputs = embedding_inputs(embeddings, self._fired_step, first - self._before, len(frames))
        found = chances(self._weights, self._word, frames, inputs)[known - first :]
        whole: Array = np.concatenate([self._settled, found])
        self._settled = whole[: max(len(whole) - SETTLED, known)]
        return whole

    @staticmethod
    def _joined(parts: list[Array]) -> Array:
        """Return the parts as one array, which takes their place."""
        if len(parts) > 1:
            parts[:] = [np.concatenate(parts)]
        return parts[0]
