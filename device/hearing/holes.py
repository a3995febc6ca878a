"""Short holes in the audio: bridged, so that time stays right, remembered, and silent in what is kept.

What fills a hole while decisions are made is the quietest sound of the last seconds. Digital silence would pass for a
new and much lower noise of the room: the gate would stay open for half a minute above it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from device.hearing.frames import FRAME_SAMPLES, RATE_HZ
from device.hearing.request import SilencedHole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from device.hearing.frames import Samples
    from device.hearing.request import Request

LONGEST_SAMPLES = RATE_HZ  # a second; a longer one is no hole but a gap


def room_tone(past: Samples, samples: int) -> Samples:
    """Return so many samples of the room without a voice: the quietest frame heard, back and forth.

    Args:
        past: int16, shape (n,), what was heard before; without a whole frame of it, silence is the answer.
        samples: how many are wanted.

    Returns:
        int16, shape (samples,).
    """
    frames = past[: len(past) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    if not len(frames):
        return np.zeros(samples, np.int16)
    quietest = frames[np.argmin(frames.std(axis=1))]
    there_and_back = np.concatenate([quietest, quietest[::-1]])  # no click where it begins again
    return np.resize(there_and_back, samples)


class Holes:
    """The holes of one stream, as stream positions."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []

    def add(self, start: int, samples: int) -> None:
        """Remember a hole; each begins after the one before."""
        self._spans.append((start, start + samples))

    def forget(self, before: int) -> None:
        """Forget those that end before a position."""
        self._spans = [span for span in self._spans if span[1] > before]

    def within(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return the holes' parts between two positions, as pairs of positions."""
        return [(max(first, start), min(last, end)) for first, last in self._spans if first < end and last > start]


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans in order, those that touch as one."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1]:
            found[-1] = found[-1][0], max(last, found[-1][1])
        else:
            found.append((first, last))
    return found


def silenced(request: Request, spans: Iterable[tuple[int, int]]) -> Request:
    """Return a request with these parts of the stream, all within it, listed as holes and silent in its PCM."""
    if not (spans := merged(spans)):
        return request
    pcm = request.pcm.copy()
    for first, last in spans:
        pcm[first - request.start_sample : last - request.start_sample] = 0
    holes = tuple(SilencedHole(start_sample=first, duration_s=(last - first) / RATE_HZ) for first, last in spans)
    return replace(request, pcm=pcm, holes=holes)
