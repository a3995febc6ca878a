"""What other programs on this machine ask the daemon for at once, each request answered in one thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device.daemon.worker import Worker
from device.edges.control import Client, Server
from device.errors import RecorderError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Control:
    """Answers from ``start`` to ``stop``.

    Args:
        state_dir: the state folder, which is this daemon's alone.
        press: a button was pressed; raises RecorderError where nobody can be listened to.

    Attributes:
        worker: its thread.
    """

    def __init__(self, state_dir: Path, *, press: Callable[[], None]) -> None:
        self._press = press
        self._server = Server(state_dir, self._asked, self._left)
        self.worker = Worker("control", self._server.serve)

    def start(self) -> None:
        """Begin to answer.

        Raises:
            OSError: the file system of the state folder has no sockets.
        """
        self._server.open()
        self.worker.start()

    def stop(self) -> None:
        """Answer nobody any more."""
        self._server.close()
        self.worker.join_started()

    def _asked(self, client: Client) -> bool:
        if client.asks.get("do") != "listen":
            raise RecorderError("the daemon does not know what is asked for", hint="is it of the same version?")
        self._press()
        return False

    def _left(self, client: Client) -> None:
        """Take note that a client that stayed has gone: none does."""
