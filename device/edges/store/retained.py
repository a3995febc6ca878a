"""Which retained commands were executed; every function works inside its caller's transaction.

A broker hands a retained command out at each connection, and nobody knows when it was published. So it counts once,
and what was chosen on the device after that is not undone by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from device.errors import CommandRefusedError

if TYPE_CHECKING:
    import sqlite3

    from device.edges.store.results import Retained


def counts(db: sqlite3.Connection, retained: Retained, *, in_effect: bool) -> bool:
    """Return whether a command counts, and note that it does.

    Args:
        db: the database.
        retained: the command.
        in_effect: is what it asks for so already?

    Raises:
        CommandRefusedError: it has counted before, and what it asks for was undone since.
    """
    if standing(db, retained.place) != retained.payload:
        db.execute("INSERT OR REPLACE INTO obeyed VALUES (?, ?)", (retained.place, retained.payload))
        return True
    if not in_effect:
        raise CommandRefusedError("it counted once, and the user has chosen otherwise since")
    return False


def standing(db: sqlite3.Connection, place: str) -> bytes | None:
    """Return the command that was executed and, as far as we know, is still kept at a place; None if there is none."""
    row = db.execute("SELECT payload FROM obeyed WHERE place = ?", (place,)).fetchone()
    return None if row is None else bytes(row[0])


def forget(db: sqlite3.Connection, place: str) -> None:
    """Note that nothing is kept at a place any more: what comes from there later is a new command."""
    db.execute("DELETE FROM obeyed WHERE place = ?", (place,))
