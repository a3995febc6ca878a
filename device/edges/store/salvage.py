"""Every request that can still be proven whole, from databases that were set aside into the one in use.

As far as the disk has room: the oldest at once, the others whenever there is more.
"""

from __future__ import annotations

import dataclasses
import os
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import msgspec

from device.edges.store import choice, outbox, remains, schema, sent
from device.edges.store.results import Damaged, StoreEvent
from device.edges.store.set_aside import size_of
from device.errors import StoreBusyError
from device.message.review import tighten, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from device.edges.store.folder import StateFolder
    from device.edges.store.set_aside import SetAside

T = TypeVar("T")
_STEP = 64  # requests saved by one transaction at most: the log stays small
_STEP_BYTES = 1_000_000  # of sound; the one that reaches it is the transaction's last
_KEEP_FREE_BYTES = 2_000_000  # left for recording on
ROOM_BYTES = _KEEP_FREE_BYTES + 2 * _STEP_BYTES  # what a transaction brings is in the log, and then in the file
REST_S = 60.0  # before a part of the disk that gives errors is read again
_WALKS = (
    "SELECT seq FROM request ORDER BY seq",
    "SELECT seq FROM request INDEXED BY sqlite_autoindex_request_1 ORDER BY id",
    "SELECT seq FROM audio ORDER BY seq",
)


@dataclass(slots=True)
class _Source:
    """One set-aside database, and how far it has been dealt with.

    Attributes:
        file: the database.
        numbers: of its requests that are still to be looked at, oldest first.
        blank: nothing at all can be read from it.
        saved: how many requests were saved from it.
        lost: numbers of those that are not what was stored.
        erring: the disk gave an error somewhere, which may pass.
        unread: how many requests lie there, as far as known.
        rests_until: on the monotonic clock; the disk is not asked again before.
        done: all that can be saved is; the database is gone.
        kept: what remains of it is called; empty if nothing does.
    """

    file: Path
    numbers: list[int] = field(default_factory=list)
    blank: bool = False
    saved: int = 0
    lost: list[int] = field(default_factory=list)
    erring: bool = False
    unread: int = 0
    rests_until: float = 0.0
    done: bool = False
    kept: str = ""


class Salvage:
    """Saves step by step; what it knows of the files it can find out again, so that any process may go on with it.

    A request is known by its id: one that is in the database in use, or has left it since, is not saved again.

    Args:
        folder: the state folder, held by the caller in every call.
        set_aside: the databases in it to save from.
        done: ids that the broker has acknowledged and that need not be saved; read at that time.
        report: takes events.
    """

    def __init__(
        self, folder: StateFolder, set_aside: SetAside, done: Collection[str], report: Callable[[StoreEvent], None]
    ) -> None:
        self._folder = folder
        self._set_aside = set_aside
        self._done = done
        self._report = report
        self._sources: dict[Path, _Source] = {}

    def save_at_once(self, damaged: Path | None, reason: str, connection: Callable[[], sqlite3.Connection]) -> None:
        """Save what there is room for, and report what became of a damaged database.

        Args:
            damaged: what it is called now; None: there was none.
            reason: how it was found to be damaged.
            connection: returns the one to the new database, before each step.
        """
        source = None
        with suppress(StoreBusyError), schema.file_errors():  # the rest is saved later
            while damaged and (step := self._step(connection())):
                source = step if step.file == damaged else source
        saved, lost = (source.saved, len(source.lost)) if source else (0, 0)
        found = self._sources.get(damaged) if damaged else None
        left = len(found.numbers) + found.unread if found else 0
        kept = damaged.name if damaged and damaged.exists() else source.kept if source else ""
        self._report(
            StoreEvent(
                "store-damaged",
                f"the database was damaged ({reason}); {saved} waiting requests were saved from it and {lost} lost"
                + (f", {left} stay in {kept} until the disk has room" if left else "")
                + (f", what cannot be read of it is kept as {kept}" if kept and not left else "")
                + "; the review choice is opted-out until the user chooses again",
                {"reason": reason, "set_aside": kept, "saved": saved, "lost": lost, "left": left},
            )
        )

    def save_more(self, db: sqlite3.Connection) -> bool:
        """Save some requests, and report when all of a database are; returns whether to go on at once."""
        source = self._step(db)
        if source is not None and source.done:
            name, kept = source.file.name, source.kept
            message = f"all that can be saved from {name} is" + (
                f"; what cannot be read of it is kept as {kept}" if kept else ""
            )
            self._report(StoreEvent("store-salvaged", message, {"set_aside": name, "kept": kept}))
        return source is not None

    def damaged(self, db: sqlite3.Connection) -> list[Damaged]:
        """Return what lies in damaged databases; ``db`` is the one in use."""
        waiting, unreadable = self._set_aside.waiting(), self._set_aside.unreadable()
        known: set[str] = set()
        if waiting:
            known = {request_id for (request_id,) in db.execute("SELECT id FROM request")} | self._set_aside.gone()
        return [
            *(Damaged(each.name, True, _waiting_in(each, known), size_of(each)) for each in waiting),
            *(Damaged(each.name, False, remains.count(each), size_of(each)) for each in unreadable),
        ]

    def _step(self, db: sqlite3.Connection) -> _Source | None:
        """Save some requests of the oldest database that has any; outside a transaction on the database in use.

        Returns:
            What is known of that database now; None if there is nothing to save now, or no room.
        """
        source = self._oldest()
        if source is None or (source.numbers and self._folder.free_bytes() < ROOM_BYTES):
            return None
        if source.numbers:
            try:
                with closing(_open_damaged(source.file)) as old, schema.transaction(db):
                    saved = _save_some(source, old, db, self._set_aside.gone() | set(self._done))
                    choice.count(db, "salvaged", saved)
            except BaseException:
                del self._sources[source.file]  # nothing of this step happened
                raise
            source.saved += saved
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the log takes as much of the disk once more
        if not source.numbers and not source.erring:
            try:
                source.kept = self._finish(source, db)
                source.done = True
            except sqlite3.Error:  # no room for what has to be kept of it
                source.erring = True
        if not source.numbers:
            source.rests_until = time.monotonic() + REST_S
        return source

    def _oldest(self) -> _Source | None:
        """Return the first database that may be read now; its requests are found by walking through it once."""
        files, now = self._set_aside.waiting(), time.monotonic()
        self._sources = {file: source for file, source in self._sources.items() if file in files}
        for file in files:
            source = self._sources.get(file)
            if source is None or (source.erring and not source.numbers and now >= source.rests_until):
                source = self._sources[file] = _look_through(file)
            if source.numbers or not source.erring:
                return source
        return None

    def _finish(self, source: _Source, db: sqlite3.Connection) -> str:
        """Let go of a database that everything was saved from; returns the name of what has to be kept of it."""
        if source.blank:
            return self._set_aside.keep_unreadable(source.file).name
        with closing(_open_damaged(source.file)) as old:
            rest = remains.write(self._folder, old, source.lost) if source.lost else None
            counted, history = _counters(old), sent.read_damaged(old)
        with schema.transaction(db):
            for name, value in (*counted, ("lost_to_damage", len(source.lost))):
                choice.count(db, name, value)
            sent.adopt(db, history)
        kept = self._set_aside.finish(source.file, rest)
        return kept.name if kept is not None else ""


def _waiting_in(file: Path, known: Collection[str]) -> int:
    """Return how many requests of a set-aside database are not among the ids known; reads it, and changes nothing."""
    with closing(_open_damaged(file)) as old:
        ids = set()
        for order in ("ASC", "DESC"):
            with suppress(sqlite3.Error):
                ids |= {request_id for (request_id,) in old.execute(f"SELECT id FROM request ORDER BY seq {order}")}  # noqa: S608
    return len(ids - set(known))


def _open_damaged(file: Path) -> sqlite3.Connection:
    old = sqlite3.connect(f"file:{quote(str(file))}?mode=rw", uri=True, isolation_level=None)  # never make it anew
    old.text_factory = _lenient
    with suppress(sqlite3.Error):
        old.execute("PRAGMA writable_schema=ON")  # lets SQLite read a file that was cut short
    return old


def _look_through(file: Path) -> _Source:
    """Find the requests of a database, after giving it a first page where its own is lost."""
    source = _walk(file)
    pages = file.stat().st_size // schema.PAGE
    if source.numbers or source.erring or not source.blank or pages < 2:
        return source
    with file.open("rb") as opened:
        lost = opened.read(schema.PAGE)  # nothing can be read of it, but what is kept for a person is kept as it was
    for version in range(len(schema.MIGRATIONS), 0, -1):
        _give_first_page(file, schema.first_page(version, pages))
        source = _walk(file)
        if source.erring or _any_loads(source):
            return source
    _give_first_page(file, lost if source.blank else schema.first_page(len(schema.MIGRATIONS), pages))
    return source


def _walk(file: Path) -> _Source:
    """Return the numbers of all requests of which anything is left in the file."""
    found, broken, source = set(), False, _Source(file)
    with closing(_open_damaged(file)) as old:
        for walk in _WALKS:
            for order in ("ASC", "DESC"):  # from both ends up to the damage
                try:
                    found |= {seq for (seq,) in old.execute(f"{walk} {order}")}
                except sqlite3.Error as error:
                    source.erring |= not schema.shows_damage(error)
                    broken = True
    source.numbers = sorted(seq for seq in found if isinstance(seq, int))
    source.blank = broken and not source.numbers
    return source


def _any_loads(source: _Source) -> bool:
    with closing(_open_damaged(source.file)) as old:
        for seq in source.numbers:
            with suppress(sqlite3.Error, schema.DamagedError):
                outbox.load(old, seq, tag=schema.tag_expression(old))
                return True
    return False


def _give_first_page(file: Path, page: bytes) -> None:
    opened = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(opened, page, 0)
        os.fsync(opened)
    finally:
        os.close(opened)


def _save_some(source: _Source, old: sqlite3.Connection, db: sqlite3.Connection, gone: Collection[str]) -> int:
    """Save the first of a database's requests, take them off its list, and return how many were saved."""
    tag = schema.tag_expression(old)
    tried = saved = size = 0
    for seq in source.numbers[:_STEP]:
        tried += 1
        entry = _read(source, seq, partial(outbox.load, old, seq, tag=tag))
        if entry is None or entry.tag.id in gone or outbox.holds(db, entry.tag.id):
            continue
        pcm = _read(source, seq, partial(outbox.load_pcm, old, seq, entry))
        if pcm is None:
            continue
        # Nobody can say what a damaged file said about review: strictest.
        review = tighten(entry.tag.review, unreadable())
        outbox.insert(db, dataclasses.replace(entry, tag=msgspec.structs.replace(entry.tag, review=review)), pcm)
        saved += 1
        size += len(pcm)
        if size >= _STEP_BYTES:
            break
    del source.numbers[:tried]
    return saved


def _read(source: _Source, seq: int, load: Callable[[], T]) -> T | None:
    """Read a part of a request, or note why that cannot be done."""
    try:
        return load()
    except (sqlite3.Error, schema.DamagedError) as error:
        if schema.shows_damage(error):
            source.lost.append(seq)
        else:
            source.erring, source.unread = True, source.unread + 1
        return None


def _counters(old: sqlite3.Connection) -> list[tuple[str, int]]:
    with suppress(sqlite3.Error):
        rows = old.execute("SELECT name, value FROM counter").fetchall()
        return [(name, value) for name, value in rows if isinstance(value, int) and value >= 0]
    return []


def _lenient(text: bytes) -> str:
    return text.decode(errors="replace")
