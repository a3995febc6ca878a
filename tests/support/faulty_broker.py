"""What a real broker cannot be made to do: a scripted peer that misbehaves on demand, and a proxy that holds bytes."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT = 1, 2, 3, 4, 8, 10, 12, 14


class _Server:
    """Accepts on a loopback port that stays its own; each connection gets a thread that ends with it."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)  # inherited: little hides in the system
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.port = self._listener.getsockname()[1]
        self.accepted_at: list[float] = []
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self.accepted_at.append(time.monotonic())
            self._open.add(peer)
            thread = threading.Thread(target=self._live, args=(peer,), daemon=True)
            self._threads = [thread, *(other for other in self._threads if other.is_alive())]
            thread.start()

    def _live(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):
            self.serve(peer)
        self._open.discard(peer)
        peer.close()

    def serve(self, peer: socket.socket) -> None:
        raise NotImplementedError

    def cut(self) -> None:
        """End every connection there is."""
        for peer in list(self._open):
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in (self._accepting, *self._threads):
            thread.join(5)

    def __enter__(self) -> _Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class Published:
    """A publish that arrived."""

    topic: str
    payload: bytes
    qos: int
    at: float
    connection: int
    retain: bool = False


@dataclass(frozen=True)
class Greeted:
    """A CONNECT that arrived: the protocol's level, and the last will's flags."""

    level: int
    will: bool
    will_qos: int
    will_retain: bool


class ScriptedBroker(_Server):
    """Speaks enough MQTT to misbehave.

    Attributes:
        connack: the reason for each protocol level (4 or 5); None: close instead; absent: accept.
        silent: read everything, say nothing at all.
        answer: the reason for each publish; None: no acknowledgement; raising EOFError: close the connection.
        refuse: the reason for a CONNECT, beyond ``connack``; 0 accepts it.
        goodbye: the reason to end the connection with at a publish (MQTT 5); 0: none.
        garbage: sent right after CONNACK.
        suback: the answer to a subscription to a topic.
        retained: what is sent at the subscription to a topic, by topic.
        echoes: deliver what is published to who subscribed to it, with QoS 0, before the answer.
        connack_properties: MQTT 5 properties, as bytes without their length.
        subscriptions: the topics subscribed to, in order.
    """

    def __init__(self, answer: Callable[[Published], int | None] = lambda published: 0) -> None:
        self.answer = answer
        self.connack: dict[int, int | None] = {}
        self.connack_properties = b""
        self.silent = False
        self.garbage = b""
        self.refuse: Callable[[Greeted], int] = lambda greeted: 0
        self.goodbye: Callable[[Published], int] = lambda published: 0
        self.suback: Callable[[str], int] = lambda topic: 1
        self.retained: dict[str, bytes] = {}
        self.echoes = False
        self.subscriptions: list[str] = []
        self.greeted: list[Greeted] = []
        self.levels: list[int] = []
        self.published: list[Published] = []
        self.disconnects = 0
        super().__init__()

    def __enter__(self) -> ScriptedBroker:
        return self

    def requests(self) -> list[Published]:
        """The requests among what was published, not the states."""
        return [one for one in self.published if "/request/" in one.topic]

    def serve(self, peer: socket.socket) -> None:
        connection, level = len(self.accepted_at), 5
        topics: set[str] = set()
        for kind, flags, body in _packets(peer):
            if self.silent:
                continue
            if kind == CONNECT:
                level = body[6]
                if not self._greet(peer, body):
                    return
            elif kind == PUBLISH:
                self._publish(peer, connection, level, flags, body, topics)
            elif kind == SUBSCRIBE:
                self._subscribe(peer, level, body, topics)
            elif kind == UNSUBSCRIBE:
                topics -= set(_topics(body, level, options=False))
                _send(peer, 11, body[:2] + (b"\0\0" if level == 5 else b""))
            elif kind == PINGREQ:
                _send(peer, 13, b"")
            elif kind == DISCONNECT:
                self.disconnects += 1
                return

    def _greet(self, peer: socket.socket, body: bytes) -> bool:
        level, flags = body[6], body[7]
        self.levels.append(level)
        self.greeted.append(Greeted(level, bool(flags & 4), flags >> 3 & 3, bool(flags & 32)))
        reason = self.connack.get(level, 0)
        if reason is None:
            return False
        reason = reason or self.refuse(self.greeted[-1])
        old = level == 4 or reason == 1  # brokers older than MQTT 5 answer in their own format
        properties = b"" if old else bytes([len(self.connack_properties)]) + self.connack_properties
        _send(peer, CONNACK, bytes([0, reason]) + properties)
        if reason == 0:
            peer.sendall(self.garbage)
        return reason == 0

    def _subscribe(self, peer: socket.socket, level: int, body: bytes, topics: set[str]) -> None:
        asked = list(_topics(body, level, options=True))
        self.subscriptions += asked
        topics |= {topic for topic in asked if self.suback(topic) < 128}
        _send(peer, 9, body[:2] + (b"\0" if level == 5 else b"") + bytes(map(self.suback, asked)))
        for topic in asked:
            if topic in self.retained:
                _send(peer, PUBLISH, _message(topic, self.retained[topic], level), flags=1)

    def _publish(
        self, peer: socket.socket, connection: int, level: int, flags: int, body: bytes, topics: set[str]
    ) -> None:
        topic_end = 2 + struct.unpack_from(">H", body)[0]
        qos = flags >> 1 & 3
        start = topic_end + (2 if qos else 0)
        if level == 5:
            length, size = _varint(body, start)
            start += size + length
        topic = body[2:topic_end].decode()
        one = Published(topic, body[start:], qos, time.monotonic(), connection, bool(flags & 1))
        self.published.append(one)
        if goodbye := self.goodbye(one):
            _send(peer, DISCONNECT, bytes([goodbye, 0]))
            raise EOFError
        if self.echoes and topic in topics:
            _send(peer, PUBLISH, _message(topic, one.payload, level))
        if qos:
            reason = self.answer(one)
            if reason is not None:
                _send(peer, PUBACK, body[topic_end : topic_end + 2] + (bytes([reason, 0]) if level == 5 else b""))


def _message(topic: str, payload: bytes, level: int) -> bytes:
    return len(topic).to_bytes(2, "big") + topic.encode() + (b"\0" if level == 5 else b"") + payload


def _topics(body: bytes, level: int, *, options: bool) -> Iterator[str]:
    """Yield the topics of a SUBSCRIBE, whose topics have a byte of options each, or of an UNSUBSCRIBE."""
    at = 2
    if level == 5:
        length, size = _varint(body, at)
        at += size + length
    while at < len(body):
        end = at + 2 + struct.unpack_from(">H", body, at)[0]
        yield body[at + 2 : end].decode()
        at = end + options


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = size = 0
    while True:
        byte = data[at + size]
        value |= (byte & 127) << shift
        shift, size = shift + 7, size + 1
        if byte < 128:
            return value, size


def _exactly(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = peer.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def _packets(peer: socket.socket) -> Iterator[tuple[int, int, bytes]]:
    while True:
        first = _exactly(peer, 1)[0]
        length = shift = 0
        while True:
            byte = _exactly(peer, 1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        yield first >> 4, first & 15, _exactly(peer, length)


def _send(peer: socket.socket, kind: int, body: bytes, *, flags: int = 0) -> None:
    length, digits = len(body), bytearray()
    while length > 127:
        digits.append(length & 127 | 128)
        length >>= 7
    peer.sendall(bytes([kind << 4 | flags, *digits, length]) + body)


class Proxy(_Server):
    """Passes bytes between a client and a broker, as far as it is let.

    Attributes:
        target: the broker's port.
        only_311: how CONNECT in MQTT 5 is met: ``answer`` with 1, as old brokers do, ``close``, or not at all.
    """

    def __init__(self, target: int, *, only_311: str = "") -> None:
        self.target = target
        self.only_311 = only_311
        self.levels: list[int] = []
        self.passed_bytes = 0
        self._rate: float | None = None  # bytes a second towards the broker
        self._gates: list[threading.Event] = []
        super().__init__()

    def __enter__(self) -> Proxy:
        return self

    def hold(self) -> None:
        """Pass nothing more on the connections there are; new ones work."""
        for gate in self._gates:
            gate.clear()

    def slow(self, bytes_per_second: float) -> None:
        """Pass bytes to the broker at this rate."""
        self._rate = bytes_per_second

    def close(self) -> None:
        for gate in self._gates:
            gate.set()
        super().close()

    def serve(self, peer: socket.socket) -> None:
        head = _exactly(peer, 2)
        while head[-1] > 127:
            head += _exactly(peer, 1)
        head += _exactly(peer, 7)
        level = head[-1]
        self.levels.append(level)
        if level == 5 and self.only_311:
            if self.only_311 == "answer":
                _send(peer, CONNACK, b"\0\1")
            return
        gate = threading.Event()
        gate.set()
        self._gates.append(gate)
        with socket.create_connection(("127.0.0.1", self.target)) as broker:
            broker.sendall(head)
            back = threading.Thread(target=self._back, args=(broker, peer, gate), daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                while piece := peer.recv(1024):
                    gate.wait()
                    broker.sendall(piece)
                    self.passed_bytes += len(piece)
                    if self._rate:
                        time.sleep(len(piece) / self._rate)  # the fault itself, not a wait for something
            with contextlib.suppress(OSError):
                broker.shutdown(socket.SHUT_RDWR)
            back.join(5)

    @staticmethod
    def _back(broker: socket.socket, peer: socket.socket, gate: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while piece := broker.recv(4096):
                gate.wait()
                peer.sendall(piece)
            gate.wait()
            peer.shutdown(socket.SHUT_RDWR)
