"""The ids of requests that were answered, in a file that outlives restarts and power cuts; nothing else of them."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING

from device.errors import StateFolderError, StoreBusyError
from device.whole_file import write_whole

if TYPE_CHECKING:
    from pathlib import Path

MOST = 10_000  # that are kept for certain: what a broker hands out again was under way lately


class Answered:
    """Ids, a line each, the newest last. Safe from every thread.

    Args:
        folder: where the file is, in the state folder; made if it is not there.

    Raises:
        StateFolderError: it cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "answered"
        self._lock = threading.Lock()
        try:
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # the recorder's, which is as private
            folder.mkdir(mode=0o700, exist_ok=True)
            whole_lines = self._read().rpartition("\n")[0]  # a power cut may have left half of the last one
            self._ids = dict.fromkeys(filter(None, whole_lines.split("\n")))  # a set that keeps its order
            self._file = self._written()
        except OSError as error:
            raise StateFolderError(
                f"{self._path}: {error.strerror}", hint="the ids of answered requests are kept there"
            ) from error

    def _read(self) -> str:
        try:
            return self._path.read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return ""

    def _written(self) -> int:
        """Write the newest ids anew, and return the open file for those to come."""
        self._ids = dict.fromkeys(list(self._ids)[-MOST:])
        write_whole(self._path, "".join(f"{one}\n" for one in self._ids).encode())
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._ids

    def add(self, request_id: str) -> None:
        """Keep an id; on the disk when this returns.

        Raises:
            StoreBusyError: the disk does not take it now; it is not kept.
        """
        with self._lock:
            if request_id in self._ids:
                return
            try:
                if len(self._ids) >= 2 * MOST:
                    before, self._file = self._file, self._written()
                    os.close(before)
                self._append(f"{request_id}\n".encode())
            except OSError as error:
                raise StoreBusyError(
                    f"{self._path}: {error.strerror}", hint="without it a request might be answered twice: make room"
                ) from error
            self._ids[request_id] = None

    def _append(self, line: bytes) -> None:
        """Append a line whole or not at all."""
        end = os.fstat(self._file).st_size
        try:
            _write_all(self._file, line)
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, end)
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _write_all(file: int, content: bytes) -> None:
    if os.write(file, content) < len(content):  # the disk took the beginning
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
