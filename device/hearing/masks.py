"""The parts of a stream in which the device itself plays something, as stream positions.

What it plays is none of a request: a capture hears the room of before in its place, and what is kept is silent there.
The wake word is still listened for, so that somebody can interrupt; but not the words that are in what is played.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from device.hearing.frames import RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Hashable

    from device.hearing.frames import Samples

LATE_SAMPLES = RATE_HZ  # so late a model may still fire at a word that was said


@dataclass(frozen=True, slots=True)
class _Mask:
    key: Hashable
    start: int
    end: int
    tone: Samples
    own: frozenset[str]


class Masks:
    """The masks of one stream."""

    def __init__(self) -> None:
        self._masks: list[_Mask] = []

    def begin(
        self, key: Hashable, start: int, tone: Samples, *, samples: int, own: frozenset[str] = frozenset()
    ) -> None:
        """Begin a mask.

        Args:
            key: whose it is.
            start: stream position.
            tone: int16, shape (n,), the room without a voice, put in the place of what is played, over and over.
            samples: how long it is, unless `end` ends it sooner.
            own: the wake words that are in what is played.
        """
        self._masks.append(_Mask(key, start, start + samples, tone, own))

    def end(self, key: Hashable, end: int) -> None:
        """End somebody's mask at a stream position."""
        self._masks = [
            replace(mask, end=max(min(mask.end, end), mask.start)) if mask.key == key else mask for mask in self._masks
        ]

    def restart(self, position: int) -> None:
        """Another stream begins at this position: only what reaches beyond it goes on."""
        self._masks = [mask for mask in self._masks if mask.start <= position < mask.end]

    def forget(self, before: int) -> None:
        """Forget those that ended before a position, and can set nothing off any more."""
        self._masks = [mask for mask in self._masks if mask.end + LATE_SAMPLES > before]

    def within(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return the masked parts between two positions, as pairs of positions."""
        parts = [(max(mask.start, start), min(mask.end, end)) for mask in self._masks]
        return [(first, last) for first, last in parts if first < last]

    def hide(self, samples: Samples, start: int) -> Samples:
        """Return what a capture hears of a part of the stream, int16, shape (n,), that begins at a position."""
        heard = samples
        for mask in self._masks:
            first, last = max(mask.start - start, 0), min(mask.end - start, len(samples))
            if first < last:
                heard = heard.copy() if heard is samples else heard
                heard[first:last] = np.resize(mask.tone, last - first)
        return heard

    def plays(self, word: str, at: int) -> bool:
        """Say whether a wake word that is detected at a position is what the device itself says."""
        return any(word in mask.own and mask.start <= at < mask.end + LATE_SAMPLES for mask in self._masks)
