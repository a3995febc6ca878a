"""A second record of the choice and the mute beside the database, for the day that the database is older than they.

SQLite keeps the newest changes in its log. Were that log lost, or the database deleted or replaced by an older copy, an
opt-out or a mute would be undone without a trace. The record is the *name* of an empty file: ``muted``, or
``chosen-7-opted-out`` for the choice of revision 7. No flipped byte can change a name, and an older copy of the folder
that is copied over this one does not overwrite the newer names in it.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from device.edges.store.folder import CHOICE_WITNESS, MUTE_WITNESS
from device.edges.store.schema import file_failure
from device.message.review import OPTED_OUT, REVIEWABLE, decision, opts_out
from device.message.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from device.edges.store.folder import StateFolder
    from device.message.review import Review

_NAME = re.compile(rf"{CHOICE_WITNESS}([1-9]\d{{0,17}})-({OPTED_OUT}|{REVIEWABLE})")


@dataclass(frozen=True, slots=True)
class _Noted:
    """A choice that stands in a file's name; ``revision`` is 0 where the name makes no sense."""

    file: Path
    revision: int
    opt_out: bool


class Witness:
    """The records in a state folder; all that writes is called inside a writing transaction on the database.

    Raises (every method that writes):
        StoreBusyError: it cannot be written, or is not surely on the disk.

    Args:
        folder: the state folder.
    """

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder
        self._mute = folder.path / MUTE_WITNESS

    def contradiction(self, stored: Review) -> str:
        """Return why the choice in the database is not the last one; empty if it is.

        The highest revision counts, and of two choices of one revision, as a crash may leave them, the opt-out.
        """
        try:
            noted = self._choices()
        except OSError as error:
            return f"the record of it beside the database cannot be read: {error.strerror}"
        for each in noted:
            if not each.revision:
                return f"the record of it beside the database is damaged: {each.file.name}"
        newest = max((each.revision for each in noted), default=0)
        if newest > stored.revision:
            return f"the database is an older one: it has revision {stored.revision}, but {newest} was chosen"
        if newest < stored.revision:
            return f"the record of revision {stored.revision} beside the database is missing"
        opted_out = any(each.opt_out for each in noted if each.revision == newest)
        if newest and opted_out != stored.opt_out:
            return f"the database and the record beside it disagree on revision {newest}"
        return ""

    def note_choice(self, *, opt_out: bool, above: int) -> int:
        """Record a choice, before the database does.

        Args:
            opt_out: the choice.
            above: the database's revision.

        Returns:
            Its revision, above all that there were.
        """
        with self._file_errors():
            revision = max([above, *(each.revision for each in self._choices())]) + 1
            self._make(self._file_of(revision, opt_out=opt_out))
        return revision

    def adopt(self, stored: Review) -> None:
        """Record the choice of a database that is older than these records."""
        with self._file_errors():
            if stored.revision and not self._choices():
                self._make(self._file_of(stored.revision, opt_out=stored.opt_out))

    def take_back(self, revision: int, *, opt_out: bool) -> None:
        """Remove the record of a choice that the database then refused; what cannot be removed counts as damage."""
        with suppress(OSError):
            self._file_of(revision, opt_out=opt_out).unlink()

    def forget_before(self, revision: int) -> None:
        """Remove the records of older choices, and damaged ones; the newest counts also where that fails."""
        with suppress(OSError):
            for each in self._choices():
                if each.revision < revision:
                    each.file.unlink(missing_ok=True)

    def note_mute(self, *, muted: bool) -> None:
        """Record the mute, before the database does."""
        with self._file_errors():
            if muted:
                self._make(self._mute)
            else:
                self._mute.unlink(missing_ok=True)
                self._folder.sync()

    def muted_since(self) -> str:
        """Return since when the microphone is muted by this record (UTC, RFC 3339); empty if it is not."""
        try:
            return rfc3339(self._mute.stat().st_mtime_ns)
        except FileNotFoundError:
            return ""
        except OSError:  # nobody knows: muted
            return rfc3339(0)

    def _choices(self) -> list[_Noted]:
        noted = []
        for name in os.listdir(self._folder.path):  # noqa: PTH208 - asked for every request
            if name.startswith(CHOICE_WITNESS):
                parts = _NAME.fullmatch(name)
                revision, sense = parts.groups() if parts else ("0", "")
                noted.append(_Noted(self._folder.path / name, int(revision), opts_out(sense)))
        return noted

    def _file_of(self, revision: int, *, opt_out: bool) -> Path:
        return self._folder.path / f"{CHOICE_WITNESS}{revision}-{decision(opt_out=opt_out)}"

    def _make(self, file: Path) -> None:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._folder.make_private(file)
        self._folder.sync()

    @contextmanager
    def _file_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise file_failure(error, self._folder.path) from error
