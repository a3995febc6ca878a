"""The engine ``streaming``: the scores of openwakeword's Model, each layer's past kept instead of computed again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from onnxruntime import OrtValue

from device.core.frames import FRAME_SAMPLES
from device.edges.wakeword.feature_graph import load_graph
from device.edges.wakeword.rewriting import ROW_SAMPLES, ROWS, SPAN_SAMPLES, WINDOW_START
from device.edges.wakeword.sessions import FEATURES, open_classifier, open_model
from device.edges.wakeword.word_ends import WordEnds
from device.edges.wakeword.words import model_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt
    from onnxruntime import InferenceSession

    from device.core.frames import Samples
    from device.core.wake import Detection, WordEnd
    from device.edges.wakeword.words import WordModel

BEFORE_SAMPLES = 3 * ROW_SAMPLES  # a frame's first row begins this long before it
SILENT_SCORES = 5  # openwakeword gives a word's first scores as 0
SETTLING_CALLS = 5  # of two frames: 80 rows, at least the 76 that a feature sees
BATCH_FRAMES = 4  # in one run of the graph, at most: 8 would cost 7 % less CPU a frame, and keep 0.7 MB for ever


class StreamingScorer:
    """A WakeScorer with the scores of openwakeword's Model, from the first frame of a stream on.

    Args:
        models: the words and their classifiers; all share one stream of features.
        cache_dir: where the rewritten graph of the features is kept; None: it is rewritten in memory.

    Raises:
        ModelError: a model is missing, is no model, or has a shape that cannot be used.
    """

    def __init__(self, models: Sequence[WordModel], cache_dir: Path | None) -> None:
        folder = model_folder()
        self.words = tuple(model.word for model in models)
        classifiers = [open_classifier(model.path) for model in models]
        longest = max(window for _, window in classifiers)
        # A window of features reaches 9 frames further back, because each of them sees 76 rows of 10 ms.
        self.context_frames = longest + 9
        graph = open_model(load_graph(folder, cache_dir), folder)
        self._stream = FeatureStream(graph)
        self._ends = WordEnds(models, FeatureStream(graph))
        self._recent = np.empty((longest, FEATURES), np.float32)
        self._classifiers = [_Classifier(session, self._recent[-window:]) for session, window in classifiers]
        self._scores = np.empty((1, len(self.words)), np.float32)
        # After each word's turn openwakeword counts the scores of all words so far, so that the first word's 5 scores
        # of a stream that are 0 are over sooner, the more words follow.
        self._silent_frames = [math.ceil(SILENT_SCORES / following) for following in range(len(models), 0, -1)]
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is scored as the first of a stream."""
        self._stream.reset()
        self._recent[:] = self._stream.silence
        self._scored = 0

    def score(self, frames: Samples) -> npt.NDArray[np.float32]:
        """Score frames that follow those of the call before.

        Args:
            frames: int16, shape (n, FRAME_SAMPLES).

        Returns:
            float32, shape (n, len(words)), each 0 to 1; valid until the next call.
        """
        if len(self._scores) != len(frames):
            self._scores = np.empty((len(frames), len(self.words)), np.float32)
        for start in range(0, len(frames), BATCH_FRAMES):
            batch = frames[start : start + BATCH_FRAMES]
            for row, features in zip(self._scores[start:], self._stream.push(batch), strict=False):
                self._recent[:-1] = self._recent[1:]
                self._recent[-1] = features
                for column, classifier in enumerate(self._classifiers):
                    row[column] = classifier.score()
        for column, silent in enumerate(self._silent_frames if self._scored < SILENT_SCORES else ()):
            self._scores[: max(silent - self._scored, 0), column] = 0
        self._scored += len(frames)
        return self._scores

    def word_end(self, detection: Detection, audio: Samples, start_sample: int) -> WordEnd | None:
        """Tell how a detected word ended; see `WordEnds.find`."""
        return self._ends.find(detection, audio, start_sample)


class FeatureStream:
    """The features of consecutive frames of one stream.

    Args:
        session: the graph of ``feature_graph.load_graph``.

    Attributes:
        silence: the features of digital silence, shape (96,): what a stream's past is made of.
    """

    def __init__(self, session: InferenceSession) -> None:
        self._session = session
        shapes = {value.name: value.shape for value in session.get_inputs() if value.name.startswith("state_")}
        self._states = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        self._before = np.zeros(BEFORE_SAMPLES, np.int16)
        self._calls: dict[int, _Call] = {}
        # By two, as most of a stream: what ten at once need, onnxruntime would keep for ever (2 MB).
        call = self._calls[2] = _Call(session, self._states, 2)
        for _ in range(SETTLING_CALLS):
            call.run()
        self.silence = call.features[-1].copy()
        call.heard[:] = False
        for _ in range(SETTLING_CALLS):
            call.run()
        call.heard[:] = True
        self._first_states = {name: state.copy() for name, state in self._states.items()}
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is the first of a stream."""
        for name, state in self._states.items():
            state[:] = self._first_states[name]
        self._at_start = True  # what _before holds then is not heard

    def push(self, frames: Samples) -> npt.NDArray[np.float32]:
        """Return the features of frames that follow those of the call before.

        Args:
            frames: int16, shape (n, FRAME_SAMPLES).

        Returns:
            float32, shape (n, 96), valid until the next call.
        """
        call = self._calls.get(len(frames))
        if call is None:
            call = self._calls[len(frames)] = _Call(self._session, self._states, len(frames))
        call.samples[:BEFORE_SAMPLES] = self._before
        call.samples[BEFORE_SAMPLES:] = frames.reshape(-1)
        self._before[:] = call.samples[-BEFORE_SAMPLES:]
        if self._at_start:
            call.heard[0, : BEFORE_SAMPLES // ROW_SAMPLES] = False
        call.run()
        if self._at_start:
            call.heard[:] = True
            self._at_start = False
        return call.features

    def features(self, frames: Samples) -> npt.NDArray[np.float32]:
        """Return the features of any number of frames that follow, int16, shape (n, FRAME_SAMPLES): shape (n, 96)."""
        batches = range(0, len(frames), BATCH_FRAMES)
        return np.concatenate([self.push(frames[start : start + BATCH_FRAMES]).copy() for start in batches])


class _Call:
    """The buffers of one call of the graph with a fixed number of frames, bound once."""

    def __init__(self, session: InferenceSession, states: dict[str, npt.NDArray[np.float32]], frames: int) -> None:
        self.samples = np.zeros(BEFORE_SAMPLES + frames * FRAME_SAMPLES, np.int16)
        self.heard = np.ones((frames, ROWS, 1), np.bool_)
        self.features = np.empty((frames, FEATURES), np.float32)
        self._spans = np.empty((frames, 1, 1, SPAN_SAMPLES), np.float32)
        self._windows = sliding_window_view(self.samples[WINDOW_START:], SPAN_SAMPLES)[::FRAME_SAMPLES]
        self._session = session
        self._binding = session.io_binding()
        self._bind_input("spans", self._spans)
        self._bind_input("heard", self.heard)
        self._binding.bind_ortvalue_output("features", OrtValue.ortvalue_from_numpy(self.features))
        for name, state in states.items():
            # In place: the graph cuts a layer's next state out of a copy of the old one and the new rows.
            self._bind_input(name, state)
            value = OrtValue.ortvalue_from_numpy(state)
            self._binding.bind_ortvalue_output(name.replace("state", "next"), value)

    def _bind_input(self, name: str, array: npt.NDArray[np.generic]) -> None:
        self._binding.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(array))

    def run(self) -> None:
        """Compute ``features`` and the next states from ``samples`` and ``heard``."""
        np.copyto(self._spans[:, 0, 0], self._windows)
        self._session.run_with_iobinding(self._binding)


class _Classifier:
    """One word's classifier, bound to the features it looks at."""

    def __init__(self, session: InferenceSession, window: npt.NDArray[np.float32]) -> None:
        self._session = session
        self._score = np.zeros((1, 1), np.float32)
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(session.get_inputs()[0].name, OrtValue.ortvalue_from_numpy(window[None]))
        self._binding.bind_ortvalue_output(session.get_outputs()[0].name, OrtValue.ortvalue_from_numpy(self._score))

    def score(self) -> float:
        """Return the score of the window as it is now."""
        self._session.run_with_iobinding(self._binding)
        return float(self._score[0, 0])
