"""One daemon for one state folder, and how a command finds out whether it runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from device import file_lock
from device.errors import RecorderError

if TYPE_CHECKING:
    from pathlib import Path


class DaemonLock:
    """A lock on a file in the state folder.

    The daemon has it alone. Commands that look whether it is held share it for that moment: any number of them may look
    at once, none is mistaken for the daemon, and a daemon that is just starting waits a little for them.

    Args:
        state_dir: the state folder, which exists.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "daemon.lock"
        self._file: int | None = None

    def take(self, timeout_s: float) -> None:
        """Take the lock, waiting a little for a daemon that is just ending.

        Raises:
            RecorderError: another daemon keeps it.
        """
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not file_lock.lock(file, file_lock.ALONE, timeout_s):
            os.close(file)
            raise RecorderError(
                f"another wakeword-recorder ({self.holder()}) runs with state folder {self._path.parent}",
                hint="stop it, or set [device] state_dir to another folder",
            )
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        self._file = file

    def holder(self) -> str | None:
        """Return what to call the running daemon in a message to a person; None if none runs.

        Its process number is what it wrote into the file: nothing may be done by it, for a file can be copied.
        """
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            if file_lock.lock(file, file_lock.SHARED, 0):
                return None
            number = os.pread(file, 20, 0).decode(errors="replace")
            return f"process {number}" if number.isdecimal() else "a process that is just starting"
        finally:
            os.close(file)

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
