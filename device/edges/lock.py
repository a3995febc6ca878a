"""One daemon for one state folder, and how a command finds out whether it runs."""

from __future__ import annotations

import fcntl
import os
import struct
import time
from typing import TYPE_CHECKING

from device.errors import RecorderError

if TYPE_CHECKING:
    from pathlib import Path

_FLOCK = struct.Struct("@hhqqi0q")  # struct flock of 64-bit Linux: type, whence, start, length, process


class DaemonLock:
    """A lock on a file, which the kernel gives back however the daemon ends.

    It belongs to the open file (F_OFD_SETLK), so that nothing else the process opens or closes lets go of it. Looking
    whether it is held takes nothing: any number of commands may look at once, and none is mistaken for the daemon.

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
                    f"another wakeword-recorder ({self.holder()}) runs with state folder {self._path.parent}",
                    hint="stop it, or set [device] state_dir to another folder",
                )
            time.sleep(0.05)
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
            found = fcntl.fcntl(file, fcntl.F_OFD_GETLK, _exclusive())
            if _FLOCK.unpack(found)[0] == fcntl.F_UNLCK:
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


def _exclusive() -> bytes:
    return _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


def _locked(file: int) -> bool:
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, _exclusive())
    except (BlockingIOError, PermissionError):  # EAGAIN, or EACCES where POSIX leaves the choice
        return False
    return True
