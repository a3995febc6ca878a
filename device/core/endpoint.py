"""Speech or not, 20 ms at a time, for the one question that cannot wait: has the person stopped talking?

webrtcvad alone hears steady noise as speech, a level alone hears a door as speech. So webrtcvad only chooses how far a
frame must stand above the room's noise floor (`noise.py`), and the floor follows the room: it is measured on what was
heard before the wake word and never stays below what the last second never fell below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from device.core.frames import VAD_SAMPLES
from device.core.noise import BANDS, Floor, Levels, band_levels, loudness, prominence, room_before

if TYPE_CHECKING:
    from device.core.frames import Samples

# What stands out of the room is speech if webrtcvad agrees, and what stands out so much further also if it does not;
# while speech goes on, less is enough.
FAR = 4 / 3
LINGERS, LINGERS_FAR = 2 / 3, 1.0
_ENOUGH, _BURST = 3, 5  # so many frames out of so many: shorter sounds are clicks
_STEADY = 1.5  # a band that varies no more than this against the room's own noise holds a noise
_RECENT = 40  # frames of 20 ms: no speech keeps up its level in a band for a second


class SpeechClassifier(Protocol):
    """Says of consecutive frames of 20 ms whether they hold speech; may adapt to what it hears."""

    def is_speech(self, frame: Samples) -> bool:
        """Classify the next frame, int16, shape (VAD_SAMPLES,)."""


class Endpointer:
    """Follows one capture, frame by frame, and keeps what it measured for the cut that comes at the end.

    Args:
        classifier: a fresh one; it hears the history first, so that decisions depend on nothing before it.
        history: int16, shape (n * VAD_SAMPLES,), what was heard up to the detection.

    Attributes:
        frames: how many frames of 20 ms were heard, history included.
    """

    def __init__(self, classifier: SpeechClassifier, history: Samples) -> None:
        self._classifier = classifier
        self._levels = np.zeros((max(512, 2 * len(history) // VAD_SAMPLES), BANDS), np.float32)
        self._voices = np.zeros(len(self._levels), np.bool_)
        self.frames = 0
        self._hear(history)
        self._room = room_before(self.levels)
        self._speaking = False
        self._recent = [False] * _BURST

    @property
    def levels(self) -> Levels:
        """Band levels of all frames, float32, shape (frames, BANDS)."""
        return self._levels[: self.frames]

    @property
    def voices(self) -> npt.NDArray[np.bool_]:
        """The classifier's word on all frames, bool, shape (frames,)."""
        return self._voices[: self.frames]

    def push(self, samples: Samples) -> list[bool]:
        """Hear the next samples, int16, shape (n * VAD_SAMPLES,), and say for each 20 ms whether it is speech."""
        first = self.frames
        self._hear(samples)
        floor = self.floor()
        heard = self.levels[first:]
        clear = loudness(heard, self._room.floor) >= self._room.clear_db
        scores = np.where(clear, prominence(heard, floor), 0.0)
        return [
            self._decide(float(score), bool(voice)) for score, voice in zip(scores, self.voices[first:], strict=True)
        ]

    def _hear(self, samples: Samples) -> None:
        end = self.frames + len(samples) // VAD_SAMPLES
        if end > len(self._levels):
            self._levels = np.concatenate([self._levels, np.zeros_like(self._levels)])
            self._voices = np.concatenate([self._voices, np.zeros_like(self._voices)])
        self._levels[self.frames : end] = band_levels(samples)
        for index, frame in enumerate(samples.reshape(-1, VAD_SAMPLES), self.frames):
            self._voices[index] = self._classifier.is_speech(frame)
        self.frames = end

    def floor(self) -> Floor:
        """The noise that the next frames are held against: the room's, or what the last second never fell below."""
        recent = self.levels[-_RECENT:]
        mean, spread = recent.mean(axis=0), recent.std(axis=0)
        least = np.partition(recent, len(recent) // 10, axis=0)[len(recent) // 10]
        steady = spread < _STEADY * self._room.floor.spread_db
        level = np.maximum(self._room.floor.level_db, np.where(steady, mean, least))
        return Floor(level, self._room.floor.spread_db)

    def _decide(self, score: float, voice: bool) -> bool:
        agreed, alone = (LINGERS, LINGERS_FAR) if self._speaking else (1.0, FAR)
        self._recent = [*self._recent[1:], score >= self._room.stands_out * (agreed if voice else alone)]
        self._speaking = sum(self._recent) >= _ENOUGH
        return self._speaking
