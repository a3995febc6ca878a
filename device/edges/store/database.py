"""One connection under one lock: transactions that outlive damage, and a file that another process may exchange."""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from device.edges.store import choice, exchange, schema
from device.edges.store.folder import BUSY_S
from device.edges.store.results import StoreEvent
from device.edges.store.salvage import Salvage
from device.edges.store.set_aside import SetAside
from device.edges.store.stall import StallWatch
from device.edges.store.witness import Witness
from device.errors import StoreError
from device.message.timestamps import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from device.edges.store.folder import StateFolder
    from device.edges.store.results import Damaged
    from device.message.timestamps import Clock

T = TypeVar("T")
_VACUUM_PAGES = 1000  # 4 MB a step: half of the reserve, and nobody waits long for the lock
READ_PATIENCE_S = 60.0  # read errors in a row for so long are no loose contact
_READ_ERRORS_APART_S = 10.0  # further apart they are not in a row
_TIDY_MS = 100  # tidying waits no longer than this for another process: it can be done later


class Database:
    """The database file of a state folder, whichever file that is at the moment.

    There is one connection under one lock, not one a thread: SQLite has a single writer anyway, waiting for a lock is
    prompt where SQLite's own waiting polls, and there is one connection to replace when the file is damaged.

    Args:
        folder: the state folder.
        clock: what time it is.
        report: takes events, under the lock.
        done: ids that need not be saved when the file is damaged; read at that time.
    """

    def __init__(
        self, folder: StateFolder, *, clock: Clock, report: Callable[[StoreEvent], None], done: Collection[str]
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._report = report
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._inode = 0
        self._open = False  # is a transaction open?
        self._watch = StallWatch(report)
        self._read_error_at = self._read_errors_since = -math.inf  # the last, and the first of those in a row
        self.changes = 0  # transactions of this object that wrote
        self._changes_before = 0  # rows changed by the connection when its transaction began
        self.set_aside = SetAside(folder)
        self._salvage = Salvage(folder, self.set_aside, done, report)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the database against this process's other threads, and the file against being exchanged.

        For another thread it waits as long as it takes: where the disk does not answer, nothing is gained by failing.

        Raises:
            StoreBusyError: another process held it for too long.
        """
        with self._lock:
            if self._open:
                raise RuntimeError("the store was called inside a claim")
            with self._watch.over(), self._folder.shared():
                yield

    def available(self, timeout_s: float) -> bool:
        """Say whether no other thread uses the database, or ceases to within this time."""
        if not self._lock.acquire(timeout=timeout_s):
            return False
        self._lock.release()
        return True

    def read(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Run an action that only reads, in a transaction of its own."""
        with self.held():
            return self._whatever_breaks(lambda db: self._run(db, "BEGIN", action, commit=True))

    def glance(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Run an action that only reads, by a single statement; inside ``held``."""
        return self._whatever_breaks(action)

    def write(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Run an action that may write, in a transaction of its own that is on the disk when this returns."""
        with self.held():
            return self.begin(action, commit=True)

    def begin(self, action: Callable[[sqlite3.Connection], T], *, commit: bool = False) -> T:
        """Begin a writing transaction with an action and, without ``commit``, leave it open; inside ``held``.

        IMMEDIATE: a reading transaction that turns into a writing one fails at once when another process writes.
        """
        return self._whatever_breaks(lambda db: self._run(db, "BEGIN IMMEDIATE", action, commit=commit))

    def commit(self) -> None:
        """End what ``begin`` left open."""
        try:
            self._commit(self._connection())
        except sqlite3.Error as error:
            self._rollback()
            raise schema.failure_of(error) from error

    def vacuum(self) -> bool:
        """Cut some of the free pages off the file, since they still hold what was deleted.

        Where few pages are in use they are written anew, which takes 1 ms however many are free. Else pages in use are
        moved from the file's end into the free ones, some at a time: all at once would need as much room in the log as
        is moved, and would keep others waiting.

        Returns:
            False if there are more.
        """

        def step(db: sqlite3.Connection) -> bool:
            free, pages = (db.execute(f"PRAGMA {count}").fetchone()[0] for count in ("freelist_count", "page_count"))
            if not free:
                return True
            if pages - free <= _VACUUM_PAGES:
                db.execute("VACUUM")
            else:
                db.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")  # execute() stops after one page
            return not db.execute("PRAGMA freelist_count").fetchone()[0]

        with self.held():
            try:
                return self._if_free(step)
            except schema.DiskFullError:
                self._folder.spend_reserve()
                return self._if_free(step)

    def empty_log(self) -> bool:
        """Bring the log into the main file and empty it, so that deleted sound is not in it either; inside ``held``.

        Returns:
            False if another process was in the way.
        """
        return self._if_free(lambda db: not db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])

    def save_more(self) -> bool:
        """Save some of the requests that damaged databases still hold; returns whether to go on at once."""
        if not self.set_aside.waiting():
            return False
        with self.held():
            self._folder.promote()  # two processes must not work on one damaged database
            return self._whatever_breaks(self._salvage.save_more)

    def damaged(self) -> list[Damaged]:
        """Return what lies in damaged databases."""
        with self.held():
            return self._whatever_breaks(self._salvage.damaged)

    def delete_damaged(self) -> int:
        """Delete all damaged databases; returns how many there were."""
        with self.held(), schema.file_errors():
            self._folder.promote()
            return self.set_aside.delete_all()

    def expire_damaged(self, max_age_s: float) -> None:
        """Delete what remained of damaged databases when it is older than a request may become."""
        now = self._clock.now()
        if not now.synced or not self.set_aside.unreadable():
            return
        with self.held(), schema.file_errors():
            self._folder.promote()
            for name in self.set_aside.expire(now.wall_ns - round(max_age_s * NS_PER_S)):
                message = f"deleted {name}, which could not be read: [outbox] max_age_days is reached"
                self._report(StoreEvent("damaged-deleted", message, {"name": name}, level=logging.WARNING))

    def is_tidy(self) -> bool:
        """Is no deleted sound left in the files, neither in the log nor in free pages?"""
        log = self._folder.database.with_name(self._folder.database.name + "-wal")
        with self.held():
            if log.exists() and log.stat().st_size:
                return False
            return not self._whatever_breaks(lambda db: db.execute("PRAGMA freelist_count").fetchone()[0])

    def _if_free(self, action: Callable[[sqlite3.Connection], bool]) -> bool:
        """Run an action that can wait for another time; false if another process was in the way."""

        def impatient(db: sqlite3.Connection) -> bool:
            db.execute(f"PRAGMA busy_timeout={_TIDY_MS}")
            try:
                return action(db)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                    return False
                raise
            finally:
                db.execute(f"PRAGMA busy_timeout={BUSY_S * 1000:.0f}")

        return self._whatever_breaks(impatient)

    def stamp(self, db: sqlite3.Connection) -> tuple[int, int]:
        """Return a pair that is the same only if nobody, here or in another process, has written in between.

        Inside a transaction it is the state that this transaction sees.
        """
        return int(db.execute("PRAGMA data_version").fetchone()[0]), self.changes

    def close(self) -> None:
        """Close the database for good, once no other thread uses it."""
        with self._lock:
            self._disconnect()
        self._watch.close()

    def _disconnect(self) -> None:
        """Close the connection; the next use opens it again."""
        if self._db is not None:
            with suppress(sqlite3.Error):  # a damaged file may refuse even this; nothing is open afterwards
                self._db.close()
        self._db = None

    def _whatever_breaks(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Run an action; on damage once more, on the database that took the damaged one's place."""
        for last in (False, True):
            try:
                with schema.file_errors():
                    return action(self._connection())
            except StoreError as error:
                failure = self._taken_for_damage(error) if isinstance(error, schema.UnreadableError) else error
                if last or not isinstance(failure, schema.DamagedError):
                    raise
                self._replace(failure)
        raise AssertionError("unreachable")

    def _taken_for_damage(self, error: schema.UnreadableError) -> StoreError:
        """Return what a read error means: it may pass, but where it comes again and again the place is lost.

        Then what can be read is saved into a new database, if the disk can write one and read it back.
        """
        now = time.monotonic()
        if now - self._read_error_at > _READ_ERRORS_APART_S:
            self._read_errors_since = now
        self._read_error_at = now
        if now - self._read_errors_since < READ_PATIENCE_S:
            return error
        self._read_errors_since = now  # the next attempt is not made at once
        return schema.DamagedError(error.message)

    def _run(self, db: sqlite3.Connection, begin: str, action: Callable[[sqlite3.Connection], T], *, commit: bool) -> T:
        self._changes_before = db.total_changes
        try:
            schema.begin(db, begin)
            self._open = True
            result = action(db)
            if commit:
                self._commit(db)
        except BaseException:
            self._rollback()
            raise
        return result

    def _commit(self, db: sqlite3.Connection) -> None:
        db.execute("COMMIT")
        self._open = False
        self.changes += db.total_changes != self._changes_before

    def _rollback(self) -> None:
        self._open = False
        if self._db is not None and self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:  # the error before it is the one to report; a fresh connection rolls back by itself
                self._disconnect()

    def _connection(self) -> sqlite3.Connection:
        """Return the connection to the file that is the database now."""
        if self._db is None or (not self._open and self._folder.inode() != self._inode):
            self._disconnect()
            with schema.file_errors():
                self._db = self._connect()
            self.changes += 1
        return self._db

    def _connect(self) -> sqlite3.Connection:
        if exchange.unfinished(self._folder) or self._folder.inode() == 0:
            self._folder.promote()
            if exchange.unfinished(self._folder):
                exchange.finish(self._folder, self.set_aside, self._clock.now())
            elif self._folder.inode() == 0:
                self._make(first_start=self._inode == 0 and self._folder.is_new())
        self._inode = self._folder.inode()
        if self._folder.database.stat().st_size == 0:  # to SQLite a new database; ours never have this size
            raise schema.DamagedError("the file is empty")
        db = schema.connect(self._folder.database)
        try:
            self._folder.make_private(self._folder.database)
            schema.check(db)
            if schema.version(db) == 1:
                self._keep_leftovers(db)
            if schema.version(db) < schema.WITNESSED:
                Witness(self._folder).adopt(choice.read_review(db, default_opt_out=True))
            schema.migrate(db)
        except BaseException:
            db.close()
            raise
        return db

    def _keep_leftovers(self, db: sqlite3.Connection) -> None:
        """Keep damaged databases that version 1 of the program had saved from already: it never deleted them."""
        unsaved = db.execute("SELECT 1 FROM counter WHERE name = 'saved_up_to'").fetchone()
        for file in self.set_aside.waiting()[: -1 if unsaved else None]:
            self.set_aside.keep_unreadable(file)

    def _make(self, *, first_start: bool) -> Path | None:
        """Put a new database in place; returns what the old one is called now, if there was one."""
        return exchange.replace(self._folder, self.set_aside, first_start=first_start, now=self._clock.now())

    def _replace(self, damage: schema.DamagedError) -> None:
        self._disconnect()
        self._folder.promote()
        if self._folder.inode() != self._inode:
            return  # another process has done it
        with schema.file_errors():
            damaged = self._make(first_start=False)
        self._salvage.save_at_once(damaged, damage.message, self._for_next_step)

    def _for_next_step(self) -> sqlite3.Connection:
        self._watch.begin()
        return self._connection()
