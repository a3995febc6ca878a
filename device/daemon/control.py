"""What other programs on this machine ask the daemon for at once, each request answered in one thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from device.edges.control import Client, Server
from device.errors import RecorderError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Control:
    """Answers from ``start`` to ``stop``; an error that nothing expects ends its thread and is kept in ``failure``.

    Args:
        state_dir: the state folder, which is this daemon's alone.
        press: a button was pressed; raises RecorderError where nobody can be listened to.
        on_failure: called when the thread ends by an error.
    """

    def __init__(self, state_dir: Path, *, press: Callable[[], None], on_failure: Callable[[], None]) -> None:
        self._press = press
        self._on_failure = on_failure
        self._server = Server(state_dir, self._asked, self._left)
        self._thread = threading.Thread(target=self._main, name="control", daemon=True)
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Begin to answer.

        Raises:
            OSError: the file system of the state folder has no sockets.
        """
        self._server.open()
        self._thread.start()

    def stop(self) -> None:
        """Answer nobody any more."""
        self._server.close()
        if self._thread.is_alive():
            self._thread.join()

    def _main(self) -> None:
        try:
            self._server.serve()
        except BaseException as error:  # noqa: BLE001 - the supervisor raises it again
            self.failure = error
            self._on_failure()

    def _asked(self, client: Client) -> bool:
        if client.asks.get("do") != "listen":
            raise RecorderError("the daemon does not know what is asked for", hint="is it of the same version?")
        self._press()
        return False

    def _left(self, client: Client) -> None:
        """Take note that a client that stayed has gone: none does."""
