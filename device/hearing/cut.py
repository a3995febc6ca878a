"""Where a request begins and ends in what was segmented: pure arithmetic on the chances of frames of 20 ms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from device.hearing.segment_network import REQUEST, WAKE_WORD

if TYPE_CHECKING:
    from device.hearing.segment_network import Array

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CutRules:
    """What makes a request of frames; lengths in frames of 20 ms.

    Chosen by `scripts/bench-cutting` on 441 requests of synthetic voices and 500 scenes of people; ``--without`` shows
    what each is good for.

    Attributes:
        sure: the chance from which on a frame is the request's.
        least: so many such frames together make a request; fewer are a click, or the wake word's own last sound.
        near: fewer frames than ``least`` belong to the request that follows them within so many frames.
        wake_sure: the chance from which on a frame is the wake word's.
        begun: the chance in the newest frames from which on more may just be beginning: the network is sure of a frame
            only when it has heard what follows it.
        newest: how many frames those are.
        patience: for so many frames more at most a capture is kept open for what may be beginning.
        repeated: the share of what was said from which on it is the wake word again, where that was detected in it.
        own: frames before the detection; what ends earlier is part of a wake word that the network was not taught.
    """

    sure: float = 0.45
    least: int = 4
    near: int = 15
    wake_sure: float = 0.5
    begun: float = 0.05
    newest: int = 12
    patience: int = 30
    repeated: float = 0.7
    own: int = 5


@dataclass(frozen=True, slots=True)
class Span:
    """Frames from ``start`` up to ``end``."""

    start: int
    end: int


def request_in(chances: Array, earliest: int, rules: CutRules, *, wake_word_until: int = 0) -> Span | None:
    """Find the request: from its first frame to its last one so far; None: nothing was said yet.

    Args:
        chances: float32, shape (n, KINDS), see `segment_network.chances`.
        earliest: frames before this one count for nothing.
        rules: what makes a request.
        wake_word_until: what ends before this frame is part of the wake word.
    """
    said = chances[:, REQUEST] >= rules.sure
    said[:earliest] = False
    found = [(start, end) for start, end in runs(said) if end > wake_word_until]
    solid = [number for number, (start, end) in enumerate(found) if end - start >= rules.least]
    if not solid:
        return None
    first = solid[0]
    start = found[first][0]
    while first > 0 and start - found[first - 1][1] <= rules.near:
        first -= 1
        start = found[first][0]
    return Span(start, found[-1][1])


def begins(chances: Array, rules: CutRules) -> bool:
    """Say whether more may just be beginning to be said."""
    return bool(chances[-rules.newest :, REQUEST].max(initial=0.0) >= rules.begun)


def wake_word_in(chances: Array, fired: int, rules: CutRules) -> Span | None:
    """Find the wake word: the run of its frames that is nearest to the detection; None: there is none.

    Args:
        chances: float32, shape (n, KINDS).
        fired: the frame after the last one that was heard when the wake word was detected.
        rules: what makes a wake word.
    """
    found = runs(chances[:, WAKE_WORD] >= rules.wake_sure)
    if not found:
        return None
    nearest = min(found, key=lambda run: max(run[0] - fired, fired - run[1], 0))
    return Span(*nearest)


def share_of_wake_word(chances: Array, rules: CutRules) -> float:
    """Return which share of frames is the wake word's, 0 of none."""
    return float(np.mean(chances[:, WAKE_WORD] >= rules.wake_sure)) if len(chances) else 0.0


def runs(mask: Mask) -> list[tuple[int, int]]:
    """Return the first frame of each run of true frames, and the one after its last."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
