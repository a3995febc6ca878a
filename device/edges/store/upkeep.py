"""What is deleted when: acknowledged requests soon, their sound in the files after them, and the use of the room."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from device.edges.store import choice, outbox
from device.edges.store.results import StoreEvent
from device.edges.store.schema import DiskFullError
from device.errors import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection

    from device.edges.store.database import Database
    from device.edges.store.folder import StateFolder

T = TypeVar("T")
_FLUSH_COUNT = 16  # acknowledged requests deleted by one transaction, which costs one sync of the disk
_FLUSH_S = 1.0  # how long an acknowledged request may stay
TIDY_S = 20.0  # how long deleted sound may stay in the files while others are being sent; else it goes at once
_TIDY_LIMIT_S = 2.0  # after so long the rest of tidying is left for another time
_YIELD_S = 0.001  # so that others get their turn in between
RETRY_S = 1.0
_REPORT_S = 60.0


def nothing(_: sqlite3.Connection) -> None:
    """For the sake of what a transaction does besides."""


class Upkeep:
    """Deletes what is acknowledged within every writing transaction, and tidies the files now and then.

    Args:
        db: the database.
        folder: its folder, which has the reserve.
        done: ids that are acknowledged and not yet deleted; shared with the database, emptied here.
        report: takes events.
        note_sent: called within the transaction that deletes these ids, before it does.
    """

    def __init__(
        self,
        db: Database,
        folder: StateFolder,
        done: dict[str, None],
        report: Callable[[StoreEvent], None],
        note_sent: Callable[[sqlite3.Connection, Collection[str]], None],
    ) -> None:
        self._db = db
        self._folder = folder
        self._done = done
        self._report = report
        self._note_sent = note_sent
        self._done_at = 0.0  # when the oldest of them was acknowledged
        self._tried_at = self._tidied_at = self._reported_at = -_REPORT_S

    def acknowledge(self, request_id: str) -> None:
        """Take note that a request is to be deleted."""
        if not self._done:
            self._done_at = time.monotonic()
        self._done[request_id] = None

    def write(self, action: Callable[[sqlite3.Connection], T], *, gone: Collection[str] = ()) -> T:
        """Run an action in a transaction that also deletes what is acknowledged.

        Args:
            action: what to do.
            gone: ids that the action deletes.
        """
        with self._db.held():
            return self._delete_done(list(self._done), action, gone)

    def write_for_sure(self, action: Callable[[sqlite3.Connection], T], *, gone: Collection[str] = ()) -> T:
        """Run an action that must not fail for a full disk, because it tightens or because it makes room."""
        try:
            return self.write(action, gone=gone)
        except DiskFullError:
            self._folder.spend_reserve()
        with self._db.held():
            self._db.empty_log()
            self._delete_done(list(self._done), nothing, ())
            self._db.empty_log()
            return self._delete_done([], action, gone)

    def run(self, *, now: bool = False) -> None:
        """Delete and tidy where it is due, or now; a disk that cannot take it is reported, and gets it later."""
        clock_s = time.monotonic()
        if not now and clock_s - self._tried_at < RETRY_S and len(self._done) < _FLUSH_COUNT:
            return
        try:
            if self._done and (now or len(self._done) >= _FLUSH_COUNT or clock_s - self._done_at >= _FLUSH_S):
                self.write_for_sure(nothing)
            if now or clock_s - self._tidied_at >= TIDY_S:
                self._tidied_at = clock_s
                self._tidy()
        except StoreError as error:
            if clock_s - self._reported_at >= _REPORT_S:
                self._reported_at = clock_s
                self._report(StoreEvent("store-busy", f"what is sent cannot be deleted yet: {error}"))
        finally:
            self._tried_at = clock_s

    def _delete_done(self, done: list[str], action: Callable[[sqlite3.Connection], T], gone: Collection[str]) -> T:
        def both(db: sqlite3.Connection) -> T:
            self._note_sent(db, done)
            choice.count(db, "acknowledged", outbox.delete(db, done))
            return action(db)

        self._db.set_aside.note_gone([*done, *gone])
        result = self._db.begin(both, commit=True)
        for request_id in done:
            del self._done[request_id]
        return result

    def _tidy(self) -> None:
        """Rid all files of deleted sound, as far as other processes and the time limit let us; then use the room.

        Whoever deleted it: another process may have ended while a reader kept it from tidying.
        """
        until = time.monotonic() + _TIDY_LIMIT_S
        if not self._db.is_tidy():
            while not self._db.vacuum() and time.monotonic() < until:
                time.sleep(_YIELD_S)
            with self._db.held():
                self._db.empty_log()
        while time.monotonic() < until and self._db.save_more():
            time.sleep(_YIELD_S)
        self._folder.keep_reserve()
