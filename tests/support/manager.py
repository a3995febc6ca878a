"""A service manager's end of the notification socket, with a watchdog that bites soon."""

from __future__ import annotations

import contextlib
import socket
import time

WATCHDOG_S = 2.0
PATIENCE_S = 30.0


class Manager:
    """The other end of NOTIFY_SOCKET; its watchdog bites after WATCHDOG_S without ``WATCHDOG=1``."""

    def __init__(self, folder):
        address = str(folder / "notify")
        self.env = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6))}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)

    def wait_for(self, line, timeout_s=PATIENCE_S):
        """Whether this line came in time; what came before it is dropped."""
        deadline = time.monotonic() + timeout_s
        with contextlib.suppress(TimeoutError):
            while (left_s := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left_s)
                if self._socket.recv(4096).decode() == line:
                    return True
        return False

    def is_fed(self):
        """Whether it comes in time three times running, beginning now."""
        self._forget()
        return all(self.wait_for("WATCHDOG=1", WATCHDOG_S) for _ in range(3))

    def bites(self):
        """Whether the watchdog, wound up now, runs out."""
        self._forget()
        return not self.wait_for("WATCHDOG=1", WATCHDOG_S)

    def _forget(self):
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(4096)

    def close(self):
        self._socket.close()
