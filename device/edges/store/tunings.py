"""What was changed over MQTT of the wake words and their thresholds; the configuration file stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from device.hearing.tuning import Tuning

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from device.edges.store.database import Database
    from device.edges.store.upkeep import Upkeep

_NAME = "wake"


class Tunings:
    """The whole change, as one setting.

    Args:
        db: the database.
        upkeep: writes to it.

    Raises (every method):
        StoreBusyError, StoreError: as ``Store``.
    """

    def __init__(self, db: Database, upkeep: Upkeep) -> None:
        self._db = db
        self._upkeep = upkeep

    def read(self) -> Tuning:
        """Return what was changed, whether or not the configuration lets it count; one that makes no sense is none."""
        return self._db.read(_read)

    def change(self, how: Callable[[Tuning], Tuning]) -> None:
        """Store what ``how`` makes of the change so far; the same again writes nothing."""

        def change(db: sqlite3.Connection) -> None:
            before = _read(db)
            if (after := how(before)) != before:
                encoded = msgspec.json.encode(after).decode()
                db.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (_NAME, encoded))

        self._upkeep.write(change)

    def reset(self) -> Tuning:
        """Undo whatever was changed; return what that was."""

        def reset(db: sqlite3.Connection) -> Tuning:
            before = _read(db)
            db.execute("DELETE FROM setting WHERE name = ?", (_NAME,))
            return before

        return self._upkeep.write(reset)


def _read(db: sqlite3.Connection) -> Tuning:
    row = db.execute("SELECT value FROM setting WHERE name = ?", (_NAME,)).fetchone()
    try:
        return msgspec.json.decode(row[0], type=Tuning) if row else Tuning()
    except msgspec.DecodeError:
        return Tuning()
