"""Where in what a microphone heard lies what a loudspeaker played, and how faithfully it came through; pure.

Signals are floats of full scale 1, 16 kHz mono, shape (n,).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import signal

from device.hearing.frames import RATE_HZ, samples_of

Signal = npt.NDArray[np.float64]

CHIRP_S = 0.2
CHIRP_HZ = (400.0, 6_000.0)  # what the smallest loudspeaker plays and a telephone-like microphone still hears
CHIRP_LEVEL = 0.25
LEAST_CHIRP = 0.25  # how well a chirp must fit: no speech and no noise fits by half of it
CLIPPED = 0.998  # of full scale
QUIETEST_DBFS = -100.0  # what digital silence counts as
WINDOW_S = 0.5  # the lag is measured in windows of this length
FARTHEST_S = 0.02  # between neighbouring windows
JUMP_S = 0.001
NEAR = 8  # samples: half of JUMP_S
AS_GOOD = 0.9
LEAST_FIT = 0.5  # correlation coefficient of a window whose lag is believed
FRAME_S = 0.01
DIP_DB = 30.0  # a frame so far below what is expected of it was lost: no room's echo falls as fast
LOUD_DB = 15.0  # frames that lie at most so far below the recording's level count for dips


@dataclass(frozen=True, slots=True)
class Chirp:
    """A chirp found in a signal.

    Attributes:
        sample: where it begins; a fraction, since two clocks seldom agree on a whole sample.
        fit: how well it fits there, up to 1.
    """

    sample: float
    fit: float


@dataclass(frozen=True, slots=True)
class Alignment:
    """The part of a stream in which a recording was heard.

    Attributes:
        start: the stream position of the recording's first sample.
        stretch: samples heard for each sample played.
    """

    start: float
    stretch: float

    @property
    def drift_ppm(self) -> float:
        """How much faster the microphone's clock runs than the loudspeaker's, in millionths."""
        return (self.stretch - 1) * 1e6

    def at(self, sample: float) -> float:
        """Return the stream position of a sample of the recording."""
        return self.start + sample * self.stretch

    def back(self, position: float) -> float:
        """Return the sample of the recording that was heard at a stream position."""
        return (position - self.start) / self.stretch


def chirp() -> Signal:
    """Return the sound that marks both ends of a recording: rising, faded in and out."""
    seconds = np.arange(samples_of(CHIRP_S)) / RATE_HZ
    rising = signal.chirp(seconds, CHIRP_HZ[0], CHIRP_S, CHIRP_HZ[1], phi=-90)
    return np.asarray(rising * signal.windows.tukey(len(seconds), 0.2) * CHIRP_LEVEL, np.float64)


def find_chirp(heard: Signal) -> Chirp | None:
    """Return the clearest chirp in a signal of at least its length; None: there is none."""
    fit = np.abs(_fit(chirp(), heard))
    peak = int(np.argmax(fit))
    if fit[peak] < LEAST_CHIRP:
        return None
    return Chirp(peak + _between(fit, peak), float(fit[peak]))


def _fit(part: Signal, heard: Signal) -> Signal:
    """Return how well a sound fits at each place of a signal: the correlation coefficient, -1 to 1."""
    match = signal.correlate(heard, part, mode="valid", method="fft")
    energy = signal.correlate(heard**2, np.ones(len(part)), mode="valid", method="fft")
    # Below a step of 16 bits there is nothing to fit, only what the computation leaves.
    least = len(part) * (0.5 / 32768) ** 2
    return np.asarray(match / np.sqrt(np.maximum(energy, least) * float(np.sum(part**2))))


def _between(values: Signal, peak: int) -> float:
    """Return how far beside a peak its parabola's top lies, in samples."""
    if not 0 < peak < len(values) - 1:
        return 0.0
    before, top, after = (float(value) for value in values[peak - 1 : peak + 2])
    curve = before - 2 * top + after
    return 0.5 * (before - after) / curve if curve else 0.0


def level_dbfs(samples: Signal) -> float:
    """Return the root mean square in dB of full scale; ``QUIETEST_DBFS`` for silence or nothing."""
    power = float(np.mean(samples**2)) if len(samples) else 0.0
    return max(10 * np.log10(power), QUIETEST_DBFS) if power > 0 else QUIETEST_DBFS


def floor_dbfs(samples: Signal) -> float:
    """Return the room's level: the root mean square of the loudest tenths of a second but one in ten."""
    parts = frames(samples, 0.1)
    return float(np.quantile([level_dbfs(part) for part in parts], 0.9)) if len(parts) else QUIETEST_DBFS


def loud(samples: Signal) -> Signal:
    """Return the loudest quarter of the tenths of a second: of speech its vowels."""
    length = RATE_HZ // 10
    parts = samples[: len(samples) // length * length].reshape(-1, length)
    if not len(parts):
        return samples
    power = np.mean(parts**2, axis=1)
    return np.asarray(parts[power >= np.quantile(power, 0.75)].ravel())


def frames(samples: Signal, length_s: float) -> npt.NDArray[np.float64]:
    """Return whole frames of a length, shape (n, samples of the length)."""
    length = samples_of(length_s)
    return samples[: len(samples) // length * length].reshape(-1, length)


def clipped_samples(heard: Signal) -> int:
    """Count the samples that stand at full scale beside another that does: one alone may be a true peak."""
    full = np.abs(heard) >= CLIPPED
    return int(np.count_nonzero(full[1:] & full[:-1]))


def jumps(played: Signal, heard: Signal) -> list[tuple[float, float]]:
    """Find where sound went missing or came twice: there the lag between played and heard jumps.

    Args:
        played: the recording.
        heard: the same stretch of the stream, the first sample on the recording's first.

    Returns:
        For each jump, where in the recording in seconds, and by how many seconds; negative: sound is missing.
    """
    window, margin = samples_of(WINDOW_S), samples_of(FARTHEST_S)
    lags: list[tuple[float, float]] = []
    for start in range(0, min(len(played), len(heard)) - window - margin, window):
        part = played[start : start + window]
        if level_dbfs(part) < level_dbfs(played) - LOUD_DB:
            continue
        first = max(start - margin, 0)
        expected = start - first + (round(lags[-1][1] * RATE_HZ) if lags else 0)
        found = _lag(part, heard[first : start + window + margin], expected)
        if found is not None:
            lags.append(((start + window / 2) / RATE_HZ, (first + found - start) / RATE_HZ))
    changes = [(after[0], after[1] - before[1]) for before, after in pairwise(lags)]
    return [(second, change) for second, change in changes if abs(change) > JUMP_S]


def _lag(part: Signal, heard: Signal, expected: int) -> float | None:
    """Return where in ``heard`` a part lies; None where it is not clear.

    Of a hum, which fits a period further as well, it lies where it is expected.
    """
    fit = _fit(part, heard)
    peak = int(np.argmax(fit))
    near = max(expected - NEAR, 0)
    usual = near + int(np.argmax(fit[near : expected + NEAR + 1]))
    if fit[usual] > AS_GOOD * fit[peak]:
        peak = usual
    return peak + _between(fit, peak) if fit[peak] >= LEAST_FIT else None


def dips(played: Signal, heard: Signal) -> list[float]:
    """Find where heard sound breaks off though the recording goes on: the seconds at which such frames begin.

    Args:
        played: the recording.
        heard: the same stretch of the stream, aligned.
    """
    length = min(len(played), len(heard))
    ours, theirs = (
        np.array([level_dbfs(frame) for frame in frames(samples[:length], FRAME_S)]) for samples in (played, heard)
    )
    if not len(ours):
        return []
    loud = ours > level_dbfs(played) - LOUD_DB
    # A frame beside a quiet one may be quiet itself where the alignment is off by a part of a frame.
    steady = loud & np.roll(loud, 1) & np.roll(loud, -1)
    gain = float(np.median((theirs - ours)[steady])) if steady.any() else 0.0
    lost = steady & (theirs < ours + gain - DIP_DB)
    begins = lost & ~np.roll(lost, 1)
    return [round(float(number) * FRAME_S, 2) for number in np.flatnonzero(begins)]


def resampled(played: Signal, stretch: float, length: int) -> Signal:
    """Return a recording as the microphone's clock counts it: ``length`` samples, shape (length,)."""
    at = np.arange(length) / stretch
    return np.interp(at, np.arange(len(played)), played, left=0.0, right=0.0)
