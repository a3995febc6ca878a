"""The next requests, read while there is time for it, and the proof at each claim that nothing has changed since."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from device.edges.store import outbox
from device.edges.store.schema import DamagedError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection

    from device.core.moment import Clock, Now
    from device.core.review import Review
    from device.edges.store.database import Database
    from device.edges.store.records import Claimed

_FRESH_S = 1.0  # what was read longer ago is read anew, for its waited_s
_AT_ONCE = 16  # rows read by one statement; it begins with two, and doubles as long as all are claimed
_AT_ONCE_BYTES = 256 * 1024  # of sound; no more are read once so many are


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read ahead.

    Attributes:
        seq: its number.
        claimed: what its claim will yield.
        current: the review choice that counted.
        stamp: of the state of the database that all this was read from.
        read_s: when, on the clock since boot.
    """

    seq: int
    claimed: Claimed
    current: Review
    stamp: tuple[int, int]
    read_s: float


class ReadAhead:
    """Reads some requests ahead, for one thread that claims.

    Args:
        db: the database.
        clock: tells the time.
        done: the ids that are acknowledged and not yet deleted.
        read_review: reads the choice that counts.
    """

    def __init__(
        self, db: Database, clock: Clock, done: Collection[str], read_review: Callable[[sqlite3.Connection], Review]
    ) -> None:
        self._db = db
        self._clock = clock
        self._done = done
        self._read_review = read_review
        self._next: _Read | None = None
        self._place: _Read | None = None  # the last one that was offered: reading goes on behind it
        self._rows: deque[outbox.Row] = deque()  # of those behind it, read from the same state
        self._rows_at: tuple[Now, float] | None = None  # when, in both ways of telling it
        self._at_once = 1

    def read(self, wanted: Callable[[str, bool], bool]) -> Claimed | None:
        """Read the oldest request that is wanted, and keep it for one claim; to be called outside ``held``."""
        found = self._following(wanted)
        if found is None:
            self._rows.clear()
            self._at_once = 1
            found = self._db.read(lambda db: self._first(db, wanted))
        self._next = found
        self._place = found or self._place
        return None if found is None else found.claimed

    def take(self) -> Callable[[sqlite3.Connection, Callable[[str, bool], bool]], Claimed | None] | None:
        """Return what proves, inside the claim's transaction, that the request read ahead can be had; None if none was.

        It yields the request only if it is still wanted and nobody has written anything since the state it was read
        from, so that the choice and the tag are what reading them again would give.
        """
        ahead, self._next = self._next, None
        if ahead is None or _now_s() > ahead.read_s + _FRESH_S:
            return None

        def prove(db: sqlite3.Connection, wanted: Callable[[str, bool], bool]) -> Claimed | None:
            tag = ahead.claimed.tag
            if ahead.stamp != self._db.stamp(db):
                self._place = None  # nor does what was read with it hold
                return None
            return ahead.claimed if tag.id not in self._done and wanted(tag.id, tag.review.opt_out) else None

        return prove

    def _following(self, wanted: Callable[[str, bool], bool]) -> _Read | None:
        """Return the one behind the last, read with some more by a single statement, which needs no transaction.

        The stamp is that of the state where the last one was read. If it holds when a request is claimed, then it held
        here too.
        """
        place = self._place
        if place is None or place.stamp[1] != self._db.changes:
            return None
        if not self._rows:
            with self._db.held():
                self._db.glance(lambda db: self._read_rows(db, place.seq))
        if not self._rows or self._rows_at is None:
            return None
        now, now_s = self._rows_at
        if _now_s() > now_s + _FRESH_S:
            return None
        try:
            found = outbox.following(self._rows.popleft(), current=place.current, now=now)
        except DamagedError:
            return None  # reading it by itself will show the damage again, where it can be dealt with
        if found is None or found[1].tag.id in self._done or not wanted(found[1].tag.id, found[1].tag.review.opt_out):
            return None
        return _Read(*found, place.current, place.stamp, now_s)

    def _read_rows(self, db: sqlite3.Connection, after: int) -> None:
        """Fetch some rows; what is made of each waits until its turn, while the request before it is under way."""
        self._at_once = min(2 * self._at_once, _AT_ONCE)
        self._rows_at = self._clock.now(), _now_s()
        size = 0
        for row in outbox.rows(db, after, self._at_once):
            self._rows.append(row)
            size += len(row[-1])
            if size >= _AT_ONCE_BYTES:
                return

    def _first(self, db: sqlite3.Connection, wanted: Callable[[str, bool], bool]) -> _Read | None:
        current = self._read_review(db)
        found = outbox.look_ahead(db, wanted, current=current, done=self._done, now=self._clock.now())
        return None if found is None else _Read(*found, current, self._db.stamp(db), _now_s())


def _now_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
