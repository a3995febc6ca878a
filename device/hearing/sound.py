"""How loud audio is, and what is wrong with it as a recording of somebody: digital silence, clipping, no numbers.

A constant offset, which a bad input may have, is no sound: levels are measured about the mean.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

SILENT_DBFS = -90.0  # quieter than any microphone's own noise: muted, dead, or not connected
FULL_SCALE = 32_768
_CLIPPED = 32_700 / FULL_SCALE  # two samples in a row beyond it: a converter at its limit
_CLIPPED_SHARE = 0.001
_LOUDER_DB = 30.0  # another channel by so much louder than the chosen one: that one is hardly the microphone's


class Sound:
    """Measures a stream of one or more channels, block by block."""

    def __init__(self) -> None:
        self._samples = 0
        self._sum: npt.NDArray[np.float64] = np.zeros(0)
        self._squares: npt.NDArray[np.float64] = np.zeros(0)
        self._clipped: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._no_numbers: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._room: npt.NDArray[np.float64] = np.empty((0, 0))  # a new one for each block would cost more than the sums

    def add(self, block: npt.NDArray[Any]) -> None:
        """Take the next samples: int16, or floats of which 1 is full scale; shape (n,) or (n, channels)."""
        values = self._floats(block.reshape(len(block), -1))
        scale = FULL_SCALE if block.dtype == np.int16 else 1  # of the sums, which is cheaper than of every sample
        if not self._samples:
            channels = values.shape[1]
            self._sum, self._squares = np.zeros(channels), np.zeros(channels)
            self._clipped, self._no_numbers = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
        if block.dtype != np.int16 and not np.isfinite(values).all():
            bad = ~np.isfinite(values)
            self._no_numbers += bad.sum(axis=0)
            values[bad] = 0.0
        extremes = block if block.dtype == np.int16 else values
        if extremes.max(initial=0) >= _CLIPPED * scale or extremes.min(initial=0) <= -_CLIPPED * scale:
            at_limit = np.abs(values) >= _CLIPPED * scale
            self._clipped += (at_limit[1:] & at_limit[:-1]).sum(axis=0)
        self._samples += len(values)
        # By channel: numpy takes 20 times as long along the axis of two.
        self._sum += [float(channel.sum()) / scale for channel in values.T]
        self._squares += [float(channel @ channel) / scale**2 for channel in values.T]

    def _floats(self, block: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return a block, shape (n, channels), as floats; they are valid until the next one."""
        if len(self._room) < len(block):
            self._room = np.empty(block.shape)
        values = self._room[: len(block)]
        with np.errstate(invalid="ignore"):  # a signalling NaN; it is counted by `add`
            np.copyto(values, block)
        return values

    def level_dbfs(self, channel: int = 1) -> float:
        """The level of a channel, counted from 1: its RMS about its mean in dB of full scale; -inf: no sound at all."""
        if not self._samples:
            return -math.inf
        mean = self._sum[channel - 1] / self._samples
        power = self._squares[channel - 1] / self._samples - mean**2
        return 10 * math.log10(power) if power > 1e-13 else -math.inf  # what rounding leaves of a constant is none

    def clips(self, channel: int = 1) -> bool:
        """Whether a channel is cut off at full scale."""
        return bool(self._samples and self._clipped[channel - 1] >= max(_CLIPPED_SHARE * self._samples, 3))

    def remarks(self, channel: int = 1) -> list[str]:
        """Say what is wrong with a channel, in a line each that says what to do; empty if nothing is."""
        if not self._samples:
            return []
        levels = [self.level_dbfs(number) for number in range(1, len(self._sum) + 1)]
        level, loudest = levels[channel - 1], int(np.argmax(levels))
        lines = []
        if level < SILENT_DBFS and levels[loudest] >= SILENT_DBFS:
            lines.append(
                f"channel {channel} is silent, but channel {loudest + 1} holds sound: "
                f"set [microphone] channel = {loudest + 1}"
            )
        elif level < SILENT_DBFS:
            lines.append("it is silent: nothing but the same number over and over, or less than any microphone's noise")
        elif levels[loudest] >= level + _LOUDER_DB:
            lines.append(
                f"channel {loudest + 1} is {levels[loudest] - level:.0f} dB louder than channel {channel}: "
                "is that the microphone ([microphone] channel)?"
            )
        if self._no_numbers[channel - 1]:
            count = self._no_numbers[channel - 1]
            lines.append(f"{count} of its samples are no numbers (NaN or infinite) and count as silence or full scale")
        if self.clips(channel):
            share = self._clipped[channel - 1] / self._samples
            lines.append(
                f"it clips: {share:.1%} of its samples are cut off at full scale; turn the microphone's gain down"
            )
        return lines


def level_dbfs(samples: npt.NDArray[Any]) -> float:
    """The level of samples as `Sound.level_dbfs` measures it; int16 or floats, shape (n,)."""
    sound = Sound()
    sound.add(samples)
    return sound.level_dbfs()
