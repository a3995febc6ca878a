"""Frames, units, re-chunking and the ring that keeps the recent past; everything counts samples of one stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator

Samples = npt.NDArray[np.int16]

RATE_HZ = 16_000
FRAME_SAMPLES = 1_280  # 80 ms: the hop of openwakeword's models
VAD_SAMPLES = 320  # 20 ms: four webrtcvad frames make one wake frame


def samples_of(seconds: float) -> int:
    """Seconds of audio as a whole number of samples at 16 kHz, rounded to the nearest."""
    return round(seconds * RATE_HZ)


class Rechunker:
    """Cuts blocks of any length into frames of ``FRAME_SAMPLES``: n full frames in, n out, however they were split."""

    def __init__(self) -> None:
        self._rest = np.empty(FRAME_SAMPLES, np.int16)
        self._filled = 0

    @property
    def waiting(self) -> int:
        """How many samples wait for the rest of their frame."""
        return self._filled

    def push(self, block: Samples) -> Iterator[Samples]:
        """Yield every frame that ``block`` completes.

        Args:
            block: int16, shape (n,), any n.

        Yields:
            int16 arrays of shape (FRAME_SAMPLES,); a frame may be a view of ``block``.
        """
        start = 0
        if self._filled:
            start = min(FRAME_SAMPLES - self._filled, len(block))
            self._rest[self._filled : self._filled + start] = block[:start]
            self._filled += start
            if self._filled < FRAME_SAMPLES:
                return
            self._filled = 0
            yield self._rest.copy()
        end = start + (len(block) - start) // FRAME_SAMPLES * FRAME_SAMPLES
        for position in range(start, end, FRAME_SAMPLES):
            yield block[position : position + FRAME_SAMPLES]
        self._filled = len(block) - end
        self._rest[: self._filled] = block[end:]

    def flush(self) -> Samples:
        """Return what is left, shape (fewer than FRAME_SAMPLES,), and forget it."""
        rest = self._rest[: self._filled].copy()
        self._filled = 0
        return rest


class AudioRing:
    """The last ``capacity`` samples of a stream, addressed by their position in the stream.

    ``end`` is the position after the newest sample, ``start`` the position of the oldest one still held.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._buffer = np.zeros(
            2 * capacity, np.int16
        )  # written up to its end, then moved: a slice is always one piece
        self._origin = 0  # the stream position of the buffer's first element
        self.start = 0
        self.end = 0

    def append(self, block: Samples) -> None:
        """Add int16 samples, shape (n,); n must not exceed the capacity."""
        used = self.end - self._origin
        if used + len(block) > len(self._buffer):
            keep = max(self._capacity - len(block), 0)
            self._buffer[:keep] = self._buffer[used - keep : used]
            self._origin = self.end - keep
            used = keep
        self._buffer[used : used + len(block)] = block
        self.end += len(block)
        self.start = max(self.start, self.end - self._capacity)

    def slice(self, start: int, end: int) -> Samples:
        """Return the samples from ``start`` up to ``end`` as a view, valid until the next ``append``.

        Raises:
            IndexError: a part of the range is no longer, or not yet, held.
        """
        if not self.start <= start <= end <= self.end:
            raise IndexError(f"samples {start} to {end} are not among {self.start} to {self.end}")
        return self._buffer[start - self._origin : end - self._origin]

    def restart(self, position: int) -> None:
        """Forget everything; the next sample appended has this stream position."""
        self._origin = self.start = self.end = position
