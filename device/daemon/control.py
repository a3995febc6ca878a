"""What other programs on this machine ask the daemon for at once, each request answered in one thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from device.daemon.worker import Worker
from device.edges.control import Client, Server
from device.errors import RecorderError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from device.daemon.masking import Masking


MOST_S = 300.0  # of a mask


class Control:
    """Answers from ``start`` to ``stop``.

    Args:
        state_dir: the state folder, which is this daemon's alone.
        press: a button was pressed; raises RecorderError where nobody can be listened to.
        masking: is told when somebody plays something on this device.
        status: says how the microphone is, as `device.edges.control.status` has it.

    Attributes:
        worker: its thread.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        press: Callable[[], None],
        masking: Masking,
        status: Callable[[], dict[str, object]],
    ) -> None:
        self._press = press
        self._masking = masking
        self._status = status
        self._server = Server(state_dir, self._asked, self._left)
        self._lock = threading.Lock()
        self._players: set[Client] = set()  # guarded by it: the listener's thread interrupts them
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

    def interrupt(self) -> None:
        """Tell whoever plays something that a wake word was heard; returns at once."""
        with self._lock:
            for player in self._players:
                player.tell(wake=True)

    def _asked(self, client: Client) -> bool:
        match client.asks:
            case {"do": "listen"}:
                self._press()
                return False
            case {"do": "status"}:
                client.answer = self._status()
                return False
            case {"do": "mask", "for_s": float(seconds), "own": [*words]} if 0 < seconds <= MOST_S and _texts(words):
                self._masking.begin(client, seconds, frozenset(words))
                with self._lock:
                    self._players.add(client)
                return True
            case {"do": "mask", "for_s": float(seconds), **others} if 0 < seconds <= MOST_S and not others:
                self._masking.sound(seconds)
                return False
        raise RecorderError("the daemon does not know what is asked for", hint="is it of the same version?")

    def _left(self, client: Client) -> None:
        with self._lock:
            self._players.discard(client)
        self._masking.end(client)


def _texts(values: list[object]) -> bool:
    return all(isinstance(value, str) for value in values)
