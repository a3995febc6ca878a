"""Several devices heard one wake word: the one with the best score is answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from device.hearing.words import BUTTON

if TYPE_CHECKING:
    from device.message.tag import Tag


@dataclass(frozen=True, slots=True)
class Decision:
    """Who is answered.

    Attributes:
        winner: the id of the request with the best score; of equals the first that came.
        outdone: the other devices' requests, by id.
    """

    winner: str
    outdone: tuple[str, ...]


class Arbitration:
    """Holds each request for a moment, in which other devices' requests with the same wake word may come.

    Time is passed in: seconds of any clock that only goes forward.

    Args:
        window_s: how long the first request of a round is held; 0: not at all, and nobody is outdone.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._rounds: list[tuple[float, list[Tag]]] = []  # when each ends, the soonest first

    def offer(self, tag: Tag, now_s: float) -> None:
        """Take a request into the round of its wake word, or begin one."""
        for end_s, tags in self._rounds:
            heard_by_others = all(other.device != tag.device for other in tags)
            if now_s < end_s and tags[0].wake_word == tag.wake_word != BUTTON and heard_by_others:
                tags.append(tag)
                return
        self._rounds.append((now_s + self._window_s, [tag]))

    def due(self, now_s: float) -> list[Decision]:
        """Return what is decided by now, each round once."""
        over = [tags for end_s, tags in self._rounds if end_s <= now_s]
        self._rounds = [(end_s, tags) for end_s, tags in self._rounds if end_s > now_s]
        return [_decided(tags) for tags in over]

    def next_s(self) -> float | None:
        """Return when something will be due; None: nothing waits."""
        return self._rounds[0][0] if self._rounds else None


def _decided(tags: list[Tag]) -> Decision:
    best = max(tags, key=lambda tag: tag.score)
    return Decision(best.id, tuple(tag.id for tag in tags if tag is not best))
