"""What the recorder hears right now, measured over the shoulder of the real pipeline."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from device.hearing.confirm import Unconfirmed
from device.hearing.frames import FRAME_SAMPLES, RATE_HZ, VAD_SAMPLES, Rechunker
from device.hearing.pipeline import Heard
from device.hearing.sound import Sound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from device.hearing.frames import Samples
    from device.hearing.gate import SpeechClassifier
    from device.hearing.pipeline import Pipeline

FLOOR_FRAMES = 50  # 4 s: the floor is the level that one frame in ten of these stays below
CPU_FRAMES = 38  # 3 s
ATTEMPT_SCORE = 0.1  # a score that only something like a wake word reaches
ATTEMPT_S = 2.0  # two such scores farther apart are two attempts to say it
DARKEST_DBFS = -90.0


@dataclass(frozen=True, slots=True)
class Reading:
    """One frame's measurements.

    Attributes:
        position_s: seconds of the stream until now.
        level_dbfs: the frame's level, RMS.
        floor_dbfs: the room's, of late.
        speech: does webrtcvad hear speech in it?
        open: is the gate open?
        scores: each wake word's score, 0 to 1.
        peaks: each wake word's highest score when it was last said, and the second of the stream at which it had it.
        detection: the wake word that was just heard, or that a second model did not confirm; None: neither.
        cpu: this program's share of one core of late, 1 being all of it.
        remark: what is wrong with the input; empty if nothing is.
    """

    position_s: float
    level_dbfs: float
    floor_dbfs: float
    speech: bool
    open: bool
    scores: dict[str, float]
    peaks: dict[str, tuple[float, float]]
    detection: Heard | Unconfirmed | None
    cpu: float
    remark: str = ""


class Peak:
    """The highest score of the last attempt to say a wake word, held until the next attempt.

    Attributes:
        score: the score, 0 before the first.
        at_s: when it was reached.
    """

    def __init__(self) -> None:
        self.score = self.at_s = 0.0
        self._last_s = -ATTEMPT_S

    def push(self, score: float, at_s: float) -> None:
        """Take the next frame's score."""
        if score >= ATTEMPT_SCORE:
            if at_s - self._last_s > ATTEMPT_S:
                self.score = 0.0
            self._last_s = at_s
        if score > self.score:
            self.score, self.at_s = score, at_s


class Meter:
    """Measures a stream frame by frame, by the pipeline that `run` would use.

    Args:
        pipeline: the one to watch.
        words: the wake words, in the order of the pipeline's scores.
        classifier: says what is speech.

    Attributes:
        words: the wake words.
        remark: what is known to be wrong with the input, to be shown with every reading.
    """

    def __init__(self, pipeline: Pipeline, words: Sequence[str], classifier: SpeechClassifier) -> None:
        self._pipeline = pipeline
        self.words = tuple(words)
        self._classifier = classifier
        self._chunks = Rechunker()
        self._levels: deque[float] = deque(maxlen=FLOOR_FRAMES)
        self._scores = [0.0] * len(self.words)  # the newest
        self._peaks = {word: Peak() for word in self.words}
        self._times: deque[tuple[float, float]] = deque([(time.monotonic(), time.process_time())], maxlen=CPU_FRAMES)
        self.remark = ""

    def push(self, block: Samples) -> Iterator[Reading]:
        """Take the next samples, int16, shape (n,); yield a reading for each whole frame."""
        for frame in self._chunks.push(block):
            detected = [event for event in self._pipeline.push(frame) if isinstance(event, Heard | Unconfirmed)]
            sound = Sound()
            sound.add(frame)
            level = max(sound.level_dbfs(), DARKEST_DBFS)
            self._levels.append(level)
            if len(newest := self._pipeline.scores):
                self._scores = newest[-1].tolist()
            is_open = self._pipeline.gate_open
            scores = dict(zip(self.words, self._scores if is_open else [0.0] * len(self.words), strict=True))
            at_s = self._pipeline.position / RATE_HZ
            for word, score in scores.items():
                self._peaks[word].push(score, at_s)
            yield Reading(
                position_s=at_s,
                level_dbfs=level,
                floor_dbfs=float(np.quantile(self._levels, 0.1)),
                speech=sum(map(self._classifier.is_speech, frame.reshape(-1, VAD_SAMPLES))) > 0,  # it hears every part
                open=is_open,
                scores=scores,
                peaks={word: (peak.score, peak.at_s) for word, peak in self._peaks.items()},
                detection=detected[-1] if detected else None,
                cpu=self._share(),
                remark=self.remark or _remark(sound),
            )

    def clear_peaks(self) -> None:
        """Forget the peaks held."""
        self._peaks = {word: Peak() for word in self.words}

    def hole(self, samples: int) -> None:
        """So many samples are missing here."""
        for _ in self._pipeline.hole(samples):
            pass  # what becomes of requests is not the meter's business

    def gap(self) -> None:
        """Another stream follows."""
        for _ in self._pipeline.gap():
            pass

    def _share(self) -> float:
        self._times.append((time.monotonic(), time.process_time()))
        (began, used_before), (now, used) = self._times[0], self._times[-1]
        return (used - used_before) / max(now - began, 1e-3)


def _remark(sound: Sound) -> str:
    """Say what is wrong with a frame."""
    if sound.level_dbfs() == -math.inf:
        return "digital silence"
    return "it clips: turn the microphone's gain down" if sound.clips() else ""


SECOND_FRAMES = round(RATE_HZ / FRAME_SAMPLES)
