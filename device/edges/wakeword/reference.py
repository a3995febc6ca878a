"""The engine ``reference``: openwakeword's own code, to compare with, and where its networks cannot be rewritten."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from device.edges.wakeword.segmenter import Segmenters
from device.edges.wakeword.sessions import FEATURES, open_classifier
from device.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt
    from openwakeword.utils import AudioFeatures

    from device.edges.wakeword.segmenter import StreamSegmenter
    from device.edges.wakeword.words import WordModel
    from device.hearing.frames import Samples
    from device.hearing.wake import Detection

MEL_BUFFER = (76, 32)  # ones, at the start of a stream


class ReferenceScorer:
    """openwakeword's Model as a WakeScorer.

    Args:
        models: the words and their classifiers.

    Raises:
        ModelError: a classifier is no model, or has a shape that cannot be used.
    """

    def __init__(self, models: Sequence[WordModel]) -> None:
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

        with _no_word_of_cuda():
            self._model = Model(wakeword_model_paths=[str(model.path) for model in models])
        self._names = [model.path.stem for model in models]
        self._features = _Features(self._model.preprocessor)
        self._segmenters = Segmenters(lambda: _Features(_own_features()))

    def reset(self) -> None:
        """Forget everything: the next frame is scored as the first of a stream."""
        self._model.reset()  # forgets the predictions only
        self._features.reset()

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

    def segmenter(self, detection: Detection, history: Samples) -> StreamSegmenter:
        """Make what follows a detection; see `Segmenters.make`."""
        return self._segmenters.make(detection, history)


class _Features:
    """openwakeword's features of one stream, as `features.FeatureStream` has them.

    Args:
        made_by: openwakeword's; nothing was heard with it yet.
    """

    def __init__(self, made_by: AudioFeatures) -> None:
        self._made_by = made_by
        self._first = made_by.feature_buffer.copy()

    def reset(self) -> None:
        """Forget everything: the next frame is the first of a stream."""
        made_by = self._made_by
        made_by.raw_data_buffer.clear()
        made_by.accumulated_samples = 0
        made_by.melspectrogram_buffer = np.ones(MEL_BUFFER)
        made_by.feature_buffer = self._first.copy()

    def features(self, frames: Samples) -> npt.NDArray[np.float32]:
        """Return the features of frames that follow, int16, shape (n, FRAME_SAMPLES): shape (n, FEATURES)."""
        found = np.empty((len(frames), FEATURES), np.float32)
        for row, frame in zip(found, frames, strict=True):
            self._made_by(frame)
            row[:] = self._made_by.feature_buffer[-1]
        return found


def _own_features() -> AudioFeatures:
    from openwakeword.utils import AudioFeatures

    with _no_word_of_cuda():
        return AudioFeatures()


@contextmanager
def _no_word_of_cuda() -> Iterator[None]:
    """Say nothing of CUDA, for which openwakeword asks first, and of which onnxruntime warns that it is not there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
