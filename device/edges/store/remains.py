"""What SQLite can still read of requests that are not what was stored: kept in a file of its own, and nothing else.

So the sound of those that were saved, and sent since, is not kept with it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from device.edges.store import schema
from device.edges.store.folder import BUILDING, DATABASE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from device.edges.store.folder import StateFolder

_TABLES = ("request", "audio")


def write(folder: StateFolder, old: sqlite3.Connection, numbers: Sequence[int]) -> Path | None:
    """Copy the rows of these requests, as far as they can be read, into a new database.

    Args:
        folder: the state folder, where it is made under a name that counts as half done.
        old: the damaged database.
        numbers: of the requests.

    Returns:
        The new file; None if nothing of them can be read.

    Raises:
        sqlite3.Error: it cannot be written, or the disk gives errors where they lie.
    """
    file = folder.path / f"{DATABASE}{BUILDING}-remains"
    file.unlink(missing_ok=True)
    with closing(sqlite3.connect(file, isolation_level=None)) as new:
        folder.make_private(file)
        new.execute("PRAGMA journal_mode=OFF")  # half done it is of no use
        new.execute("BEGIN")
        copied = sum(_copy(old, new, table, seq) for table in _TABLES for seq in numbers)
        new.execute("COMMIT")
    if copied:
        return file
    file.unlink()
    return None


def count(file: Path) -> int | None:
    """Return how many requests there is something of in a file; None where nobody can say."""
    numbers, known = set(), False
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        for table in _TABLES:
            with suppress(sqlite3.Error):
                numbers |= set(db.execute(f"SELECT seq FROM {table}"))  # noqa: S608
                known = True
    return len(numbers) if known else None


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, table: str, seq: int) -> int:
    try:
        rows = old.execute(f"SELECT * FROM {table} WHERE seq = ?", (seq,))  # noqa: S608
        row = rows.fetchone()
    except sqlite3.Error as error:
        if schema.shows_damage(error):
            return 0
        raise
    if row is None:
        return 0
    columns = ", ".join(f'"{column[0]}"' for column in rows.description)
    new.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
    new.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608
    return 1
