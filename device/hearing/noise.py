"""How loud it is in each band of 20 ms, and how loud the room alone is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from device.hearing.frames import VAD_SAMPLES

if TYPE_CHECKING:
    from device.hearing.frames import Samples

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
# A steady noise's level in a band fluctuates: its power is a mean of as many exponentials as there are bins.
_LEAST_SPREAD_DB = np.maximum(4.34 / np.sqrt(np.maximum(_WIDTHS * 0.7, 1.0)), 1.2).astype(np.float32)
_STANDS_OUT = 6.0  # summed deviations of a frame that is no noise: steady noise itself has about 1.5
_LEAST_FRAMES = 8


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


def room_level(levels: Levels) -> Levels:
    """Estimate the noise's level in every band from frames of which at least some hold nothing else.

    The quieter part of the frames is taken for noise, then those that do not stand out of it, three times over.

    Args:
        levels: float32, shape (n, BANDS), n at least 1.

    Returns:
        float32, shape (BANDS,), in dB.
    """
    total = levels.mean(axis=1)
    level = levels[total <= np.quantile(total, 0.25)].mean(axis=0) + _LEAST_SPREAD_DB / 2
    spread = _LEAST_SPREAD_DB
    for _ in range(3):
        deviations = np.clip((levels - level) / spread - 1, 0, 5).sum(axis=1)
        noise = levels[deviations < _STANDS_OUT]
        if len(noise) < _LEAST_FRAMES:
            break
        level, spread = noise.mean(axis=0), np.maximum(noise.std(axis=0), _LEAST_SPREAD_DB)
    return np.asarray(level, np.float32)
