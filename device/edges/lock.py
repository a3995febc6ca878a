"""One daemon for one state folder, and how a command finds it."""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

from device.errors import RecorderError

if TYPE_CHECKING:
    from pathlib import Path


class DaemonLock:
    """A lock file that names the running daemon; the kernel gives the lock back however that daemon ends.

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
        deadline = time.monotonic() + timeout_s
        while not _locked(file):
            if time.monotonic() > deadline:
                os.close(file)
                raise RecorderError(
                    f"another wakeword-recorder (process {self.holder()}) runs with state folder {self._path.parent}",
                    hint="stop it, or set [device] state_dir to another folder",
                )
            time.sleep(0.05)
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        self._file = file

    def holder(self) -> int | None:
        """Return the process id of the running daemon, None if none runs."""
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            if _locked(file):  # nobody has it; closing gives it back
                return None
            return int(os.pread(file, 20, 0) or b"0") or None
        finally:
            os.close(file)

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
