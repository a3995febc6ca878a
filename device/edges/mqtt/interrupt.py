"""How other threads end the wait of the thread that owns a connection."""

from __future__ import annotations

import select
import socket


class Interrupt:
    """Lets other threads end the owner's wait. ``set`` may be called by any thread, the rest by the owner."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def set(self) -> None:
        """End the owner's present wait, or its next one."""
        try:
            self._writer.send(b"\0")
        except OSError:
            return  # full of unread bytes: its wait ends anyway; or closed: nobody waits any more

    def clear(self) -> None:
        """Forget the calls of ``set`` so far."""
        try:
            self._reader.recv(4096)
        except BlockingIOError:
            return

    def wait(self, timeout_s: float) -> None:
        """Wait for ``set``, or the time."""
        if select.select([self._reader], [], [], timeout_s)[0]:
            self.clear()

    def fileno(self) -> int:
        """Return what can be polled."""
        return self._reader.fileno()

    def close(self) -> None:
        """Close both ends."""
        self._reader.close()
        self._writer.close()
