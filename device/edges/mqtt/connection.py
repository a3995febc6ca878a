"""One connection to a broker: opened, used and thrown away by one thread, with no thread, queue or retry of its own.

paho keeps its own queue in memory, has no acknowledgement timeout and keeps reconnecting with whatever state it had; so
nothing is published through a client that is not connected, and a client never outlives its connection.
"""

from __future__ import annotations

import copy
import fcntl
import functools
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
from paho.mqtt.properties import Properties

from device.edges.mqtt.incoming import Answered, Arrived, Connected, Lost, Subscribed
from device.edges.mqtt.link import tls_context
from device.edges.mqtt.problems import LastError, broken_off, closed_early, explain
from device.errors import BrokerUnavailableError
from device.sending.reconnect import Trouble

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from paho.mqtt.reasoncodes import ReasonCode

    from device.edges.mqtt.incoming import Incoming
    from device.edges.mqtt.interrupt import Interrupt
    from device.edges.mqtt.link import LinkSettings
    from device.sending.reconnect import Protocol

CONNECT_TIMEOUT_S = 5.0
RECEIVE_MAXIMUM = 16  # messages that the broker may send before one is acknowledged (MQTT 5)
_CLOSED = (
    "the broker closed it without a word; if this repeats, do two clients have the same id? ([device] id, or"
    " `receive --client-id`)"
)

# paho 2.2 raised nothing on 2,500 random streams; should it ever, the broker is to blame: only this connection ends.
_GARBAGE = (MQTTException, ValueError, LookupError)

_AT_ONCE = 64  # packets
_UNREAD_BYTES = 65_536  # that may wait here: what is behind them waits as long as reading them takes
_BYTES_ACKED = 120  # where tcp_info in Linux's <linux/tcp.h> has tcpi_bytes_acked


@functools.lru_cache(maxsize=4)
def _common(content_type: str, expiry_s: int) -> Properties:
    """Return the properties that requests share; never changed, only copied."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ContentType = content_type
    if expiry_s:
        properties.MessageExpiryInterval = expiry_s
    return properties


class Connection:
    """One connection's life; used by one thread only. ``step`` does all the work, ``take`` returns what came in.

    Args:
        link: where the broker is and who we are there.
        protocol: the version of MQTT to speak.
        retain: have the broker keep the last will for who comes later.
        interrupt: ends a ``step`` from another thread; None: nobody does.

    Attributes:
        protocol: as given.
        accepted: what the broker can do; its defaults until it has accepted.
    """

    def __init__(
        self, link: LinkSettings, protocol: Protocol, *, retain: bool = True, interrupt: Interrupt | None = None
    ) -> None:
        self.protocol = protocol
        self.accepted = Connected()
        self._link = link
        self._interrupt = interrupt
        self._incoming: deque[Incoming] = deque()
        self._accepted = False
        self._lost = False
        self._error = LastError()
        self._poll = select.poll()
        if interrupt is not None:
            self._poll.register(interrupt, select.POLLIN)
        self._client = self._make_client(retain=retain)

    def _make_client(self, *, retain: bool) -> Client:
        link, five = self._link, self.protocol == "5"
        # Without reconnect_on_failure=False paho answers a refused 3.1.1 by connecting again by itself, in 3.1.
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=link.client_id,
            clean_session=None if five else not link.session_s,
            protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.enable_logger(self._error.logger)
        client.connect_timeout = CONNECT_TIMEOUT_S
        if link.username:
            client.username_pw_set(link.username, link.password)
        if link.announce:
            client.will_set(link.status_topic, b"offline", qos=1, retain=retain)
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        return client

    def open(self) -> None:
        """Reach the broker and greet it; its answer comes as ``Connected`` or ``Lost``. Blocks for some seconds.

        Raises:
            BrokerUnavailableError: it cannot be reached, or its certificate is not to be trusted.
            ConfigurationError: a certificate or key of ours cannot be used.
        """
        link = self._link
        if link.tls:
            self._client.tls_set_context(tls_context(link))
        five: dict[str, Any] = {}
        if self.protocol == "5":
            five = {"clean_start": not link.session_s, "properties": self._connect_properties()}
        try:
            self._client.connect(link.host, link.port, keepalive=link.keepalive_s, **five)
        except (OSError, ValueError) as error:
            problem, hint = explain(error, link, CONNECT_TIMEOUT_S)
            raise BrokerUnavailableError(problem, hint=hint) from error
        sock: Any = self._client.socket()
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            # Else the last segment of a request waits for the acknowledgement of those before, up to 40 ms each.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UNREAD_BYTES)

    def _connect_properties(self) -> Properties:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._link.session_s
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        properties.MaximumPacketSize = self._link.max_packet_bytes
        return properties

    def step(self, timeout_s: float) -> None:
        """Wait for bytes, the interrupt or the time, then read and write what can be; blocks no longer than that."""
        client = self._client
        sock: Any = client.socket()
        if sock is None:
            self._end("the connection is gone")
            return
        self._poll.register(sock, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
        ready = dict(self._poll.poll(0 if self._incoming else max(0, math.ceil(timeout_s * 1000))))
        if self._interrupt is not None and self._interrupt.fileno() in ready:
            self._interrupt.clear()
        if ready.get(sock.fileno(), 0) & ~select.POLLOUT:
            self._read(sock)
        if client.want_write():  # after reading: a failed write ends the connection, and with it the other side's words
            client.loop_write()

    def _read(self, sock: Any) -> None:
        """Read what is there, but let other work have its turn now and then; paho reads one packet a call."""
        alone = select.poll()
        alone.register(sock, select.POLLIN)
        try:
            for _ in range(_AT_ONCE):
                if self._client.loop_read() != MQTT_ERR_SUCCESS or self._too_long():
                    return
                if not (self._link.tls and sock.pending()) and not alone.poll(0):
                    return
        except _GARBAGE as error:
            self._end(f"{self._link.address} sent what is no MQTT ({type(error).__name__})", "is it an MQTT port?")

    def _too_long(self) -> bool:
        """End the connection if a message is coming that is longer than we asked for; else true after any long one.

        MQTT 3.1.1 cannot ask. paho has read some MB at most by now; how much it waits for it shows in a private field.
        """
        coming_bytes = self._client._in_packet["remaining_length"]  # noqa: SLF001
        if coming_bytes > self._link.max_packet_bytes:
            problem = f"{self._link.address} began to send a message of {coming_bytes} bytes"
            hint = f"none for us has more than {self._link.max_packet_bytes}: is one retained that should be deleted?"
            self._end(problem, hint, Trouble.OVERSIZE)
            return True
        last = self._incoming[-1] if self._incoming else None
        return isinstance(last, Arrived) and len(last.payload) > _UNREAD_BYTES

    def keep_alive(self) -> None:
        """Try an idle connection; to be called about once a second.

        Not while bytes wait to be sent: paho would take a long message on a slow link for a dead connection.
        """
        if not self.unsent():
            self._client.loop_misc()

    def take(self) -> Iterator[Incoming]:
        """Yield what happened, oldest first; what is not asked for stays for the next call."""
        while self._incoming:
            yield self._incoming.popleft()

    def put_back(self, incoming: Iterable[Incoming]) -> None:
        """Have ``take`` yield these first, in their order."""
        self._incoming.extendleft(reversed([*incoming]))

    def publish(
        self, topic: str, payload: bytes, *, qos: int, retain: bool = False, properties: Properties | None = None
    ) -> int:
        """Hand a publish to the socket before returning, as much of it as the socket takes.

        Returns:
            The number that an answer will bear.
        """
        return self._client.publish(topic, payload, qos, retain, properties).mid

    def packet_bytes(self, topic: str, payload: bytes, properties: Properties | None) -> int:
        """Return how long a publish with QoS 1 is, with all that a broker's maximum counts."""
        packed = len(properties.pack()) if properties is not None else self.protocol == "5"  # type: ignore[no-untyped-call]
        rest = 2 + len(topic.encode()) + 2 + packed + len(payload)
        return 1 + 1 + sum(rest >= limit for limit in (1 << 7, 1 << 14, 1 << 21)) + rest

    def properties(
        self, *, content_type: str, user_properties: Sequence[tuple[str, str]], expiry_s: int
    ) -> Properties | None:
        """Return a request's MQTT 5 properties; None with 3.1.1, which has none."""
        if self.protocol != "5":
            return None
        properties = copy.copy(_common(content_type, expiry_s))  # a quarter of the time that making one takes
        properties.UserProperty = list(user_properties)
        return properties

    def subscribe(self, topics: Sequence[str]) -> int:
        """Subscribe with QoS 1, and return the number that the answer will bear."""
        return self._client.subscribe([(topic, 1) for topic in topics])[1] or 0

    def unsubscribe(self, topics: Sequence[str]) -> None:
        """Ask for no more messages of these topics; what is on its way still comes."""
        self._client.unsubscribe(list(topics))

    def acknowledge(self, arrived: Arrived) -> None:
        """Acknowledge a message, so that the broker does not send it again."""
        if arrived.qos:
            self._client.ack(arrived.mid, arrived.qos)

    def unsent(self) -> bool:
        """Whether there are bytes that the other side's machine has not confirmed."""
        sock: Any = self._client.socket()
        if sock is None or sock.fileno() < 0:
            return False
        return self._client.want_write() or fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0\0\0\0") != b"\0\0\0\0"

    def confirmed_bytes(self) -> int:
        """Return how many bytes the other side's machine has confirmed so far; while it grows, something moves."""
        sock: Any = self._client.socket()
        if sock is None or sock.fileno() < 0:
            return 0
        state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED + 8)
        return int.from_bytes(state[_BYTES_ACKED:], "little")

    def close(self, *, say_goodbye: bool) -> None:
        """End the connection: with a goodbye the last will is not published, without one it is."""
        self._lost = True
        sock: Any = self._client.socket()
        if sock is None:
            return
        if say_goodbye and self._accepted:
            self._client.disconnect()
        elif self.unsent():  # else the system goes on sending, for minutes where nobody answers
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    def _end(self, problem: str, hint: str = "", trouble: Trouble = Trouble.OTHER) -> None:
        if not self._lost:
            self._lost = True
            self._incoming.append(Lost(trouble, problem, hint))

    # Callbacks: they only note what happened, since paho calls some of them with its locks held.

    def _on_connect(self, _client: Client, _userdata: object, _flags: object, reason: ReasonCode, extra: Any) -> None:
        if reason.is_failure:
            self._end(*broken_off(reason, self._link.address, accepted=False))
            return
        self._accepted = True
        self.accepted = Connected(
            max_packet_bytes=getattr(extra, "MaximumPacketSize", None),
            max_qos=getattr(extra, "MaximumQoS", 2),
            retains=bool(getattr(extra, "RetainAvailable", 1)),
            wildcards=bool(getattr(extra, "WildcardSubscriptionAvailable", 1)),
            session_s=getattr(extra, "SessionExpiryInterval", None),
        )
        self._incoming.append(self.accepted)

    def _on_publish(self, _client: Client, _userdata: object, mid: int, reason: ReasonCode, _extra: object) -> None:
        self._incoming.append(Answered(mid, reason.value, str(reason)))

    def _on_subscribe(
        self, _client: Client, _userdata: object, mid: int, reasons: Sequence[ReasonCode], _extra: object
    ) -> None:
        self._incoming.append(Subscribed(mid, tuple(str(reason) if reason.is_failure else "" for reason in reasons)))

    def _on_message(self, _client: Client, _userdata: object, message: Any) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        pairs = getattr(message.properties, "UserProperty", None)
        self._incoming.append(
            Arrived(
                topic=topic,
                payload=bytes(message.payload),
                retained=bool(message.retain),
                qos=message.qos,
                mid=message.mid,
                content_type=getattr(message.properties, "ContentType", None),
                user_properties=None if pairs is None else tuple(pairs),
            )
        )

    def _on_disconnect(
        self, _client: Client, _userdata: object, flags: Any, reason: ReasonCode | None, _extra: object
    ) -> None:
        if flags.is_disconnect_packet_from_server and reason is not None:
            self._end(*broken_off(reason, self._link.address, accepted=self._accepted))
        elif not self._accepted:
            self._end(*closed_early(self._error.text, self._link))
        else:
            detail = f" ({self._error.text})" if self._error.text else ""
            hint, trouble = ("", Trouble.OTHER) if detail else (_CLOSED, Trouble.CUT)
            self._end(f"the connection to {self._link.address} was lost{detail}", hint, trouble)
