"""The history of what was sent: shown, cleared, and withdrawn. It has no sound, which leaves with the broker's word."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from device.edges.store import sent

if TYPE_CHECKING:
    from collections.abc import Collection

    from device.edges.store.database import Database
    from device.edges.store.results import Sent
    from device.edges.store.upkeep import Upkeep
    from device.message.timestamps import Clock


class History:
    """What was sent, and what consumers are to be asked to erase of it.

    Args:
        db: the database.
        upkeep: writes to it.
        clock: what time it is.
        days: how long it is kept; 0: not at all.

    Raises (every method):
        StoreBusyError, StoreError: as ``Store``.
    """

    def __init__(self, db: Database, upkeep: Upkeep, clock: Clock, days: float) -> None:
        self._db = db
        self._upkeep = upkeep
        self._clock = clock
        self._days = days

    def entries(self) -> list[Sent]:
        """Return what was sent, newest first."""
        return self._db.read(sent.entries)

    def clear(self) -> int:
        """Forget it, and tidy the files; returns how many requests. What is forgotten cannot be withdrawn any more."""
        cleared = self._upkeep.write_for_sure(sent.clear)
        self._upkeep.run(now=True)
        return cleared

    def withdraw(self, ids: Collection[str]) -> int:
        """Ask whoever has these requests to erase them; returns how many were not asked for before."""
        return self._upkeep.write_for_sure(partial(sent.ask_erasure, ids=ids))

    def to_erase(self, at_most: int = 1) -> list[str]:
        """Return some ids whose erasure is still to be told to the broker."""
        return self._db.read(partial(sent.to_erase, at_most=at_most))

    def note_erased(self, ids: Collection[str]) -> None:
        """Note that the broker has the notice of these."""
        self._upkeep.write_for_sure(partial(sent.note_erased, ids=ids))

    def expire(self) -> None:
        """Forget what is too old."""
        self._upkeep.write_for_sure(partial(sent.expire, days=self._days, now=self._clock.now()))
