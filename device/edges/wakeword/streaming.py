"""The engine ``streaming``: the scores of openwakeword's Model, each layer's past kept instead of computed again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from onnxruntime import OrtValue

from device.edges.wakeword.feature_graph import load_graph
from device.edges.wakeword.features import BATCH_FRAMES, FeatureGraph
from device.edges.wakeword.segmenter import Segmenters
from device.edges.wakeword.sessions import FEATURES, open_classifier, open_model
from device.edges.wakeword.words import model_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt
    from onnxruntime import InferenceSession

    from device.edges.wakeword.segmenter import StreamSegmenter
    from device.edges.wakeword.words import WordModel
    from device.hearing.frames import Samples
    from device.hearing.wake import Detection

SILENT_SCORES = 5  # openwakeword gives a word's first scores as 0


class StreamingScorer:
    """A WakeScorer with the scores of openwakeword's Model, from the first frame of a stream on.

    Args:
        models: the words and their classifiers; all share one stream of features.
        cache_dir: where the rewritten graph of the features is kept; None: it is rewritten in memory.

    Attributes:
        graph: what makes the features.

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
        self.graph = FeatureGraph(open_model(load_graph(folder, cache_dir), folder))
        self._stream = self.graph.stream()
        self._segmenters = Segmenters(self.graph.stream)
        self._recent = np.empty((longest, FEATURES), np.float32)
        self._classifiers = [_Classifier(session, self._recent[-window:]) for session, window in classifiers]
        self._scores = np.empty((1, len(self.words)), np.float32)
        # After each word's turn openwakeword counts the scores of all words so far, so that the first word's 5 scores
        # of a stream that are 0 are over sooner, the more words follow.
        self._silent_frames = [math.ceil(SILENT_SCORES / following) for following in range(len(models), 0, -1)]
        self._recent[:] = self.graph.silence
        self._scored = 0

    def reset(self) -> None:
        """Forget everything: the next frame is scored as the first of a stream."""
        self._stream.reset()
        self._recent[:] = self.graph.silence
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

    def segmenter(self, detection: Detection, history: Samples) -> StreamSegmenter:
        """Make what follows a detection; see `Segmenters.make`."""
        return self._segmenters.make(detection, history)


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
