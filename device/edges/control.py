"""A socket in the state folder, by which programs on this machine ask the running daemon for something at once.

Everything that has to last goes through the database. A button that is pressed must be answered now, or not at all:
within the time a disk takes to sync, the person has begun to speak. Whoever may enter the state folder may connect:
the service's user, and root. One packet is a JSON object.
"""

from __future__ import annotations

import json
import os
import select
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from device.errors import MicrophoneUnavailableError, RecorderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

NAME = "control"
MOST_CLIENTS = 16
_MOST_BYTES = 65_536  # of a packet
_ANSWER_S = 5.0


class Client:
    """A program that is connected; used by the server's thread, but for ``tell``.

    Attributes:
        asks: what it wants, as it came; empty until then, or if it was no JSON object.
        answer: what it is told when it gets what it wants.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.asks: dict[str, Any] = {}
        self.answer: dict[str, object] = {}

    def tell(self, **facts: object) -> None:
        """Send it something; one that does not read misses it. May be called by any thread."""
        with suppress(OSError):
            self.connection.send(json.dumps(facts).encode())


class Server:
    """The daemon's end.

    Args:
        state_dir: the state folder; whoever serves it holds its lock.
        on_ask: called with each client that asks for something; raises RecorderError to refuse. Returns whether the
            client stays connected.
        on_leave: called when one that stayed has gone.
    """

    def __init__(self, state_dir: Path, on_ask: Callable[[Client], bool], on_leave: Callable[[Client], None]) -> None:
        self._state_dir = state_dir
        self._on_ask = on_ask
        self._on_leave = on_leave
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.setblocking(False)
        self._end = os.eventfd(0)
        self._clients: dict[int, Client] = {}  # by the descriptor of their connection

    def open(self) -> None:
        """Let programs connect.

        Raises:
            OSError: the file system of the state folder has no sockets.
        """
        with _beside(self._state_dir) as path:
            with suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108 - left by a daemon that was killed
            self._listener.bind(path)
            os.chmod(path, 0o600)  # noqa: PTH101
        self._listener.listen(MOST_CLIENTS)

    def serve(self) -> None:
        """Answer until ``close``."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._end, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if self._end in ready:
                return
            for descriptor in ready.keys() & self._clients.keys():
                if not self._hear(self._clients[descriptor]):
                    poll.unregister(descriptor)
                    self._clients.pop(descriptor).connection.close()
            if self._listener.fileno() in ready and (client := self._accept()):
                poll.register(client.connection, select.POLLIN)
                self._clients[client.connection.fileno()] = client

    def close(self) -> None:
        """Have ``serve`` return, and let nobody connect any more; may be called by another thread."""
        os.eventfd_write(self._end, 1)
        with suppress(OSError), _beside(self._state_dir) as path:
            os.unlink(path)  # noqa: PTH108

    def _accept(self) -> Client | None:
        with suppress(OSError):  # gone again, or no descriptor is left
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            if len(self._clients) < MOST_CLIENTS:
                return Client(connection)
            connection.close()
        return None

    def _hear(self, client: Client) -> bool:
        """Take a client's packet; return whether it stays connected."""
        try:
            packet = client.connection.recv(_MOST_BYTES)
        except OSError:
            packet = b""
        if client.asks or not packet:
            if client.asks:
                self._on_leave(client)
            return False
        try:
            client.asks = _object(packet)
            stays = self._on_ask(client)
        except RecorderError as error:
            client.tell(problem=error.message, hint=error.hint)
            return False
        client.tell(ok=True, **client.answer)
        return stays


def listen(state_dir: Path) -> None:
    """Have the daemon listen to a request now, as if a wake word had been heard.

    Raises:
        MicrophoneUnavailableError: it hears nobody: its microphone is muted or lost.
        RecorderError: no daemon runs with this state folder, or it does not answer.
    """
    with _asked(state_dir, do="listen"):
        return


def status(state_dir: Path) -> dict[str, Any]:
    """Return what the daemon says of its microphone: ``microphone``, its state; ``reason``; ``level_dbfs`` or None.

    Raises:
        RecorderError: no daemon runs with this state folder, or it does not answer.
    """
    with _asked(state_dir, do="status") as (_, answer):
        return answer


def mask(state_dir: Path, seconds: float) -> None:
    """Tell the daemon that something is played for so long, which is none of a request.

    Raises:
        RecorderError: as for `listen`.
    """
    with _asked(state_dir, do="mask", for_s=float(seconds)):
        return


@contextmanager
def playing(state_dir: Path, seconds: float, own: Iterable[str]) -> Iterator[Callable[[], bool]]:
    """Tell the daemon that something is played in this block.

    Args:
        state_dir: the daemon's.
        seconds: how long at most.
        own: the wake words that are in it, which nobody is interrupted by.

    Yields:
        What says, without waiting, whether somebody said a wake word since.

    Raises:
        RecorderError: as for `listen`.
    """
    with _asked(state_dir, do="mask", for_s=float(seconds), own=list(own)) as (connection, _):
        connection.setblocking(False)
        yield lambda: _interrupted(connection)


def _interrupted(connection: socket.socket) -> bool:
    try:
        return bool(_object(connection.recv(_MOST_BYTES)).get("wake"))
    except OSError:
        return False


@contextmanager
def _asked(state_dir: Path, **asks: object) -> Iterator[tuple[socket.socket, dict[str, Any]]]:
    """Connect, ask, and give the connection and what the daemon agreed with; it sees the end of the block."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(_ANSWER_S)
        try:
            with _beside(state_dir) as path:
                connection.connect(path)
            connection.send(json.dumps(asks).encode())
            answer = _object(connection.recv(_MOST_BYTES))
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            hint = "is it started? `systemctl status wakeword-recorder`"
            raise RecorderError(f"no wakeword-recorder runs with state folder {state_dir}", hint=hint) from None
        except PermissionError:
            raise RecorderError(f"state folder {state_dir} is another user's", hint="use sudo") from None
        except OSError as error:
            problem = "no answer" if isinstance(error, TimeoutError) else str(error.strerror).lower()
            raise RecorderError(f"the wakeword-recorder of state folder {state_dir}: {problem}") from None
        if not answer.get("ok"):
            raise MicrophoneUnavailableError(str(answer.get("problem", "no answer")), hint=str(answer.get("hint", "")))
        yield connection, answer


def _object(packet: bytes) -> dict[str, Any]:
    """Return a packet's JSON object; empty where it is none."""
    try:
        found = json.loads(packet)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def _beside(state_dir: Path) -> Iterator[str]:
    """Give a path of the socket that is short, wherever the folder is: a socket's has 107 bytes at most."""
    folder = os.open(state_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{NAME}"
    finally:
        os.close(folder)
