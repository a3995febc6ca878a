"""What becomes of damaged databases: another in their place, their requests saved, what remains shown and deleted."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from device.edges.store import exchange, remains, salvage, schema
from device.edges.store.results import Damaged, StoreEvent
from device.edges.store.salvage import Salvage
from device.edges.store.set_aside import SetAside, size_of
from device.errors import StoreBusyError
from device.message.timestamps import NS_PER_S

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection
    from pathlib import Path

    from device.edges.store.folder import StateFolder
    from device.message.timestamps import Clock


class Rescue:
    """Deals with the damaged databases of a state folder, which the caller holds.

    Args:
        folder: the state folder.
        clock: what time it is.
        report: takes events.
        done: ids that need not be saved; read at that time.
    """

    def __init__(
        self, folder: StateFolder, clock: Clock, report: Callable[[StoreEvent], None], done: Collection[str]
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._report = report
        self._done = done
        self._set_aside = SetAside(folder)
        self._salvage = Salvage(folder, self._set_aside)

    def make(self, *, first_start: bool) -> Path | None:
        """Put a new database in place; the folder is held alone. Returns what the old one is called now, if any."""
        return exchange.replace(self._folder, self._set_aside, first_start=first_start, now=self._clock.now())

    def finish(self) -> None:
        """Put a database in place that a crash left ready; the folder is held alone."""
        exchange.finish(self._folder, self._set_aside, self._clock.now())

    def save_at_once(self, damaged: Path | None, reason: str, connection: Callable[[], sqlite3.Connection]) -> None:
        """Save what there is room for, the folder held alone, and report what became of a damaged database.

        Args:
            damaged: what it is called now.
            reason: how it was found to be damaged.
            connection: returns the one to the new database, before each step.
        """
        saved = lost = left = 0
        kept = ""
        if damaged is not None:
            with suppress(StoreBusyError), schema.file_errors():  # the rest is saved later
                while step := self._salvage.step(connection(), self._done):
                    if step.set_aside == damaged.name:
                        saved, lost, kept = saved + step.saved, lost + step.lost, step.kept
            left = self._salvage.left(damaged)
            kept = damaged.name if damaged.exists() else kept
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

    def waits(self) -> bool:
        """Is there anything to save?"""
        return bool(self._set_aside.waiting())

    def save_more(self, db: sqlite3.Connection) -> bool:
        """Save some requests, the folder held alone, and report when all are; returns whether to go on at once."""
        step = self._salvage.step(db, self._done)
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

        Where even the reserve has no room for that they leave all the same: it is only missed if the database in use,
        too, is damaged before the one set aside is saved from.
        """
        try:
            self._set_aside.note_gone(ids)
        except OSError:
            self._folder.spend_reserve()
            with suppress(OSError):
                self._set_aside.note_gone(ids)

    def damaged(self, db: sqlite3.Connection) -> list[Damaged]:
        """Return what lies in damaged databases; ``db`` is the one in use."""
        waiting, unreadable = self._set_aside.waiting(), self._set_aside.unreadable()
        known: set[str] = set()
        if waiting:
            known = {request_id for (request_id,) in db.execute("SELECT id FROM request")} | self._set_aside.gone()
        return [
            *(Damaged(each.name, True, salvage.waiting_in(each, known), size_of(each)) for each in waiting),
            *(Damaged(each.name, False, remains.count(each), size_of(each)) for each in unreadable),
        ]

    def delete(self) -> int:
        """Delete all damaged databases, the folder held alone; returns how many there were."""
        return self._set_aside.delete_all()

    def expire(self, max_age_s: float) -> None:
        """Delete, and report, what could not be read and is older than a request may become; the folder held alone."""
        now = self._clock.now()
        if not now.synced:
            return
        for name in self._set_aside.expire(now.wall_ns - round(max_age_s * NS_PER_S)):
            message = f"deleted {name}, which could not be read: [outbox] max_age_days is reached"
            self._report(StoreEvent("damaged-deleted", message, {"name": name}, level=logging.WARNING))

    def has_unreadable(self) -> bool:
        """Is anything kept that cannot be read?"""
        return bool(self._set_aside.unreadable())

    def retire(self, db: sqlite3.Connection) -> None:
        """Keep damaged databases that version 1 of the program had saved from already: it never deleted them."""
        unsaved = db.execute("SELECT 1 FROM counter WHERE name = 'saved_up_to'").fetchone()
        for file in self._set_aside.waiting()[: -1 if unsaved else None]:
            self._set_aside.keep_unreadable(file)
