"""One connection to a broker: opened, used and thrown away by one thread, with no thread, queue or retry of its own.

paho keeps its own queue in memory, has no acknowledgement timeout and keeps reconnecting with whatever state it had; so
nothing is published through a client that is not connected, and a client never outlives its connection.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import math
import select
import socket
import struct
import termios
from collections import deque
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import MQTT_ERR_SUCCESS, Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.exception import MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from device.core.reconnect import Trouble
from device.edges.mqtt.happenings import Answered, Connected, Lost, Received, Subscribed
from device.edges.mqtt.link import tls_context
from device.edges.mqtt.packets import NONE, Publish, publish_packet, publish_properties
from device.edges.mqtt.problems import LastError, closed_early, explain, refused_connection
from device.edges.mqtt.stream import Stream
from device.errors import BrokerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from device.core.reconnect import Protocol
    from device.edges.mqtt.happenings import Happening
    from device.edges.mqtt.link import LinkSettings
    from device.edges.mqtt.wakeup import Wakeup

CONNECT_TIMEOUT_S = 5.0
TWICE = "if this repeats, is [device] id used by two devices?"

# paho 2.2 raised nothing on 2,500 random streams; should it ever, the broker is to blame: only this connection ends.
_GARBAGE = (MQTTException, ValueError, LookupError)

_FIRST_MID = 1_000  # below it paho numbers its subscriptions


class _Client(Client):
    """paho's client, reading and writing through a ``Stream``."""

    def _create_socket(self) -> Any:
        return Stream(super()._create_socket())


class Connection:
    """One connection's life; used by one thread only. ``step`` does all the work, ``take`` tells what happened."""

    def __init__(self, link: LinkSettings, protocol: Protocol, *, will: tuple[str, bytes] | None = None) -> None:
        self.protocol = protocol
        self._link = link
        self._happened: deque[Happening] = deque()
        self._accepted = False
        self._lost = False
        self._mids = itertools.cycle(range(_FIRST_MID, 65_536))
        self._moved = (0, 0)
        self._poll = select.poll()
        self._polled: tuple[int, int] | None = None
        self._error = LastError()
        version = MQTTProtocolVersion.MQTTv5 if protocol == "5" else MQTTProtocolVersion.MQTTv311
        # Without reconnect_on_failure=False paho answers a refused 3.1.1 by connecting again by itself, in 3.1.
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=link.client_id,
            clean_session=None if protocol == "5" else True,
            protocol=version,
            reconnect_on_failure=False,
        )
        client.enable_logger(self._error.logger)
        client.connect_timeout = CONNECT_TIMEOUT_S
        if link.username:
            client.username_pw_set(link.username, link.password)
        if will is not None:
            client.will_set(will[0], will[1], qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        self._client = client

    def open(self) -> None:
        """Reach the broker and greet it; its answer comes as ``Connected`` or ``Lost``. Blocks for some seconds.

        Raises:
            BrokerUnavailableError: it cannot be reached, or its certificate is not to be trusted.
            ConfigurationError: a certificate or key of ours cannot be used.
        """
        link = self._link
        if link.tls:
            self._client.tls_set_context(tls_context(link))
        try:
            self._client.connect(link.host, link.port, keepalive=link.keepalive_s)
        except (OSError, ValueError) as error:
            problem, hint = explain(error, link.address, CONNECT_TIMEOUT_S, tls=link.tls)
            raise BrokerUnavailableError(problem, hint=hint) from error
        sock: Any = self._client.socket()
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            # Else the last segment of a request waits for the acknowledgement of those before, up to 40 ms each.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def step(self, timeout_s: float, wakeup: Wakeup) -> None:
        """Wait for bytes, the wake-up or the time, then read and write what can be; blocks no longer than that."""
        client = self._client
        stream: Any = client.socket()
        if stream is None:
            self._end("the connection is gone")
            return
        mask = select.POLLIN | (select.POLLOUT if stream.unsent or client.want_write() else 0)
        if self._polled != (stream.fileno(), mask):
            self._poll.register(stream.fileno(), mask)
            self._poll.register(wakeup.fileno(), select.POLLIN)
            self._polled = (stream.fileno(), mask)
        wait_ms = 0 if self._happened else max(0, math.ceil(timeout_s * 1000))
        for ready, what in self._poll.poll(wait_ms):
            if ready == wakeup.fileno():
                wakeup.clear()
                continue
            if what & select.POLLOUT:
                stream.flush()
                client.loop_write()
            if what & ~select.POLLOUT:
                self._read(stream)
        if stream.broken is not None:  # and the broker's last words, if there were any, are read
            self._end(f"the connection to {self._link.address} was lost ({stream.broken.strerror or stream.broken})")

    def _read(self, stream: Stream) -> None:
        client = self._client
        try:
            while True:
                stream.fill()
                while client.socket() is not None:
                    if (answer := stream.answer()) is not None:
                        self._answered(answer)
                    elif not stream.for_paho():
                        break
                    elif client.loop_read() != MQTT_ERR_SUCCESS:
                        return
                if client.socket() is None or not stream.more():
                    return
        except _GARBAGE as error:
            self._end(f"{self._link.address} sent what is no MQTT ({type(error).__name__})", "is it an MQTT port?")

    def _answered(self, answer: bytes) -> None:
        """Note the answer to a publish; ``answer`` is the packet without its header."""
        if len(answer) < 2 or (self.protocol != "5" and len(answer) > 2):
            raise ValueError("an answer of this length")
        mid, reason = int.from_bytes(answer[:2], "big"), answer[2] if len(answer) > 2 else 0
        text = str(ReasonCode(PacketTypes.PUBACK, identifier=reason)) if reason else ""
        self._happened.append(Answered(mid, reason, text))

    def keep_alive(self) -> None:
        """Try an idle connection and notice a dead one; to be called about once a second.

        Not while bytes wait to be sent: paho would take a long message on a slow link for a dead connection.
        """
        if not self.unsent_bytes():
            self._client.loop_misc()

    def take(self) -> Iterator[Happening]:
        """Yield what happened, oldest first; what is not asked for stays for the next call."""
        while self._happened:
            yield self._happened.popleft()

    def packet(
        self, topic: str, payload: bytes, *, qos: int, retain: bool = False, properties: bytes | None = None
    ) -> Publish:
        """Make a publish for this connection, to be handed to ``send`` or thrown away.

        Raises:
            OverflowError: it is longer than a packet can be.
        """
        if properties is None and self.protocol == "5":
            properties = NONE
        return publish_packet(next(self._mids), topic, payload, qos=qos, retain=retain, properties=properties)

    def send(self, packet: Publish) -> None:
        """Hand a publish to the socket before returning, as much of it as the socket takes."""
        stream: Any = self._client.socket()
        if stream is not None:
            with contextlib.suppress(OSError):  # the next step ends the connection, which outlives nothing under way
                stream.send(packet.data)

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool = False) -> int:
        """Make and send at once, and return the number that an answer will bear."""
        packet = self.packet(topic, payload, qos=qos, retain=retain)
        self.send(packet)
        return packet.mid

    def subscribe(self, topics: Sequence[str]) -> None:
        """Subscribe with QoS 1."""
        self._client.subscribe([(topic, 1) for topic in topics])

    def properties(
        self, *, content_type: str, user_properties: Sequence[tuple[str, str]], expiry_s: int
    ) -> bytes | None:
        """Return a request's MQTT 5 properties; None with 3.1.1, which has none."""
        if self.protocol != "5":
            return None
        return publish_properties(content_type=content_type, user_properties=user_properties, expiry_s=expiry_s)

    def unsent_bytes(self) -> int:
        """Return how many bytes the other side's machine has not confirmed."""
        stream: Any = self._client.socket()
        if stream is None or stream.fileno() < 0:
            return 0
        try:
            waiting = struct.unpack("i", fcntl.ioctl(stream.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]
        except OSError:
            waiting = 0
        return int(waiting) + int(stream.unsent)

    def moved(self) -> bool:
        """Say whether bytes moved since the last call: into the socket, or out of its queue to the other side."""
        stream: Any = self._client.socket()
        now = (stream.writes if stream is not None else 0, self.unsent_bytes())
        moved, self._moved = now != self._moved, now
        return moved

    def close(self, *, say_goodbye: bool) -> None:
        """End the connection: with a goodbye the last will is not published, without one it is."""
        self._lost = True
        if say_goodbye and self._accepted:
            self._client.disconnect()
        sock: Any = self._client.socket()
        if sock is not None:
            if self.unsent_bytes():  # else the system goes on sending, for minutes where nobody answers
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()

    def _end(self, problem: str, hint: str = "", trouble: Trouble = Trouble.OTHER) -> None:
        if not self._lost:
            self._lost = True
            self._happened.append(Lost(trouble, problem, hint))

    # Callbacks: they only note what happened, since paho calls some of them with its locks held.

    def _on_connect(self, _client: Client, _userdata: object, _flags: object, reason: ReasonCode, extra: Any) -> None:
        if reason.is_failure:
            self._end(*refused_connection(reason, self._link.address))
            return
        self._accepted = True
        self._happened.append(Connected(getattr(extra, "MaximumPacketSize", None)))

    def _on_subscribe(
        self, _client: Client, _userdata: object, _mid: int, reasons: Sequence[ReasonCode], _extra: object
    ) -> None:
        self._happened.append(Subscribed(tuple(str(reason) for reason in reasons if reason.is_failure)))

    def _on_message(self, _client: Client, _userdata: object, message: Any) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        self._happened.append(Received(topic, bytes(message.payload), bool(message.retain)))

    def _on_disconnect(
        self, _client: Client, _userdata: object, flags: Any, reason: ReasonCode | None, _extra: object
    ) -> None:
        if not self._accepted:
            self._end(*closed_early(self._error.text, self._link))
        elif flags.is_disconnect_packet_from_server and reason is not None:
            hint = TWICE if reason.value == 142 else ""
            self._end(f"{self._link.address} ended the connection: {str(reason).lower()}", hint)
        else:
            detail = f" ({self._error.text})" if self._error.text else ""
            hint = "" if detail else f"the broker closed it without a word; {TWICE}"
            self._end(f"the connection to {self._link.address} was lost{detail}", hint)
