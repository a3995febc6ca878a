"""The engine ``reference``: openwakeword's own Model, to compare with and to fall back on."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from device.edges.wakeword.feature_graph import load_graph
from device.edges.wakeword.sessions import open_classifier, open_model
from device.edges.wakeword.streaming import FeatureStream
from device.edges.wakeword.word_ends import WordEnds
from device.edges.wakeword.words import model_folder
from device.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from device.core.frames import Samples
    from device.core.wake import Detection, WordEnd
    from device.edges.wakeword.words import WordModel

MEL_BUFFER = (76, 32)  # ones, at the start of a stream


class ReferenceScorer:
    """openwakeword's Model as a WakeScorer.

    Args:
        models: the words and their classifiers.
        cache_dir: where the rewritten graph of the features is kept, from which a word's end is told.

    Raises:
        ModelError: a classifier is no model, or has a shape that cannot be used.
    """

    def __init__(self, models: Sequence[WordModel], cache_dir: Path | None) -> None:
        self.words = tuple(model.word for model in models)
        # A window of features reaches 9 frames further back, because each of them sees 76 rows of 10 ms.
        self.context_frames = max(open_classifier(model.path)[1] for model in models) + 9
        # Its scikit-learn and scipy cost 0.95 s and 170 MB: imported only by who asks for this engine.
        try:
            from openwakeword.model import Model
        except ImportError as error:
            raise ModelError(
                f'engine = "reference" runs openwakeword\'s own code, which cannot be imported: {error}',
                hint="scripts/setup --extras reference brings what it needs",
            ) from error

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it asks for CUDA first, and onnxruntime warns of that
            self._model = Model(wakeword_model_paths=[str(model.path) for model in models])
        self._names = [model.path.stem for model in models]
        folder = model_folder()
        self._ends = WordEnds(models, FeatureStream(open_model(load_graph(folder, cache_dir), folder)))
        self._first_features = self._model.preprocessor.feature_buffer.copy()

    def reset(self) -> None:
        """Forget everything: the next frame is scored as the first of a stream."""
        # Model.reset forgets the predictions only.
        self._model.reset()
        features = self._model.preprocessor
        features.raw_data_buffer.clear()
        features.accumulated_samples = 0
        features.melspectrogram_buffer = np.ones(MEL_BUFFER)
        features.feature_buffer = self._first_features.copy()

    def score(self, frames: Samples) -> npt.NDArray[np.float32]:
        """Score frames that follow those of the call before.

        Args:
            frames: int16, shape (n, FRAME_SAMPLES).

        Returns:
            float32, shape (n, len(words)), each 0 to 1.
        """
        scores = np.empty((len(frames), len(self.words)), np.float32)
        for row, frame in zip(scores, frames, strict=True):
            predictions = self._model.predict(frame)
            row[:] = [predictions[name] for name in self._names]
        return scores

    def word_end(self, detection: Detection, audio: Samples, start_sample: int) -> WordEnd | None:
        """Tell how a detected word ended; see `WordEnds.find`."""
        return self._ends.find(detection, audio, start_sample)
