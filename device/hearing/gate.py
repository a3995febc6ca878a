"""Is anybody speaking: decides, frame by frame, whether inference is worth running at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from device.hearing.frames import FRAME_SAMPLES, VAD_SAMPLES

if TYPE_CHECKING:
    from device.hearing.frames import Samples

LAG = 8  # samples: a difference over 0.5 ms weighs 500 to 1500 Hz most, mains hum and rumble least
HANG_OVER_FRAMES = 12  # about a second: scores peak while a wake word is spoken or half a second later
RISE = 10**0.3  # 3 dB above the floor; steady noise of any colour stays below it, 80 ms at a time
FLOOR_GROWTH = 10**0.01  # 0.1 dB a frame: how fast the floor follows a room that becomes louder


class SpeechClassifier(Protocol):
    """Says of consecutive frames of 20 ms whether they hold speech; may adapt to what it hears."""

    def is_speech(self, frame: Samples) -> bool:
        """Classify the next frame, int16, shape (VAD_SAMPLES,)."""


class Gate:
    """Opens on the first sign of speech and stays open for a hang-over after the last.

    Two signs, because each is deaf where the other is not: a classifier, asked about one 20 ms slice of each 80 ms
    frame only, since this runs all day; and a level that rises above the room's floor, by which also a voice is heard
    that is too quiet for webrtcvad. The level is that of the difference between samples 0.5 ms apart, in which voices
    weigh most. The floor is the lowest level of late (a minimum that grows slowly).

    Args:
        classifier: hears the slices.
    """

    def __init__(self, classifier: SpeechClassifier) -> None:
        self._classifier = classifier
        self._frame = np.empty(FRAME_SAMPLES, np.float32)
        self._later, self._earlier = self._frame[LAG:], self._frame[:-LAG]
        self._change = np.empty(FRAME_SAMPLES - LAG, np.float32)
        self._floor = np.inf
        self._left = 0

    def push(self, frame: Samples) -> bool:
        """Return whether the gate is open for this frame, int16, shape (FRAME_SAMPLES,)."""
        if self._rises(frame) | self._classifier.is_speech(frame[:VAD_SAMPLES]):
            self._left = HANG_OVER_FRAMES
        elif self._left:
            self._left -= 1
        return self._left > 0

    def hold(self) -> None:
        """Keep the gate open for a whole hang-over from here."""
        self._left = HANG_OVER_FRAMES

    def _rises(self, frame: Samples) -> bool:
        self._frame[:] = frame
        np.subtract(self._later, self._earlier, out=self._change)
        level = float(self._change.dot(self._change)) + FRAME_SAMPLES  # digital silence has a level too
        self._floor = min(level, self._floor * FLOOR_GROWTH)
        return level > self._floor * RISE
