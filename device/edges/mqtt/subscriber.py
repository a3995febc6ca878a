"""A subscription that loses nothing: messages are acknowledged one by one, when whoever took them says so."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import MQTT_ERR_SUCCESS, Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from device.core.reconnect import Trouble
from device.edges.mqtt.connection import _GARBAGE, CONNECT_TIMEOUT_S
from device.edges.mqtt.link import tls_context
from device.edges.mqtt.problems import LastError, closed_early, explain, refused_connection
from device.errors import BrokerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paho.mqtt.reasoncodes import ReasonCode

    from device.core.reconnect import Protocol
    from device.edges.mqtt.link import LinkSettings

SESSION_S = 7 * 86_400  # as long as an outbox keeps what nobody took
MAX_PACKET_BYTES = 32_000_000  # ten minutes of WAV are 19 MB
_IN_FLIGHT = 16  # messages the broker may send before one is acknowledged: bounds the memory


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message, not yet acknowledged.

    Attributes:
        topic: empty where it was no text.
        payload: its bytes.
        content_type: MQTT 5 only.
        user_properties: MQTT 5 only.
        number: what its acknowledgement refers to.
        qos: 0 needs none.
    """

    topic: str
    payload: bytes
    content_type: str | None
    user_properties: tuple[tuple[str, str], ...] | None
    number: int
    qos: int


class Subscriber:
    """One subscription over any number of connections; used by one thread, with none of its own.

    Args:
        link: where the broker is and who we are there.
        topic: what to subscribe to, with QoS 1.
        lasting: the broker keeps what comes while we are away, under our client id.
    """

    def __init__(self, link: LinkSettings, topic: str, *, lasting: bool) -> None:
        self._link = link
        self._topic = topic
        self._lasting = lasting
        self._client: Client | None = None
        self._arrived: list[Arrived] = []
        self._problem: tuple[str, str, Trouble] | None = None
        self._subscribed = False
        self._error = LastError()

    def connect(self) -> None:
        """Connect and subscribe, in MQTT 5, or 3.1.1 with a broker that speaks nothing newer.

        Raises:
            BrokerUnavailableError: the broker cannot be reached, or refuses us or the subscription.
            ConfigurationError: a certificate or key of ours cannot be used.
        """
        protocols: tuple[Protocol, ...] = ("5", "3.1.1") if self._link.protocol == "auto" else (self._link.protocol,)
        for protocol in protocols:
            self._open(protocol)
            self._greet()
            if self._subscribed:
                return
            if self._problem and self._problem[2] not in (Trouble.VERSION, Trouble.CLOSED):
                break
        problem, hint, _ = self._problem or (f"{self._link.address} does not answer", "is it an MQTT port?", None)
        raise BrokerUnavailableError(problem, hint=hint)

    def wait(self, timeout_s: float) -> Sequence[Arrived]:
        """Return what has arrived, as soon as something has, or nothing when the time is over.

        Raises:
            BrokerUnavailableError: the connection is lost; ``connect`` makes a new one.
        """
        if not self._arrived:
            self._step(timeout_s)
        if self._problem and not self._arrived:
            problem, hint, _ = self._problem
            raise BrokerUnavailableError(problem, hint=hint)
        arrived, self._arrived = self._arrived, []
        return arrived

    def acknowledge(self, arrived: Arrived) -> None:
        """Tell the broker that a message need not be sent again; without a connection it will be."""
        if self._client is not None and arrived.qos:
            self._client.ack(arrived.number, arrived.qos)

    def close(self) -> None:
        """Say goodbye; a lasting session outlives it."""
        if self._client is not None:
            self._client.disconnect()
            self._client = None

    def _open(self, protocol: Protocol) -> None:
        """Begin a connection with a client of its own: paho's carry what they had into the next connection."""
        self._problem, self._subscribed, self._arrived = None, False, []
        link, five = self._link, protocol == "5"
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=link.client_id,
            clean_session=None if five else not self._lasting,
            protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.enable_logger(self._error.logger)
        client.connect_timeout = CONNECT_TIMEOUT_S
        if link.username:
            client.username_pw_set(link.username, link.password)
        if link.tls:
            client.tls_set_context(tls_context(link))
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        self._client = client
        try:
            if five:
                client.connect(
                    link.host, link.port, link.keepalive_s, clean_start=not self._lasting, properties=self._session()
                )
            else:
                client.connect(link.host, link.port, link.keepalive_s)
        except (OSError, ValueError) as error:
            problem, hint = explain(error, link.address, CONNECT_TIMEOUT_S)
            raise BrokerUnavailableError(problem, hint=hint) from error

    def _session(self) -> Properties:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_S if self._lasting else 0
        properties.ReceiveMaximum = _IN_FLIGHT
        properties.MaximumPacketSize = MAX_PACKET_BYTES
        return properties

    def _greet(self) -> None:
        """Wait until the subscription is answered, the connection is lost, or the time is over."""
        end = time.monotonic() + CONNECT_TIMEOUT_S
        while not self._subscribed and self._problem is None and time.monotonic() < end:
            self._step(end - time.monotonic())

    def _step(self, timeout_s: float) -> None:
        assert self._client is not None, "connect first"  # noqa: S101
        try:
            status = self._client.loop(max(0.0, timeout_s))
        except _GARBAGE as error:
            status, detail = None, f"it sent what is no MQTT ({type(error).__name__})"
        else:
            detail = self._error.text
        if status != MQTT_ERR_SUCCESS and self._problem is None:
            self._lost(detail)

    def _lost(self, detail: str) -> None:
        text = f"the connection to {self._link.address} was lost" + (f" ({detail})" if detail else "")
        self._problem = (text, "", Trouble.OTHER)

    # Callbacks: they only note what happened, since paho calls some of them with its locks held.

    def _on_connect(
        self, client: Client, _userdata: object, _flags: object, reason: ReasonCode, _extra: object
    ) -> None:
        if reason.is_failure:
            self._problem = refused_connection(reason, self._link.address)
        else:
            client.subscribe(self._topic, qos=1)

    def _on_subscribe(
        self, _client: Client, _userdata: object, _mid: int, reasons: Sequence[ReasonCode], _extra: object
    ) -> None:
        self._subscribed = not reasons[0].is_failure
        if not self._subscribed:
            problem = f"{self._link.address} refused the subscription to {self._topic}: {str(reasons[0]).lower()}"
            self._problem = (problem, "check the broker's access list", Trouble.OTHER)

    def _on_message(self, _client: Client, _userdata: object, message: Any) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        extra = message.properties
        pairs = getattr(extra, "UserProperty", None)
        self._arrived.append(
            Arrived(
                topic=topic,
                payload=bytes(message.payload),
                content_type=getattr(extra, "ContentType", None),
                user_properties=None if pairs is None else tuple(pairs),
                number=message.mid,
                qos=message.qos,
            )
        )

    def _on_disconnect(
        self, _client: Client, _userdata: object, flags: Any, reason: ReasonCode | None, _extra: object
    ) -> None:
        if self._problem is not None:
            return
        if flags.is_disconnect_packet_from_server and reason is not None:
            hint = "another client has the same id: is --client-id used twice?" if reason.value == 142 else ""
            self._problem = (f"{self._link.address} ended the connection: {str(reason).lower()}", hint, Trouble.OTHER)
        elif self._subscribed:
            self._lost(self._error.text)
        else:
            self._problem = closed_early(self._error.text, self._link)
