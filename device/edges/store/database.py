"""One connection under one lock: transactions that outlive damage, and a file that another process may exchange."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from device.edges.store import choice, exchange, remains, salvage, schema
from device.edges.store.folder import BUSY_S
from device.edges.store.records import Damaged, StoreEvent
from device.edges.store.salvage import Salvage
from device.edges.store.set_aside import SetAside, size_of
from device.edges.store.witness import Witness
from device.errors import StoreBusyError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from device.core.moment import Clock
    from device.edges.store.folder import StateFolder

T = TypeVar("T")
_VACUUM_PAGES = 1000  # 4 MB a step: half of the reserve, and nobody waits long for the lock
_TIDY_MS = 100  # tidying waits no longer than this for another process: it can be done later


class Database:
    """The database file of a state folder, whichever file that is at the moment.

    There is one connection under one lock, not one a thread: SQLite has a single writer anyway, waiting for a lock is
    prompt where SQLite's own waiting polls, and there is one connection to replace when the file is damaged.

    Args:
        folder: the state folder.
        clock: tells the time.
        report: takes events, under the lock.
        done: ids that need not be saved when the file is damaged; read at that time.
    """

    def __init__(
        self, folder: StateFolder, *, clock: Clock, report: Callable[[StoreEvent], None], done: Collection[str]
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._report = report
        self._done = done
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._inode = 0
        self._open = False  # is a transaction open?
        self.changes = 0  # transactions of this object that wrote
        self.set_aside = SetAside(folder)
        self._salvage = Salvage(folder, self.set_aside)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the database against this process's other threads, and the file against being exchanged.

        Raises:
            StoreBusyError: another thread or process held it for too long.
        """
        if not self._lock.acquire(timeout=BUSY_S):
            raise StoreBusyError("the database is held by another thread", hint="try again")
        try:
            if self._open:
                raise RuntimeError("the store was called inside a claim")
            with self._folder.shared():
                yield
        finally:
            self._lock.release()

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
        """Save some of the requests that databases set aside still hold, for want of room; told once all are.

        Returns:
            Whether it is worth calling again at once.
        """
        if not self.set_aside.waiting():
            return False
        with self.held():
            self._folder.promote()  # two processes must not work on one set-aside file
            step = self._whatever_breaks(lambda db: self._salvage.step(db, self._done))
        if step is not None and step.done:
            kept = f"; what cannot be read of it is kept as {step.kept}" if step.kept else ""
            self._report(
                StoreEvent(
                    "store-salvaged",
                    f"all that can be saved from {step.set_aside} is{kept}",
                    {"set_aside": step.set_aside, "kept": step.kept},
                )
            )
        return step is not None

    def note_gone(self, ids: Collection[str]) -> None:
        """Note that requests leave for good, so that no database that was set aside brings them back.

        Where even the reserve has no room for that they leave all the same: it is only missed if this database, too,
        is damaged before the one set aside is saved from.
        """
        try:
            self.set_aside.note_gone(ids)
        except OSError:
            self._folder.spend_reserve()
            with suppress(OSError):
                self.set_aside.note_gone(ids)

    def damaged(self) -> list[Damaged]:
        """Return what lies in databases that were set aside."""

        def known(db: sqlite3.Connection) -> set[str]:
            return {request_id for (request_id,) in db.execute("SELECT id FROM request")} | self.set_aside.gone()

        with self.held(), _file_errors():
            waiting, unreadable = self.set_aside.waiting(), self.set_aside.unreadable()
            saved = self.glance(known) if waiting else set()
            return [
                *(Damaged(each.name, True, salvage.waiting_in(each, saved), size_of(each)) for each in waiting),
                *(Damaged(each.name, False, remains.count(each), size_of(each)) for each in unreadable),
            ]

    def delete_damaged(self) -> int:
        """Delete the databases that were set aside; returns how many there were."""
        with self.held(), _file_errors():
            self._folder.promote()
            return self.set_aside.delete_all()

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

        Inside a transaction it tells of the state that this transaction sees.
        """
        return int(db.execute("PRAGMA data_version").fetchone()[0]), self.changes

    def close(self) -> None:
        """Close the connection; the next use would open it again."""
        with self._lock:
            if self._db is not None:
                with suppress(sqlite3.Error):  # a damaged file may refuse even this; nothing is open afterwards
                    self._db.close()
            self._db = None

    def _whatever_breaks(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Run an action; on damage once more, on the database that took the damaged one's place."""
        for last in (False, True):
            try:
                return action(self._connection())
            except (sqlite3.DatabaseError, schema.DamagedError) as error:
                failure = schema.failure_of(error) if isinstance(error, sqlite3.Error) else error
                if last or not isinstance(failure, schema.DamagedError):
                    raise failure from error
                self._replace(failure)
        raise AssertionError("unreachable")

    def _run(self, db: sqlite3.Connection, begin: str, action: Callable[[sqlite3.Connection], T], *, commit: bool) -> T:
        self._changes_before = db.total_changes
        try:
            db.execute(begin)
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
            except sqlite3.Error:  # the error before it is the one to tell; a fresh connection rolls back by itself
                self.close()

    def _connection(self) -> sqlite3.Connection:
        """Return the connection to the file that is the database now."""
        if self._db is None or (not self._open and self._folder.inode() != self._inode):
            self.close()
            with _file_errors():
                self._db = self._connect()
            self.changes += 1
        return self._db

    def _connect(self) -> sqlite3.Connection:
        if exchange.unfinished(self._folder) or self._folder.inode() == 0:
            self._folder.promote()
            if exchange.unfinished(self._folder):
                exchange.finish(self._folder, self.set_aside, self._clock.now())
            elif self._folder.inode() == 0:
                first_start = self._inode == 0 and self._folder.is_new()
                exchange.replace(self._folder, self.set_aside, first_start=first_start, now=self._clock.now())
        self._inode = self._folder.inode()
        if self._folder.database.stat().st_size == 0:  # to SQLite a new database; ours never have this size
            raise schema.DamagedError("the file is empty")
        db = schema.connect(self._folder.database)
        try:
            self._folder.make_private(self._folder.database)
            schema.check(db)
            if schema.version(db) == 1:
                self._keep_what_was_saved_from(db)
            if schema.version(db) < schema.WITNESSED:
                Witness(self._folder).adopt(choice.read_review(db, default_opt_out=True))
            schema.migrate(db)
        except BaseException:
            db.close()
            raise
        return db

    def _keep_what_was_saved_from(self, db: sqlite3.Connection) -> None:
        """Version 1 of the program kept a damaged database after saving from it: it is not to be saved from again."""
        unsaved = db.execute("SELECT 1 FROM counter WHERE name = 'saved_up_to'").fetchone()
        for file in self.set_aside.waiting()[: -1 if unsaved else None]:
            self.set_aside.keep_unreadable(file)

    def _replace(self, damage: schema.DamagedError) -> None:
        self.close()
        self._folder.promote()
        if self._folder.inode() != self._inode:
            return  # another process has done it
        with _file_errors():
            damaged = exchange.replace(self._folder, self.set_aside, first_start=False, now=self._clock.now())
            self._report(self._saved_from(damaged, damage.message))

    def _saved_from(self, damaged: Path | None, reason: str) -> StoreEvent:
        """Save what there is room for, and say what became of a damaged database."""
        saved = lost = left = 0
        kept = ""
        if damaged is not None:
            with suppress(StoreBusyError), _file_errors():  # the rest is saved later
                while step := self._salvage.step(self._connection(), self._done):
                    if step.set_aside == damaged.name:
                        saved, lost, kept = saved + step.saved, lost + step.lost, step.kept
            left = self._salvage.left(damaged)
            kept = damaged.name if damaged.exists() else kept
        return StoreEvent(
            "store-damaged",
            f"the database was damaged ({reason}); {saved} waiting requests were saved from it and {lost} lost"
            + (f", {left} stay in {kept} until the disk has room" if left else "")
            + (f", what cannot be read of it is kept as {kept}" if kept and not left else "")
            + "; the review choice is opted-out until the user chooses again",
            {"reason": reason, "set_aside": kept, "saved": saved, "lost": lost, "left": left},
        )


@contextmanager
def _file_errors() -> Iterator[None]:
    """Say what the errors of opening and exchanging database files mean."""
    try:
        yield
    except sqlite3.Error as error:
        raise schema.failure_of(error) from error
    except OSError as error:
        raise schema.UnwritableError(f"{error.filename}: {error.strerror}", hint="make it writable") from error
