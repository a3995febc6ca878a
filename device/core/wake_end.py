"""Where the wake word ends: the detector fires near its end, before or after it, and a request may follow at once.

Three things tell: the course of the scores, for any word; a model of the word, where there is one; and a valley of the
level, which makes either exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from device.core.frames import FRAME_SAMPLES, VAD_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device.core.wake import WordEnd

Curve = npt.NDArray[np.floating]

_STEP = FRAME_SAMPLES // VAD_SAMPLES  # frames of 20 ms to a score
# Measured on 669 detections of two words by 107 voices at 5 to 30 dB. The frame that fires says little: the word ended
# 0.24 s before it or 0.10 s, by the word, with a deviation of 0.13 and 0.16 s. Where the score first leaves these
# levels (the mean of the two), the word ends 0.02 s later with a deviation of 0.08 s, whatever the word.
_RISEN = (0.002, 0.01)
_SLOPE = 0.9
_DIPS = 3  # scores below it that a rise may have inside
_LATER, _DEVIATION = 1.3, 4.0  # frames of 20 ms
# Who knows the word tells its end with a deviation of 0.02 s in scenes that nobody learnt from. Once in a
# while it is as far off as anything, so the course keeps a say.
_SURELY, _TOLD_DEVIATION = 0.98, 1.5
_REACH = 17  # frames around the rise among which the end is looked for
# How much likelier a valley of this depth is at the boundary than elsewhere, as a logarithm: measured on 126 requests
# that follow without a pause, then taken at 0.7 of it, which cut fewer starts. Silence's weight was found by trying.
_DEPTH_DB = (0.0, 0.5, 1.5, 3.0, 5.0, 8.0, 12.0)
_EVIDENCE = (-2.5, -2.1, -0.8, -0.3, 0.1, 0.8, 1.0)
_SILENT_DB, _SILENCE = 2.0, 2.0  # so little above the noise nobody speaks
_DECAYED_DB, _WAVER_DB = 5.0, 0.5
_PEAK_BEFORE, _PEAK_AFTER = 10, 12  # frames in which a valley's shoulders are looked for
_EARLIEST, _TOLD_EARLIEST = 0.12, 0.05  # so likely it ended before the earliest frame


@dataclass(frozen=True, slots=True)
class WakeEnd:
    """The frame of 20 ms after the wake word's last one.

    Attributes:
        earliest: it hardly ends before this one.
        expected: the one that the word's model tells, or else the scores' course, whatever the level.
        followed: what the word's model says of whether more was said at once; None: there is no model.
    """

    earliest: int
    expected: float
    followed: float | None


def rise_of(scores: Sequence[float], level: float) -> int:
    """Count how many scores before the last one the score began to rise.

    Args:
        scores: one per 80 ms, oldest first, the last being the one that fired.
        level: a score below it has not risen.
    """
    risen = dips = 0
    for back, score in enumerate(reversed(scores)):
        if score >= level:
            risen, dips = back, 0
        elif (dips := dips + 1) > _DIPS:
            break
    return risen


def doubt_samples(scores: Sequence[float]) -> int:
    """Return for how long before it fired a detection had been coming, in samples: a slow one fires late."""
    return rise_of(scores, _RISEN[-1]) * FRAME_SAMPLES


def course_end(scores: Sequence[float]) -> float:
    """Return where the scores' course says that the word ended, in frames of 20 ms after the one that fired.

    Args:
        scores: one per 80 ms, oldest first, the last being the one that fired.
    """
    return _LATER - _SLOPE * _STEP * float(np.mean([rise_of(scores, level) for level in _RISEN]))


def wake_end(loudness_db: Curve, fired: int, scores: Sequence[float], told: WordEnd | None = None) -> WakeEnd:
    """Weigh where the word is said to end against where the level has a valley.

    Args:
        loudness_db: float32, shape (n,), level above the noise by frame of 20 ms, from before the wake word on.
        fired: the frame after the last one that the detector had heard when it fired.
        scores: the wake word's recent scores, one per 80 ms, oldest first, the last being the one that fired.
        told: what the word's model tells, its sample counted from the first frame's first; None: there is none.
    """
    course = fired + course_end(scores)
    expected = course if told is None else told.sample / VAD_SAMPLES
    first, last = max(int(expected) - _REACH, 0), min(int(expected) + _REACH, len(loudness_db))
    frames = np.arange(first, max(last, first + 1))
    evidence = np.interp([_depth(loudness_db, frame) for frame in frames.tolist()], _DEPTH_DB, _EVIDENCE)
    silent = _silent(loudness_db)[np.minimum(frames, len(loudness_db) - 1)]
    likely = _bell(frames - course, _DEVIATION)
    if told is not None:
        likely = _SURELY * _bell(frames - expected, _TOLD_DEVIATION) + (1 - _SURELY) * likely
    odds = likely * np.exp(np.where(silent, _SILENCE, evidence))
    share = _EARLIEST if told is None else _TOLD_EARLIEST
    earliest = frames[np.searchsorted(np.cumsum(odds) / odds.sum(), share)]
    return WakeEnd(int(earliest), expected, None if told is None else told.followed)


def _bell(distance: npt.NDArray[np.floating], deviation: float) -> npt.NDArray[np.floating]:
    """The normal distribution's density, but for a constant factor; nowhere so small that all of it could be 0."""
    density: npt.NDArray[np.floating] = np.exp(-0.5 * (distance / deviation) ** 2) / deviation + 1e-12
    return density


def _silent(loudness_db: Curve) -> npt.NDArray[np.bool_]:
    """Mark silence, and before it the decay in which only the room still sounds."""
    silent = np.asarray(loudness_db < _SILENT_DB)
    for frame in np.flatnonzero(silent[1:] & ~silent[:-1]).tolist():
        top = frame
        while top > 0 and loudness_db[top - 1] >= loudness_db[top] - _WAVER_DB:
            top -= 1
        decay = loudness_db[top : frame + 1]
        silent[top : frame + 1] |= np.maximum.accumulate(decay[::-1])[::-1] <= decay.max() - _DECAYED_DB
    return silent


def _depth(loudness_db: Curve, frame: int) -> float:
    """How far a frame lies below the lower one of the peaks around it, in dB."""
    if frame >= len(loudness_db):
        return 0.0
    before = loudness_db[max(frame - _PEAK_BEFORE, 0) : frame + 1].max()
    after = loudness_db[frame : frame + _PEAK_AFTER].max()
    return float(min(before, after) - loudness_db[frame])
