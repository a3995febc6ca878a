"""A new database in the place of a missing or damaged one, with every request in it that can still be proven whole.

Where the disk has no room for all of them, the oldest are saved at once, and the others whenever there is more room.
"""

from __future__ import annotations

import dataclasses
import shutil
import sqlite3
import struct
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from device.core.review import tighten, unreadable
from device.edges.store import choice, outbox, schema
from device.edges.store.folder import BUILDING, DATABASE
from device.errors import StoreBusyError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from device.core.moment import Now
    from device.edges.store.folder import StateFolder

_READY = ".ready"  # complete and synced: after a crash the exchange is finished with it
_PATCHED = ".patched"  # a copy of the damaged database with another first page
_PAGE = 4096
_NO_VERSION = 2**31 - 1
_STEP = 64  # requests saved by one transaction at most: the log stays small
_STEP_BYTES = 1_000_000  # of sound; the one that reaches it is the transaction's last
_KEEP_FREE_BYTES = 2_000_000  # left for recording on
_ROOM_BYTES = _KEEP_FREE_BYTES + 2 * _STEP_BYTES  # what a transaction brings is in the log, and then in the file
_WALKS = (
    "SELECT seq FROM request ORDER BY seq",
    "SELECT seq FROM request INDEXED BY sqlite_autoindex_request_1 ORDER BY id",
    "SELECT seq FROM audio ORDER BY seq",
)


@dataclass(frozen=True, slots=True)
class Replaced:
    """What became of a database.

    Attributes:
        set_aside: its new name; empty if there was none.
        saved: requests saved.
        lost: requests known to be lost.
        left: requests in it that wait for room on the disk.
    """

    set_aside: str
    saved: int
    lost: int
    left: int


@dataclass(slots=True)
class _Progress:
    saved: int = 0
    lost: int = 0
    left: int = 0


def replace(folder: StateFolder, *, first_start: bool, now: Now, done: Collection[str] = ()) -> Replaced:
    """Put a new database in place, filled from the damaged one if there is one; call it with the folder held alone.

    A crash at any point leaves either the old database, or the new one ready to be put in place.

    Args:
        folder: the state folder.
        first_start: was there never a database here? Else nobody knows what the user chose.
        now: when.
        done: ids that the broker has acknowledged and that need not be saved.
    """
    building = _beside(folder, BUILDING)
    _remove(building)
    folder.spend_reserve()  # the store makes it again
    progress = _Progress()
    with closing(schema.connect(building, new=True)) as new:
        folder.make_private(building)
        schema.migrate(new)
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with schema.transaction(new):
            choice.begin(new, first_start=first_start, muted=folder.mute_witnessed(), wall_ns=now.wall_ns)
        if folder.database.exists():
            progress = _rescue(folder, building, new, done)
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _remove(_beside(folder, _PATCHED))
    building.rename(_beside(folder, _READY))
    folder.sync()
    return Replaced(finish(folder, now), progress.saved, progress.lost, progress.left)


def finish(folder: StateFolder, now: Now) -> str:
    """Put a ready database in place if one lies there, as after a crash; returns the old one's new name, or ""."""
    ready = _beside(folder, _READY)
    if not ready.exists():
        return ""
    name = ""
    if any(_beside(folder, suffix).exists() for suffix in ("", "-wal", "-shm")):
        name = folder.set_aside(now.wall_ns)
    ready.rename(folder.database)
    folder.sync()
    return name


def unfinished(folder: StateFolder) -> bool:
    """Did a crash leave a ready database that is not in place yet?"""
    return _beside(folder, _READY).exists()


def _beside(folder: StateFolder, suffix: str) -> Path:
    return folder.path / f"{DATABASE}{suffix}"


def _remove(file: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def save_more(folder: StateFolder, db: sqlite3.Connection, done: Collection[str]) -> Replaced | None:
    """Save some of the requests that there was no room for; inside a writing transaction on the database in use.

    Returns:
        What came of it; None if there is nothing to save, or still no room.
    """
    after = choice.saved_up_to(db)
    files = folder.set_aside_files()
    if after is None or not files:
        choice.set_saved_up_to(db, None)
        return None
    if folder.free_bytes() < _ROOM_BYTES:
        return None
    progress = _Progress()
    with closing(_open_damaged(files[-1])) as old:
        numbers = [seq for seq in _sequence_numbers(old) if seq > after]
        _save_some(old, db, numbers, done, progress)
    progress.left = len(numbers)
    return Replaced(files[-1].name, progress.saved, progress.lost, progress.left)


def _rescue(folder: StateFolder, building: Path, new: sqlite3.Connection, done: Collection[str]) -> _Progress:
    """Fill the new database from the damaged one, as far as there is room."""
    damaged = folder.database
    with closing(_open_damaged(damaged)) as old:
        if _readable(old):
            return _copy(old, new, done, folder)
    if damaged.stat().st_size < 2 * _PAGE:
        return _Progress()
    patched = _patched(folder, building)
    with closing(_open_damaged(patched)) as old:
        progress = _copy(old, new, done, folder)
    if progress.left and patched != damaged:  # somebody took the room; the copy goes, and the file itself is unreadable
        raise schema.DiskFullError("the disk has no room for what is saved from the damaged database")
    return progress


def _open_damaged(file: Path) -> sqlite3.Connection:
    old = sqlite3.connect(file, isolation_level=None)
    old.text_factory = _lenient
    with suppress(sqlite3.Error):
        old.execute("PRAGMA writable_schema=ON")  # lets SQLite read a file that was cut short
    return old


def _readable(old: sqlite3.Connection) -> bool:
    try:
        old.execute("SELECT seq FROM request LIMIT 1")
    except sqlite3.Error:
        return False
    return True


def _patched(folder: StateFolder, building: Path) -> Path:
    """Return a copy of the damaged database with a first page; the very file where there is no room for a copy."""
    damaged, patched = folder.database, _beside(folder, _PATCHED)
    log = damaged.with_name(damaged.name + "-wal")
    size = damaged.stat().st_size + (log.stat().st_size if log.exists() else 0)
    _remove(patched)
    if folder.free_bytes() < 2 * size + _ROOM_BYTES:
        _give_first_page(damaged, building)
        return damaged
    shutil.copyfile(damaged, patched)
    patched.chmod(0o600)
    if log.exists():
        shutil.copyfile(log, patched.with_name(patched.name + "-wal"))
    _give_first_page(patched, building)
    return patched


def _give_first_page(file: Path, donor: Path) -> None:
    """Put the first page of a whole database in the place of a lost one, of which nothing can be read anyway.

    That page holds the schema, with the page each table begins at. In a file with auto_vacuum SQLite puts those right
    at the front, wherever the data were, so that they are the same in every database of the same migrations. The
    version is none of ours: were this the file in use and the power cut now, the next start must find it damaged.
    """
    with donor.open("rb") as whole:
        page = bytearray(whole.read(_PAGE))
    page[28:40] = struct.pack(">III", file.stat().st_size // _PAGE, 0, 0)  # pages; no free ones are known
    page[60:64] = struct.pack(">I", _NO_VERSION)
    with file.open("r+b") as damaged:
        damaged.write(page)


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, done: Collection[str], folder: StateFolder) -> _Progress:
    progress = _Progress()
    numbers = _sequence_numbers(old)
    with schema.transaction(new):
        for name, value in _counters(old):
            choice.count(new, name, value)
        choice.set_saved_up_to(new, numbers[0] - 1 if numbers else None)
    while numbers and folder.free_bytes() >= _ROOM_BYTES:
        with schema.transaction(new):
            _save_some(old, new, numbers, done, progress)
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    progress.left = len(numbers)
    return progress


def _save_some(
    old: sqlite3.Connection, new: sqlite3.Connection, numbers: list[int], done: Collection[str], progress: _Progress
) -> None:
    """Save the first of these requests, note how far it got, and take them off the list."""
    tried = saved = lost = size = 0
    for seq in numbers[:_STEP]:
        tried += 1
        try:
            length = _save(old, new, seq, done)
        except (sqlite3.DatabaseError, schema.DamagedError) as error:
            if isinstance(error, sqlite3.Error) and isinstance(schema.failure_of(error), StoreBusyError):
                raise  # the new database has no room after all: better the damaged one stays until there is
            lost += 1
            continue
        saved += length is not None
        size += length or 0
        if size >= _STEP_BYTES:
            break
    choice.count(new, "salvaged", saved)
    choice.count(new, "lost_to_damage", lost)
    choice.set_saved_up_to(new, numbers[tried - 1] if tried < len(numbers) else None)
    del numbers[:tried]
    progress.saved += saved
    progress.lost += lost


def _save(old: sqlite3.Connection, new: sqlite3.Connection, seq: int, done: Collection[str]) -> int | None:
    """Save one request; returns the bytes of its sound, None where the broker has it already."""
    entry = outbox.load(old, seq, tag=schema.tag_expression(old))
    if entry.tag.id in done:
        return None
    pcm = outbox.load_pcm(old, seq, entry)
    # Nobody can say what a damaged file said about review: strictest.
    tag = msgspec.structs.replace(entry.tag, review=tighten(entry.tag.review, unreadable()))
    outbox.insert(new, dataclasses.replace(entry, tag=tag), pcm)
    return len(pcm)


def _counters(old: sqlite3.Connection) -> list[tuple[str, int]]:
    with suppress(sqlite3.Error):
        rows = old.execute("SELECT name, value FROM counter").fetchall()
        return [(name, value) for name, value in rows if isinstance(value, int) and value >= 0]
    return []


def _sequence_numbers(old: sqlite3.Connection) -> list[int]:
    """Return the numbers of all requests that anything in the file still tells of, oldest first."""
    found = set()
    for walk in _WALKS:
        for order in ("ASC", "DESC"):  # from both ends up to the damage
            with suppress(sqlite3.Error):
                for (seq,) in old.execute(f"{walk} {order}"):
                    found.add(seq)
    return sorted(seq for seq in found if isinstance(seq, int))


def _lenient(text: bytes) -> str:
    return text.decode(errors="replace")
