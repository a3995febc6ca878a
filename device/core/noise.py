"""What the room sounds like while nobody speaks: levels in bands, their floor, and how far a frame stands above it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from device.core.frames import VAD_SAMPLES

if TYPE_CHECKING:
    from device.core.frames import Samples

Levels = npt.NDArray[np.float32]

# Edges of the bands in Hz, about a quarter of an octave to half an octave wide: speech above a steady noise shows in
# some bands long before it shows in the whole. Below 100 Hz live direct current, rumble and the mains' fundamental.
EDGES_HZ = (100, 200, 300, 400, 500, 650, 800, 1000, 1200, 1450, 1750, 2100, 2500, 3000, 3600, 4400, 5400, 6600, 7800)
BANDS = len(EDGES_HZ) - 1
_BIN_HZ = 16_000 / VAD_SAMPLES
_STARTS = np.array([round(edge / _BIN_HZ) for edge in EDGES_HZ])
_WIDTHS = np.diff(_STARTS).astype(np.float32)
_WINDOW = np.hanning(VAD_SAMPLES + 1)[:-1].astype(np.float32)
_GAIN = np.float32(np.sum(_WINDOW**2))
QUIET_DB = 17.0  # added to every band as power: rounding noise and digital silence are one and the same quiet


def band_levels(samples: Samples) -> Levels:
    """Measure the level in every band of consecutive frames of 20 ms.

    Args:
        samples: int16, shape (n * VAD_SAMPLES,).

    Returns:
        float32, shape (n, BANDS), the mean power of a band's bins in dB (0 dB: white noise with a deviation of 1).
    """
    frames = samples.reshape(-1, VAD_SAMPLES).astype(np.float32)
    spectrum = np.fft.rfft(frames * _WINDOW)
    power = (spectrum.real**2 + spectrum.imag**2)[:, : _STARTS[-1]]
    bands = np.add.reduceat(power, _STARTS[:-1], axis=1) / (_WIDTHS * _GAIN)
    levels: Levels = (10 * np.log10(bands + 10 ** (QUIET_DB / 10))).astype(np.float32)
    return levels


@dataclass(frozen=True, slots=True)
class Floor:
    """A noise's level in every band and its spread, both float32, shape (BANDS,), in dB."""

    level_db: Levels
    spread_db: Levels


# A steady noise's level in a band fluctuates: its power is a mean of as many exponentials as there are bins.
_STEADY_DB = (4.34 / np.sqrt(np.maximum(_WIDTHS * 0.7, 1.0))).astype(np.float32)
_LEAST_SPREAD_DB = np.maximum(_STEADY_DB, 1.2)


def floor_of(levels: Levels) -> Floor:
    """Estimate the noise from frames of which at least some hold nothing else.

    The quieter part of the frames is taken for noise, then those that do not stand out of it, three times over.

    Args:
        levels: float32, shape (n, BANDS), n at least 1.
    """
    total = levels.mean(axis=1)
    quiet = levels[total <= np.quantile(total, 0.25)]
    floor = Floor(quiet.mean(axis=0) + _LEAST_SPREAD_DB / 2, _LEAST_SPREAD_DB)
    for _ in range(3):
        noise = levels[prominence(levels, floor) < 6.0]
        if len(noise) < 8:
            break
        floor = Floor(
            noise.mean(axis=0).astype(np.float32),
            np.maximum(noise.std(axis=0), _LEAST_SPREAD_DB).astype(np.float32),
        )
    return floor


def prominence(levels: Levels, floor: Floor) -> npt.NDArray[np.float32]:
    """Say how far frames stand above a noise: the excess over it in deviations, summed over the bands.

    Args:
        levels: float32, shape (n, BANDS).
        floor: the noise.

    Returns:
        float32, shape (n,): about 1.5 in the noise itself, tens in speech.
    """
    excess = (levels - floor.level_db) / floor.spread_db - 1
    summed: npt.NDArray[np.float32] = np.clip(excess, 0, 5).sum(axis=1)
    return summed


def loudness(levels: Levels, floor: Floor) -> npt.NDArray[np.float32]:
    """Say how loud frames are above a noise.

    Args:
        levels: float32, shape (n, BANDS).
        floor: the noise.

    Returns:
        float32, shape (n,), in dB: the mean over the bands, those below the noise counting as 0. About 1 in a steady
        noise itself.
    """
    above: npt.NDArray[np.float32] = np.maximum(levels - floor.level_db, 0).mean(axis=1)
    return above


@dataclass(frozen=True, slots=True)
class Room:
    """What was heard before anybody spoke to the device.

    Attributes:
        floor: the steady part of it.
        stir_db: the loudness over the floor that its unsteady part (voices, music, rain) hardly exceeds.
        clear_db: the loudness that only who speaks to the device reaches; where the noise is steady, 0: it tells
            nothing there that the prominence does not tell sooner.
        stands_out: the prominence, in most of a few frames, that is none of the room's own doing.
    """

    floor: Floor
    stir_db: float
    clear_db: float
    stands_out: float


_WAKE_FRAMES = 62  # before a detection: the wake word, and what the detector needed to be sure of it
_LEAST_FRAMES = 10
# Most of five frames of a steady noise never reach a prominence of 3: in none of 450 rooms, 2 s each. What a room does
# beyond that before the wake word, it may do again.
_LEAST_STANDS_OUT, _MOST_STANDS_OUT, _STANDS_OUT_UNKNOWN = 5.0, 9.0, 7.0
_RESTLESS, _MARGIN = 1.5, 1.5
_BURST = 5


def room_before(levels: Levels) -> Room:
    """Measure the room on what was heard up to a detection.

    Args:
        levels: float32, shape (n, BANDS), the last frame being the last one before the detection.
    """
    if not len(levels):
        return Room(Floor(np.zeros(BANDS, np.float32), _LEAST_SPREAD_DB), 0.0, 0.0, _STANDS_OUT_UNKNOWN)
    floor = floor_of(levels)
    before = levels[:-_WAKE_FRAMES]
    if len(before) < _LEAST_FRAMES:
        return Room(floor, 0.0, 0.0, _STANDS_OUT_UNKNOWN)
    heard = loudness(levels, floor)
    often = np.quantile(heard[: len(before)], 0.95)
    word = np.quantile(heard[-60:], 0.8)
    if often > 0.75 * word:  # as loud as the wake word: whoever talked then, it was no noise of the room
        often = min(often, 2 * np.quantile(heard[: len(before)], 0.25) + 2.0)
    stir = min(often + 1.0, 0.6 * word)
    unsteady = np.clip((often - 2.0) / 3.0, 0.0, 1.0)
    clear = max(stir, often + 0.25 * unsteady * (word - often)) if unsteady else 0.0
    return Room(floor, float(stir), float(clear), _stands_out(before, floor))


def room_after(levels: Levels) -> Room:
    """Measure the room on frames in which nobody spoke to the device.

    Args:
        levels: float32, shape (n, BANDS), n at least 1.
    """
    floor = floor_of(levels)
    stir = float(np.quantile(loudness(levels, floor), 0.95))
    return Room(floor, stir, stir, _stands_out(levels, floor))


def _stands_out(levels: Levels, floor: Floor) -> float:
    """Say from which prominence on most of a few frames are none of the room's own doing."""
    if len(levels) < _BURST:
        return _STANDS_OUT_UNKNOWN
    bursts = np.lib.stride_tricks.sliding_window_view(prominence(levels, floor), _BURST)
    restless = float(np.quantile(np.median(bursts, axis=1), 0.98))
    return float(np.clip(_RESTLESS * restless + _MARGIN, _LEAST_STANDS_OUT, _MOST_STANDS_OUT))
