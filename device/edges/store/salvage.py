"""A new database in the place of a missing or damaged one, with every request in it that can still be proven whole."""

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
_BATCH = 64  # requests saved by one transaction: the log stays small
_WALKS = (
    "SELECT seq FROM request ORDER BY seq",
    "SELECT seq FROM request INDEXED BY sqlite_autoindex_request_1 ORDER BY id",
    "SELECT seq FROM audio ORDER BY seq",
)


@dataclass(frozen=True, slots=True)
class Replaced:
    """What became of a database: its new name ("" if there was none), requests saved, and requests known to be lost."""

    set_aside: str
    saved: int
    lost: int


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
    saved = lost = 0
    with closing(schema.connect(building, new=True)) as new:
        folder.make_private(building)
        schema.migrate(new)
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with schema.transaction(new):
            choice.begin(new, first_start=first_start, muted=folder.mute_witnessed(), wall_ns=now.wall_ns)
        if folder.database.exists():
            saved, lost = _rescue(folder.database, building, new, done)
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _remove(_beside(folder, _PATCHED))
    building.rename(_beside(folder, _READY))
    folder.sync()
    return Replaced(finish(folder, now), saved, lost)


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


def _rescue(damaged: Path, building: Path, new: sqlite3.Connection, done: Collection[str]) -> tuple[int, int]:
    """Fill the new database from the damaged one; returns how many requests were saved, and found but lost."""
    with closing(_open_damaged(damaged)) as old:
        if _readable(old):
            return _copy(old, new, done)
    if damaged.stat().st_size < 2 * _PAGE:
        return 0, 0
    with closing(_open_damaged(_patched(damaged, building))) as old:
        return _copy(old, new, done)


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


def _patched(damaged: Path, building: Path) -> Path:
    """Copy a database whose first page is lost, and give it the first page of a new one.

    That page holds the schema, with the page each table begins at. In a file with auto_vacuum SQLite puts those right
    at the front, wherever the data were, so that they are the same in every database of the same migrations.
    """
    patched = damaged.with_name(DATABASE + _PATCHED)
    _remove(patched)
    shutil.copyfile(damaged, patched)
    patched.chmod(0o600)
    log = damaged.with_name(damaged.name + "-wal")
    if log.exists():
        shutil.copyfile(log, patched.with_name(patched.name + "-wal"))
    with building.open("rb") as donor:
        page = bytearray(donor.read(_PAGE))
    page[28:40] = struct.pack(">III", patched.stat().st_size // _PAGE, 0, 0)  # pages; no free ones are known
    with patched.open("r+b") as file:
        file.write(page)
    return patched


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, done: Collection[str]) -> tuple[int, int]:
    saved = lost = 0
    numbers = _sequence_numbers(old)
    for start in range(0, len(numbers), _BATCH):
        with schema.transaction(new):
            for seq in numbers[start : start + _BATCH]:
                try:
                    saved += _save(old, new, seq, done)
                except (sqlite3.DatabaseError, schema.DamagedError) as error:
                    if isinstance(error, sqlite3.Error) and isinstance(schema.failure_of(error), StoreBusyError):
                        raise  # the new database has no room: better the damaged one stays until there is
                    lost += 1
    with schema.transaction(new):
        for name, value in _counters(old):
            choice.count(new, name, value)
        choice.count(new, "salvaged", saved)
        choice.count(new, "lost_to_damage", lost)
    return saved, lost


def _save(old: sqlite3.Connection, new: sqlite3.Connection, seq: int, done: Collection[str]) -> bool:
    entry = outbox.load(old, seq)
    if entry.tag.id in done:
        return False
    pcm = outbox.load_pcm(old, seq, entry)
    # Nobody can say what a damaged file said about review: strictest.
    tag = msgspec.structs.replace(entry.tag, review=tighten(entry.tag.review, unreadable()))
    outbox.insert(new, dataclasses.replace(entry, tag=tag), pcm)
    return True


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
