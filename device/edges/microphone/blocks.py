"""From the callback to the reader: a bounded queue of what the device delivered, and its conversion to 16 kHz mono."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from device.hearing.frames import RATE_HZ, Samples

if TYPE_CHECKING:
    from collections.abc import Callable

QUEUE_S = 10.0  # rides out an SD card that stalls; 1 MB for most microphones, 4 MB at 96 kHz and two channels


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """What was opened.

    Attributes:
        device: the device's label.
        rate_hz: its rate.
        channels: how many there are.
        source: the sound server's source that it comes from, for people; empty: none that is known.
    """

    device: str
    rate_hz: int
    channels: int
    source: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive samples: int16, shape (n,) with n > 0, 16 kHz mono."""

    samples: Samples


@dataclass(frozen=True, slots=True)
class Hole:
    """The stream goes on, but so many samples at 16 kHz before the next block are missing: something was too slow."""

    samples: int


@dataclass(frozen=True, slots=True)
class Gap:
    """The stream ended, lost or muted, and another one follows: nobody knows how much is missing."""

    why: Literal["lost", "muted"]


@dataclass(frozen=True, slots=True)
class Mark:
    """Here, between the blocks before it and those after it, the reader is to do something."""

    action: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class RawBlock:
    """What one callback delivered: interleaved int16 of ``stream.channels``."""

    pcm: bytes
    stream: StreamFormat

    @property
    def seconds(self) -> float:
        """How long it sounds."""
        return len(self.pcm) / (2 * self.stream.channels * self.stream.rate_hz)


@dataclass(frozen=True, slots=True)
class Missing:
    """So much is missing before the next block."""

    seconds: float


class BlockQueue:
    """Blocks, and what is missing between them, in order; at most QUEUE_S of sound.

    A microphone cannot wait: when it is full the oldest goes, and a hole stands in its place. PortAudio's
    callback and the owner put, the reader gets; one lock guards all, held for a few instructions.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._items: deque[RawBlock | Missing | Mark | Gap] = deque()
        self._held_s = 0.0
        self._marks: deque[Mark] = deque()  # that stood among what was dropped or forgotten: they come first
        # What was dropped from the front since the last get: how much sound, and whether a stream ended in it.
        self._missing_s = 0.0
        self._gap: Gap | None = None

    def put(self, item: RawBlock | Missing | Mark | Gap) -> None:
        """Append, dropping the oldest as needed; never waits for the reader."""
        with self._lock:
            self._items.append(item)
            if isinstance(item, RawBlock):
                self._held_s += item.seconds
                while self._held_s > QUEUE_S:
                    self._drop(self._items.popleft())
            self._arrived.notify()

    def _drop(self, item: RawBlock | Missing | Mark | Gap) -> None:
        if isinstance(item, Mark):
            self._marks.append(item)
            return
        if isinstance(item, Gap):
            self._gap = item
            return
        self._missing_s += item.seconds
        if isinstance(item, RawBlock):
            self._held_s -= item.seconds

    def clear(self) -> None:
        """Forget every sound not read yet."""
        with self._lock:
            self._marks.extend(item for item in self._items if isinstance(item, Mark))
            self._items.clear()
            self._held_s = self._missing_s = 0.0
            self._gap = None

    def get(self, timeout_s: float) -> RawBlock | Missing | Mark | Gap | None:
        """Return the next item, or None if none came within ``timeout_s``."""
        deadline_s = time.monotonic() + timeout_s
        with self._lock:
            while not self._items and not self._marks:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    return None
                self._arrived.wait(left_s)
            if self._marks:
                return self._marks.popleft()
            if self._gap or self._missing_s:
                dropped = self._gap or Missing(self._missing_s)
                self._gap, self._missing_s = None, 0.0
                return dropped
            item = self._items.popleft()
            if isinstance(item, RawBlock):
                self._held_s -= item.seconds
            return item


class Converter:
    """What the queue gives, as its reader gets it: one channel at 16 kHz, streaming: no block's border is heard.

    Args:
        channel: the one to take, counted from 1.
    """

    def __init__(self, channel: int) -> None:
        self._channel = channel
        self._stream: StreamFormat | None = None
        self._resampler: Any = None

    def convert(self, item: RawBlock | Missing | Mark | Gap) -> list[Block | Hole | Mark | Gap]:
        """Return what comes of an item; nothing while the resampler fills.

        What the resampler holds was heard before a hole or a mark, so it comes before them; a gap ends it.
        """
        match item:
            case RawBlock():
                return _block(self._resampled(item))
            case Missing(seconds):
                return [*_block(self._flush()), Hole(round(seconds * RATE_HZ))]
            case Mark():
                return [*_block(self._flush()), item]
            case Gap():
                self._flush()
                return [item]

    def _flush(self) -> Samples:
        rest: Samples = np.empty(0, np.int16)
        if self._stream is not None and self._resampler is not None:
            rest = self._resampler.resample_chunk(rest, last=True)
        self._stream = None
        return rest

    def _resampled(self, block: RawBlock) -> Samples:
        if block.stream is not self._stream:
            self._stream = block.stream
            self._resampler = None
            if block.stream.rate_hz != RATE_HZ:
                import soxr

                self._resampler = soxr.ResampleStream(block.stream.rate_hz, RATE_HZ, 1, dtype="int16")
        frames = np.frombuffer(block.pcm, np.int16).reshape(-1, block.stream.channels)
        samples: Samples = np.ascontiguousarray(frames[:, min(self._channel, block.stream.channels) - 1])
        return samples if self._resampler is None else self._resampler.resample_chunk(samples)


def _block(samples: Samples) -> list[Block | Hole | Mark | Gap]:
    return [Block(samples)] if len(samples) else []
