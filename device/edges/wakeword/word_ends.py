"""Where a bundled wake word ended, and whether more was said at once: told from its embeddings and the level."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from device.core.frames import FRAME_SAMPLES, VAD_SAMPLES, samples_of
from device.core.noise import BANDS, band_levels, floor_of
from device.edges.wakeword.word_end_model import BEFORE, FIRST, HEARD_AFTER, Surroundings, WordEndModel
from device.edges.wakeword.words import BUNDLED_WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from device.core.frames import Samples
    from device.core.wake import Detection, WordEnd
    from device.edges.wakeword.streaming import FeatureStream
    from device.edges.wakeword.words import WordModel

SETTLING = 10  # an embedding depends on the 10 frames of 80 ms before its own
HEARD_BEFORE = SETTLING + BEFORE - FIRST
ROOM_S = 4.0  # of what was heard before the detection the noise is measured
SCALE_DB, LEAST, MOST = 6.0, -1.0, 8.0  # the models' unit of level, and the levels beyond which more tells no more
WEIGHTS = Path(__file__).parents[2] / "resources" / "word_ends.npy"


class WordEnds:
    """The models of every bundled word, learnt by ``scripts/train-word-ends`` from synthetic voices.

    Args:
        models: the words that can be detected.
        stream: a stream of features that nobody else uses.
    """

    def __init__(self, models: Sequence[WordModel], stream: FeatureStream) -> None:
        rows = dict(zip(BUNDLED_WORDS, np.load(WEIGHTS).astype(np.float32), strict=True))
        self._models = {model.word: WordEndModel(rows[model.word]) for model in models if model.bundled}
        self._stream = stream

    def find(self, detection: Detection, audio: Samples, start_sample: int) -> WordEnd | None:
        """Tell how a detected word ended; None: it is no bundled word, or it came too early in the stream.

        Args:
            detection: the word.
            audio: int16, shape (n,), what was heard before the detection and after it, as far as it was heard yet;
                what is missing of the second after it counts as silence.
            start_sample: the stream position of the audio's first sample.
        """
        model = self._models.get(detection.word)
        if model is None:
            return None
        fired = detection.wake_sample - start_sample
        heard = surroundings(audio, fired, self._stream)
        return model.tell(heard, detection) if heard.before >= BEFORE + 1 else None


def surroundings(audio: Samples, fired: int, stream: FeatureStream) -> Surroundings:
    """Return what the models look at.

    Args:
        audio: int16, shape (n,).
        fired: how many of its samples were heard when the word was detected.
        stream: is reset first.
    """
    before = min(fired // FRAME_SAMPLES, HEARD_BEFORE)
    heard = audio[fired - before * FRAME_SAMPLES : fired + HEARD_AFTER * FRAME_SAMPLES]
    padded = np.zeros((before + HEARD_AFTER) * FRAME_SAMPLES, np.int16)
    padded[: len(heard)] = heard
    stream.reset()
    return Surroundings(stream.features(padded.reshape(-1, FRAME_SAMPLES)), before, _levels(audio, fired))


def _levels(audio: Samples, fired: int) -> npt.NDArray[np.float32]:
    """Return `Surroundings.levels`, 0 where nothing was heard."""
    before = min(fired, samples_of(ROOM_S)) // VAD_SAMPLES
    last = fired + (Surroundings.LEVELS - Surroundings.FIRED) * VAD_SAMPLES
    heard = audio[fired - before * VAD_SAMPLES : last]
    levels = band_levels(heard[: len(heard) // VAD_SAMPLES * VAD_SAMPLES])
    above = np.zeros((Surroundings.LEVELS, BANDS), np.float32)
    if before:
        known = np.clip((levels - floor_of(levels[:before]).level_db) / SCALE_DB, LEAST, MOST)
        known = known[max(before - Surroundings.FIRED, 0) :]
        first = max(Surroundings.FIRED - before, 0)
        above[first : first + len(known)] = known
    return above
