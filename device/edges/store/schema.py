"""The database file: how it is opened, what is in it, how it grows, and what its errors mean."""

from __future__ import annotations

import errno
import sqlite3
import struct
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from device.edges.store.folder import BUSY_S, PATIENCE_S
from device.errors import StoreBusyError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = 4096

# What decides over privacy is stored as a word, not as a bit: damage makes it neither word, and that is an opt-out.
_FIRST = (
    """CREATE TABLE review (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        choice TEXT NOT NULL CHECK (choice IN ('reviewable', 'opted-out', 'default', 'unreadable')),
        revision INTEGER NOT NULL CHECK (revision >= 0),
        changed_at TEXT) STRICT""",
    """CREATE TABLE microphone (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        state TEXT NOT NULL CHECK (state IN ('listening', 'muted')),
        since TEXT NOT NULL) STRICT""",
    "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE request (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        review TEXT NOT NULL CHECK (review IN ('reviewable', 'opted-out')),
        choice TEXT NOT NULL, revision INTEGER NOT NULL, changed_at TEXT,
        bytes INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, problem TEXT NOT NULL DEFAULT '',
        boot_id TEXT NOT NULL, boot_ns INTEGER NOT NULL, wall_ns INTEGER NOT NULL, synced INTEGER NOT NULL,
        captured_ns INTEGER NOT NULL, device TEXT NOT NULL, source TEXT NOT NULL,
        wake_word TEXT NOT NULL, score REAL NOT NULL, wake_sample INTEGER NOT NULL,
        start_sample INTEGER NOT NULL, end_sample INTEGER NOT NULL, ended_by TEXT NOT NULL,
        sha256 TEXT NOT NULL) STRICT""",
    # Apart from the requests, so that walking the queue and retagging it touch no sound.
    """CREATE TABLE audio (
        seq INTEGER PRIMARY KEY REFERENCES request (seq) ON DELETE CASCADE,
        pcm BLOB NOT NULL) STRICT""",
)
_OLD_TAG_COLUMNS = (
    "device", "source", "wake_word", "score", "wake_sample", "start_sample", "end_sample", "ended_by", "sha256",
)  # fmt: skip
_TAG_OF_OLD_COLUMNS = (
    "json_object('device', device, 'wake_word', wake_word, 'score', score, 'source', source, 'start_sample',"
    " start_sample, 'end_sample', end_sample, 'wake_sample', wake_sample, 'duration_s', bytes / 32000.0, 'ended_by',"
    " ended_by, 'audio', json_object('sha256', sha256))"
)
# The tag as JSON, so that a new field of it needs no migration; without what may change while a request waits.
_TAG_AS_JSON = (
    "ALTER TABLE request ADD COLUMN tag TEXT NOT NULL DEFAULT '{}'",
    f"UPDATE request SET tag = {_TAG_OF_OLD_COLUMNS}",  # noqa: S608
    *(f"ALTER TABLE request DROP COLUMN {column}" for column in _OLD_TAG_COLUMNS),
    "DELETE FROM counter WHERE name = 'saved_up_to'",  # how far a set-aside database was saved
)
_RETAINED_COMMANDS = (
    "CREATE TABLE obeyed (place TEXT PRIMARY KEY, payload BLOB NOT NULL) STRICT, WITHOUT ROWID",  # retained commands
)
# Every choice with what was read where it was made, by the revision that tags carry; null: nothing was shown.
_WORDINGS = (
    """CREATE TABLE chosen (
        revision INTEGER PRIMARY KEY,
        choice TEXT NOT NULL, changed_at TEXT NOT NULL,
        wording INTEGER, sentence TEXT) STRICT""",
)
# What was sent, without sound; sent_ns is null where the broker's word for it never came.
_HISTORY = (
    """CREATE TABLE sent (
        id TEXT PRIMARY KEY,
        captured_ns INTEGER NOT NULL, wake_word TEXT NOT NULL, duration_s REAL NOT NULL,
        review TEXT NOT NULL CHECK (review IN ('reviewable', 'opted-out')),
        sent_ns INTEGER, synced INTEGER NOT NULL,
        erasure TEXT CHECK (erasure IN ('asked', 'told'))) STRICT, WITHOUT ROWID""",
    "CREATE INDEX to_erase ON sent (id) WHERE erasure = 'asked'",
    "ALTER TABLE chosen ADD COLUMN withdrawn_at TEXT",  # when what had been sent before was withdrawn, too
)
# The wake word's own sound, where the user lets it be kept until the request goes.
_WAKE_SOUND = (
    """CREATE TABLE wake_audio (
        seq INTEGER PRIMARY KEY REFERENCES request (seq) ON DELETE CASCADE,
        pcm BLOB NOT NULL) STRICT""",
)
# What is set besides the configuration, as JSON; damage makes it none, and the configuration counts.
_SETTINGS = ("CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",)
# Step n brings version n to n + 1.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    _FIRST, _TAG_AS_JSON, _RETAINED_COMMANDS, _WORDINGS, _HISTORY, _WAKE_SOUND, _SETTINGS,
)  # fmt: skip
_WITH_HISTORY = 5
WITNESSED = 3  # from this version on the choice is recorded beside the database, too
_SMALL_TABLES = ("sqlite_schema", "review", "microphone", "counter", "request")

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_PASSING = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT,
}  # fmt: skip
_UNWRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}


_FAILING = "is the card or its contact failing?"


class DamagedError(StoreError):
    """The database is not what this program wrote."""


class UnwritableError(StoreBusyError):
    """The database file may not be opened or written."""


class UnreadableError(StoreBusyError):
    """The disk gave an error instead of what is on it, which may pass."""


class DiskFullError(StoreBusyError):
    """The disk is full."""


def connect(file: Path, *, new: bool = False) -> sqlite3.Connection:
    """Open a database file, or make a new one; every commit is on the disk when it returns."""
    db = sqlite3.connect(file, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        if new:
            db.execute("PRAGMA auto_vacuum=INCREMENTAL")  # only before the first table; later it just writes
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")  # WAL with NORMAL may lose the last commits to a power cut
        # Deleted rows are overwritten where that costs no writing; whole free pages are left to Database.vacuum. With
        # ON each deleted byte is written twice as zero, to the log and to the file: 140 us for 64 kB instead of 9.
        db.execute("PRAGMA secure_delete=FAST")
        db.execute("PRAGMA temp_store=MEMORY")  # VACUUM's copy of what waits is in no file outside the folder
        db.execute("PRAGMA foreign_keys=ON")
        db.execute("PRAGMA cell_size_check=ON")  # notices damaged pages when they are read
        db.execute("PRAGMA trusted_schema=OFF")
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing. IMMEDIATE: a reading transaction that turns into a writing one fails at once when busy."""
    begin(db, "BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            with suppress(sqlite3.Error):  # the first error is the one to report
                db.execute("ROLLBACK")
        raise


def begin(db: sqlite3.Connection, statement: str) -> None:
    """Begin a transaction; another process that holds the database may itself have to wait for the disk."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            db.execute(statement)
        except sqlite3.OperationalError as error:  # after SQLite itself has waited
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        else:
            return


def version(db: sqlite3.Connection) -> int:
    """Return how many migrations the database has seen."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def migrate(db: sqlite3.Connection) -> None:
    """Bring the database to the newest version, each step whole or not at all."""
    _migrate(db, len(MIGRATIONS))


def _migrate(db: sqlite3.Connection, newest: int) -> None:
    for number in range(version(db), newest):
        with transaction(db):
            if version(db) != number:  # another process took this step meanwhile
                continue
            for statement in MIGRATIONS[number]:
                db.execute(statement)
            db.execute(f"PRAGMA user_version={number + 1}")


def first_page(version: int, pages: int = 1) -> bytes:
    """Return the first page that a database of this version has: it holds the schema.

    In a file with auto_vacuum SQLite puts the page that each table begins at right at the front, wherever the data
    were, so that this page is the same in every database of the same migrations.

    Args:
        version: how many migrations it has seen.
        pages: how many pages the file has; no free ones are known.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        _migrate(db, version)
        page = bytearray(db.serialize()[:PAGE])
    page[18:20] = b"\x02\x02"  # with a log
    page[28:40] = struct.pack(">III", pages, 0, 0)
    return bytes(page)


def tag_expression(db: sqlite3.Connection) -> str:
    """Return what gives a request's tag as JSON: the column, or where there is none yet, the columns before it."""
    columns = set()
    with suppress(sqlite3.Error):  # reading a request says what is wrong
        columns = {row[1] for row in db.execute("PRAGMA table_info(request)")}
    return _TAG_OF_OLD_COLUMNS if "sha256" in columns else "tag"


def check(db: sqlite3.Connection) -> None:
    """Look whether the small tables are whole; the sound is checked by its hash when it is claimed.

    Checking 256 MB of sound here would take seconds on an SD card at every start.

    Raises:
        DamagedError: they are not, or the version is none of ours.
    """
    found = version(db)
    if not 1 <= found <= len(MIGRATIONS):
        raise DamagedError(f"schema version {found}, this program knows 1 to {len(MIGRATIONS)}")
    for table in (*_SMALL_TABLES, *(("sent",) if found >= _WITH_HISTORY else ())):
        verdict = db.execute(f"PRAGMA quick_check('{table}')").fetchone()[0]
        if verdict != "ok":
            raise DamagedError(" ".join(verdict.split()))


def shows_damage(error: Exception) -> bool:
    """Return whether an error says that what is stored is damaged; any other may pass by itself."""
    return isinstance(failure_of(error) if isinstance(error, sqlite3.Error) else error, DamagedError)


def file_failure(error: OSError, where: object = "the state folder") -> StoreError:
    """Say what an error of the file system means: no room, no permission, or something that passes."""
    problem = f"{error.filename or where}: {error.strerror}"
    if error.errno == errno.EIO:
        return UnreadableError(problem, hint=_FAILING)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(problem, hint="free some space on the disk")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return UnwritableError(problem, hint="make the state folder writable")
    return StoreBusyError(problem, hint="try again")


def failure_of(error: sqlite3.Error) -> StoreError:
    """Say what an error of SQLite means: damage, something that passes, or neither."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    undecodable = primary is None and isinstance(error, sqlite3.OperationalError)  # text that is no UTF-8
    schema_lost = primary == sqlite3.SQLITE_ERROR and "no such" in str(error)
    if primary in _DAMAGE or code == sqlite3.SQLITE_IOERR_SHORT_READ or undecodable or schema_lost:
        return DamagedError(str(error))
    if code == sqlite3.SQLITE_IOERR_READ:
        return UnreadableError(f"the disk cannot be read: {error}", hint=_FAILING)
    if primary in _UNWRITABLE:
        return UnwritableError(f"the database cannot be written: {error}", hint="make the state folder writable")
    if primary == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE:  # the second where opening finds no room
        return DiskFullError(f"the database cannot take it now: {error}", hint="free some space on the disk")
    if primary in _PASSING:
        return StoreBusyError(f"the database cannot take it now: {error}", hint="try again")
    return StoreError(f"the database refused: {error}")


@contextmanager
def file_errors() -> Iterator[None]:
    """Say what the errors of SQLite, and of the files around it, mean."""
    try:
        yield
    except sqlite3.Error as error:
        raise failure_of(error) from error
    except OSError as error:
        raise file_failure(error) from error
