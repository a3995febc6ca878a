"""Where a request begins and ends, once all of it has been heard: the noise is known from both sides then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from device.core.noise import Floor, Levels, Room, loudness, prominence, room_after, room_before
from device.core.wake_end import WakeEnd, wake_end

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device.core.wake import WordEnd

Mask = npt.NDArray[np.bool_]

# All in frames of 20 ms.
_TRAILING = 20  # at the end of a capture that silence ended: nobody spoke in them
_SEED, _GROW = 0.9, 0.5  # of what stands out: speech is what reaches the first, as far as it stays above the second
_GROW_DB = 1.0
_SMOOTH = (0.25, 0.5, 0.25)
_LEAST = 5  # that make a request
_NEAR = 15  # shorter bursts belong to the speech if they are as near to it as this
_BELOW_PEAK_DB = 45.0
_WAVER_DB = 0.5  # that a decay may rise
_LOUD_DB, _CRESTS = 6.0, (0.6, 0.4)  # a run's last syllable is between the last crest and the last loud one
# So long after the wake word's expected end a syllable may be its own last one still: of 378 bare wake words 12 have a
# later one, of 193 short words that follow at once 15 an earlier one. From _SURE on none is.
_LATER, _SURE = 2.0, 8.0
# The odds' logarithm from which on more was said, what a frame of lateness adds to it and one of earliness takes from
# it, and from where on it is sure:
# of 673 bare wake words -3.5 is the highest one, of 1432 with a request soon after two are below 1.4, -0.9 and -5.2.
_FOLLOWED, _LATENESS, _EARLINESS, _SURELY = -2.6, 0.12, 0.5, 0.0
_REACHES, _OWN = 3, 4  # from so long before the told end to so long after it the wake word may seem to end
_SOON = 20
_PAUSE = 38  # no request pauses so long
_MARGIN = 4
# How long the end of speech may be fainter than what stirred before the wake word, and the gap that may be before it:
# the last sound of "six".
_FADE, _FAINT_GAP = 10, 6
_STEADY_STIR_DB = 2.2
_ATTACK, _DECAY, _DECAY_DB = 3, 5, 2.0  # a knock is loudest at once, and less by so much in each of so many frames
_KNOCK = 30  # and over after this
# A first or last sound far below the rest drowns: how much sooner and later speech reaches than it shows.
_ONSET, _FAINT, _FAINT_DB, _DROWNED_DB = 3, 10, 14.0, 3.0


@dataclass(frozen=True, slots=True)
class Span:
    """A request in frames of 20 ms: speech from ``start`` up to ``end``; the wake word may reach to ``earliest``.

    Unless ``sure``, it may be the wake word's own last syllable. ``drowned`` says from 0 to 1 how much of its faint
    sounds the noise may hide.
    """

    earliest: int
    start: int
    end: int
    sure: bool
    drowned: float


def locate(
    levels: Levels,
    fired: int,
    scores: Sequence[float],
    told: WordEnd | None = None,
    *,
    kept: int = 0,
    trailing_silence: bool,
) -> Span | None:
    """Find the request in a whole capture.

    Args:
        levels: float32, shape (n, BANDS), all frames of 20 ms.
        fired: the frame after the last one that the detector had heard when it fired.
        scores: the wake word's recent scores, one per 80 ms, oldest first, the last being the one that fired.
        told: what the wake word's model tells, its sample counted from the first frame's first; None: there is none.
        kept: so many frames belong to a request already.
        trailing_silence: the capture was ended by silence.

    Returns:
        The frames that hold the request, or None if nothing was said.
    """
    if not len(levels):
        return None
    before = room_before(levels[:fired])
    mask = speech_mask(levels, before)
    closing = speech_mask(levels, _room_now(levels, mask)) if trailing_silence else mask
    mask &= closing
    mask[:kept] = False
    heard = np.convolve(loudness(levels, before.floor), _SMOOTH, "same")
    wake = wake_end(heard, fired, scores, told)
    lateness = {run: _lateness(run, wake, heard) for run in runs(mask)}
    later = [run for run in lateness if lateness[run] > _SURE]
    said = [run for run in lateness if run in later or _is_said(run, lateness[run], wake, later)]
    solid = [run for run in said if run[1] - max(run[0], wake.earliest) >= _LEAST]
    if wake.followed is None and len(solid) > 1 and lateness[solid[0]] < _SURE and solid[1][0] - solid[0][1] > _PAUSE:
        del solid[0]
    strongest = (levels - before.floor.level_db).max(axis=1)
    alone = len(said) == 1 and said[0][0] > wake.expected
    if not solid or (alone and _is_knock(strongest[slice(*said[0])])):
        return None
    start, end = solid[0][0], solid[-1][1]
    for run in reversed(said):
        start = run[0] if run[0] < start <= run[1] + _NEAR else start
    for run in said:
        end = run[1] if run[0] - _NEAR <= end < run[1] else end
    end += int(np.argmin(np.append(closing[end : end + _FADE], False)))
    for run in runs(closing):
        end = run[1] if end <= run[0] <= end + _FAINT_GAP else end
    earliest = max(wake.earliest - _MARGIN, 0)
    clear_db = np.quantile(heard[start:end], 0.8) - max(before.stir_db - _STEADY_STIR_DB, 0.0)
    drowned = float(np.clip((_FAINT_DB - clear_db) / (_FAINT_DB - _DROWNED_DB), 0.0, 1.0))
    faint = round(drowned**1.5 * _FAINT)
    sure = lateness[solid[-1]] >= _SURE or (wake.followed is not None and wake.followed >= _SURELY)
    return Span(earliest, max(start - _ONSET - faint, earliest), min(end + faint, len(levels)), sure, drowned)


def _room_now(levels: Levels, mask: Mask) -> Room:
    """Measure the room in the silence that ends a capture, before what may just begin to be said again."""
    begun = runs(mask[-_TRAILING:])
    end = len(levels)
    if begun and begun[-1][1] == min(_TRAILING, end) and begun[-1][0] > 0:
        end += begun[-1][0] - _TRAILING
    return room_after(levels[max(end - _TRAILING, 0) : end])


def speech_mask(levels: Levels, room: Room) -> Mask:
    """Mark the frames of speech: the clear ones, and what hangs together with them.

    Args:
        levels: float32, shape (n, BANDS).
        room: the noise.

    Returns:
        bool, shape (n,).
    """
    least = levels.mean(axis=1).max() - _BELOW_PEAK_DB
    floor = Floor(np.maximum(room.floor.level_db, least), room.floor.spread_db)
    scores = np.convolve(prominence(levels, floor), _SMOOTH, "same")
    heard = np.convolve(loudness(levels, room.floor), _SMOOTH, "same")
    seeds = (scores >= _SEED * room.stands_out) & (heard >= room.stir_db)
    mask = np.zeros(len(levels), np.bool_)
    for start, end in runs((scores >= _GROW * room.stands_out) & (heard >= room.stir_db - _GROW_DB)):
        mask[start:end] = seeds[start:end].sum() >= 2
    return mask


def runs(mask: Mask) -> list[tuple[int, int]]:
    """Return the first frame of each run of true frames, and the one after its last."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _lateness(run: tuple[int, int], wake: WakeEnd, heard: npt.NDArray[np.floating]) -> float:
    """Say how many frames after the wake word's expected end a run has its last syllable.

    A syllable is where its loudest moment is: it fades longer than it swells, in a room more than twice as long. What
    is said after the wake word has a loud syllable there; its own last sound is often but a weak one.
    """
    course = heard[run[0] : run[1]]
    crests = []
    for last in (len(course) - 1, int(np.flatnonzero(course >= course.max() - _LOUD_DB)[-1])):
        crest = last
        while crest > 0 and course[crest - 1] >= course[crest] - _WAVER_DB:
            crest -= 1
        crests.append(run[0] + crest)
    return float(np.dot(_CRESTS, crests)) - wake.expected


def _is_said(run: tuple[int, int], lateness: float, wake: WakeEnd, later: Sequence[tuple[int, int]]) -> bool:
    """Tell a word about the wake word's end from the wake word's own last syllable.

    Without a model of the wake word, a late syllable is another word's. Where there is one, it says whether more was
    said at once; a sound that ends with the wake word is its own if another one soon after it is what was said.
    """
    if wake.followed is None:
        return lateness > _LATER
    odds = wake.followed + min(_LATENESS * lateness, _EARLINESS * lateness)
    if odds <= _FOLLOWED or run[1] <= wake.expected - _REACHES:
        return False
    soon = any(wake.expected < start < wake.expected + _SOON for start, _ in later)
    return not soon or run[1] > wake.expected + _OWN


def _is_knock(course_db: npt.NDArray[np.floating]) -> bool:
    """Tell a click, a knock or a slammed door from a word: loudest at once, it fades in every frame from then on."""
    peak = int(np.argmax(course_db))
    fall = -np.diff(course_db[peak : peak + _DECAY + 1])
    return peak < _ATTACK and len(fall) == _DECAY and len(course_db) <= _KNOCK and bool(fall.min() >= _DECAY_DB)
