"""A connection's socket as paho sees it, through which acknowledgements and requests pass by paho."""

from __future__ import annotations

import ssl
from typing import Any

PUBACK = 0x40
_CHUNK_BYTES = 4096
_LONGEST_ANSWER = 65_536  # nobody gives a reason of this length; what claims to is no broker
_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Stream:
    """Buffers both ways, so that whole packets of paho's and of ours alternate; used by one thread.

    paho creates several objects for each answer and reads it in three pieces, which takes a third of the time of a
    publish. It gets to read every packet but the answers to our publishes.

    Args:
        sock: connected, TLS or not.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._unsent = bytearray()
        self._unread = bytearray()
        self._passing = 0  # bytes of the packet that paho is about to read
        self._end: OSError | None = None
        self._ended = False
        self.broken: OSError | None = None  # why nothing can be written any more
        self.writes = 0  # how often some bytes could be written

    # What paho calls.

    def recv(self, size: int) -> bytes:
        """Return bytes of the packet that is paho's to read."""
        count = min(size, self._passing, len(self._unread))
        if not count:
            if not self._ended:
                raise BlockingIOError
            if self._end is not None:
                raise self._end
            return b""
        data = bytes(self._unread[:count])
        del self._unread[:count]
        self._passing -= count
        return data

    def send(self, data: bytes | bytearray) -> int:
        """Take all bytes, and write at once what the socket takes."""
        if self.broken is not None:
            raise self.broken
        if self._unsent:
            self._unsent += data
            return len(data)
        try:
            sent = self._sock.send(data)
        except _LATER:
            sent = 0
        except OSError as error:
            self.broken = error
            raise
        self.writes += 1
        if sent < len(data):
            self._unsent += memoryview(data)[sent:]
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    # What the connection calls.

    @property
    def unsent(self) -> int:
        """How many bytes the socket did not take yet."""
        return len(self._unsent)

    def flush(self) -> None:
        """Write what the socket takes now of what it did not take before."""
        if not self._unsent or self.broken is not None:
            return
        try:
            with memoryview(self._unsent) as rest:
                sent = self._sock.send(rest)
        except _LATER:
            return
        except OSError as error:
            self.broken = error
            return
        self.writes += 1
        del self._unsent[:sent]

    def fill(self) -> None:
        """Read what the socket has, once; its end and its errors are for paho to find."""
        try:
            data = self._sock.recv(_CHUNK_BYTES)
        except _LATER:
            return
        except OSError as error:
            self._end, self._ended = error, True
            return
        self._unread += data
        self._ended = not data

    def more(self) -> bool:
        """Say whether TLS holds bytes, already decrypted, that no poll can see."""
        pending = getattr(self._sock, "pending", None)
        return pending is not None and not self._ended and pending() > 0

    def answer(self) -> bytes | None:
        """Return the next packet without its header if it is an answer to a publish and complete.

        Raises:
            ValueError: no answer is so long.
        """
        unread = self._unread
        if self._passing or not unread or unread[0] != PUBACK:
            return None
        start, length = _measure(unread)
        if length > _LONGEST_ANSWER:
            raise ValueError("an answer of this length")
        if not start or len(unread) < start + length:
            return None
        body = bytes(unread[start : start + length])
        del unread[: start + length]
        return body

    def for_paho(self) -> bool:
        """Say whether paho has something to read: a packet of its own, or the end."""
        if self._passing:
            return bool(self._unread) or self._ended
        if self._ended and not self._unread:
            return True
        if not self._unread or (self._unread[0] == PUBACK and not self._ended):
            return False
        start, length = _measure(self._unread)
        self._passing = start + length if start else (len(self._unread) if self._ended else 0)
        return self._passing > 0


def _measure(data: bytearray) -> tuple[int, int]:
    """Return where a packet's body begins, and its length; 0 and 0 while that is not known yet.

    A length of five bytes or more is no MQTT: it counts as one of four, and paho or the answer's reader stumbles on it.
    """
    length = 0
    for place, byte in enumerate(data[1:5]):
        length |= (byte & 127) << 7 * place
        if byte < 128 or place == 3:
            return place + 2, length
    return 0, 0
