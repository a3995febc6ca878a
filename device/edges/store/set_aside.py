"""Damaged databases that were set aside: those that wait to be saved from, and what of them cannot be read."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from device.edges.store import schema
from device.edges.store.folder import DATABASE

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from device.edges.store.folder import StateFolder

_KEEP_UNREADABLE = 2  # the newest; a failing card must not fill itself with them
_WAITING, _UNREADABLE = "damaged", "unreadable"
_NAME = re.compile(rf"{re.escape(DATABASE)}\.(?:{_WAITING}|{_UNREADABLE})-(\d+T\d+Z)(?:-(\d+))?")
_GONE_AHEAD_BYTES = 64 * 1024  # room for some ids more than are noted, for when the disk is full
_LOG_FILES = ("-wal", "-shm")  # what belongs to a database file, under its name and these suffixes


class SetAside:
    """The files of a state folder beside the database in use.

    ``recorder.db.damaged-TIME`` holds requests that wait for room in the database in use. Once all are saved it is
    deleted; if some of it cannot be read, that remains, as ``recorder.db.unreadable-TIME``. ``recorder.db.gone`` lists
    the ids that left the outbox meanwhile, so that they are not saved once more should the database in use be
    damaged, too.

    Args:
        folder: the state folder, held by the caller during every call that changes something.
    """

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder
        self._gone_file = folder.path / f"{DATABASE}.gone"

    def put(self, wall_ns: int) -> Path:
        """Move the database here, its log first: an orphaned log would be replayed into the next database.

        Returns:
            The file it is now; its name sorts behind all others.
        """
        file = self._interrupted() or self._folder.path / f"{DATABASE}.{_WAITING}-{self._next_name(wall_ns)}"
        database = self._folder.database
        for suffix in _LOG_FILES:
            log = database.with_name(database.name + suffix)
            if log.exists():
                log.rename(_beside(file, suffix))
        if database.exists():
            database.rename(file)
        else:  # all that was left is the log; with a first page SQLite can read it
            file.write_bytes(schema.first_page(len(schema.MIGRATIONS)))
            self._folder.make_private(file)
        self._folder.sync()
        with suppress(OSError):
            self._append_gone([""])  # takes its room on the disk, before saving takes all there is
        return file

    def waiting(self) -> list[Path]:
        """Return the databases with requests that wait to be saved, the oldest first."""
        return self._files(_WAITING)

    def unreadable(self) -> list[Path]:
        """Return what remained of databases because it could not be read, the oldest first."""
        return self._files(_UNREADABLE)

    def finish(self, file: Path, remains: Path | None = None) -> Path | None:
        """Delete a database that everything was saved from.

        Args:
            file: the database.
            remains: a file with what could not be read of it, to be kept; None if there is nothing.

        Returns:
            What the remains are called now.
        """
        kept = None if remains is None else remains.rename(self._unreadable_name(file))
        self._folder.sync()
        self._delete(file)
        self._forget()
        return kept

    def keep_unreadable(self, file: Path) -> Path:
        """Keep a database that nothing can be read from, as it is; returns what it is called now."""
        kept = self._unreadable_name(file)
        for suffix in (*_LOG_FILES, ""):
            part = _beside(file, suffix)
            if part.exists():
                part.rename(_beside(kept, suffix))
        self._forget()
        return kept

    def delete_all(self) -> int:
        """Delete everything here, whether it could still be saved or not; returns how many files there were."""
        files = [*self.waiting(), *self.unreadable()]
        for file in files:
            self._delete(file)
        self._forget()
        return len(files)

    def expire(self, before_ns: int) -> list[str]:
        """Delete what could not be read and is older, by the wall clock; returns the names."""
        old = [file for file in self.unreadable() if file.stat().st_mtime_ns < before_ns]
        for file in old:
            self._delete(file)
        return [file.name for file in old]

    def note_gone(self, ids: Collection[str]) -> None:
        """Note that requests leave the outbox for good; call it before they do, and only count on it once they did.

        Where even the reserve has no room for that they leave all the same: it is only missed if the database in use,
        too, is damaged before the one set aside is saved from.
        """
        if not ids or not self.waiting():
            return
        try:
            self._append_gone(ids)
        except OSError:
            self._folder.spend_reserve()
            with suppress(OSError):
                self._append_gone(ids)

    def _append_gone(self, ids: Collection[str]) -> None:
        file = os.open(self._gone_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._folder.make_private(self._gone_file)
            end = len(os.pread(file, os.fstat(file).st_size, 0).rstrip(b"\0"))
            text = "".join(f"{request_id}\n" for request_id in ids).encode()
            with suppress(OSError):
                os.posix_fallocate(file, 0, end + len(text) + _GONE_AHEAD_BYTES)
            os.pwrite(file, text, end)
            os.fsync(file)
        finally:
            os.close(file)

    def gone(self) -> set[str]:
        """Return the ids noted."""
        try:
            return set(self._gone_file.read_bytes().rstrip(b"\0").decode(errors="replace").split())
        except FileNotFoundError:
            return set()

    def _forget(self) -> None:
        """Keep no list that nobody needs, and no more remains than a person will look at."""
        if not self.waiting():
            self._gone_file.unlink(missing_ok=True)
        for file in self.unreadable()[:-_KEEP_UNREADABLE]:
            self._delete(file)
        self._folder.sync()

    def _delete(self, file: Path) -> None:
        for suffix in (*_LOG_FILES, ""):  # last what it is known by: after a crash it is deleted once more
            _beside(file, suffix).unlink(missing_ok=True)

    def _files(self, kind: str) -> list[Path]:
        found = self._folder.path.glob(f"{DATABASE}.{kind}-*")
        ordered = [(order, path) for path in found if (order := _order(path.name)) is not None]
        return [path for _, path in sorted(ordered)]

    def _unreadable_name(self, file: Path) -> Path:
        return file.with_name(file.name.replace(_WAITING, _UNREADABLE))

    def _next_name(self, wall_ns: int) -> str:
        """Return a time that sorts last, though the clock may have been set back since the others."""
        order = (time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(wall_ns // 1_000_000_000)), 1)
        for file in (*self.waiting(), *self.unreadable()):
            stamp, number = _order(file.name) or order
            order = max(order, (stamp, number + 1))
        return order[0] if order[1] == 1 else f"{order[0]}-{order[1]}"

    def _interrupted(self) -> Path | None:
        """Return the name that a put had begun with when the process ended."""
        for suffix in _LOG_FILES:
            for log in self._folder.path.glob(f"{DATABASE}.{_WAITING}-*{suffix}"):
                file = log.with_name(log.name.removesuffix(suffix))
                if not file.exists():
                    return file
        return None


def size_of(file: Path) -> int:
    """Return what a database takes of the disk, its log included."""
    return sum(part.stat().st_size for suffix in ("", *_LOG_FILES) if (part := _beside(file, suffix)).exists())


def _order(name: str) -> tuple[str, int] | None:
    found = _NAME.fullmatch(name)
    return (found[1], int(found[2] or 1)) if found else None


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)
