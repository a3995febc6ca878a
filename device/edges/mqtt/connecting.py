"""The one way to a broker: MQTT 5, else 3.1.1, until it has accepted or somebody has to wait."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, TypeVar

from device.edges.mqtt.connection import CONNECT_TIMEOUT_S, Connection
from device.edges.mqtt.incoming import Answered, Connected, Lost, Subscribed
from device.edges.mqtt.problems import QOS_0_ONLY
from device.errors import BrokerUnavailableError, RecorderError
from device.sending.reconnect import Reconnect, Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from device.edges.mqtt.incoming import Incoming
    from device.edges.mqtt.interrupt import Interrupt
    from device.edges.mqtt.link import LinkSettings

T = TypeVar("T", Answered, Subscribed)
ANSWER_S = 5.0


class NotConnectedError(BrokerUnavailableError):
    """There is no connection; another attempt is worth making after ``pause_s``."""

    def __init__(self, lost: Lost, pause_s: float) -> None:
        super().__init__(lost.problem, hint=lost.hint)
        self.pause_s = pause_s


def connect(
    link: LinkSettings,
    reconnect: Reconnect | None = None,
    *,
    interrupt: Interrupt | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Connection | None:
    """Make a connection that the broker has accepted; each attempt blocks for some seconds.

    Args:
        link: where the broker is and who we are there.
        reconnect: what is known of the broker from earlier connections; None: nothing.
        interrupt: ends a wait, for ``stopping`` to be asked.
        stopping: says that no connection is wanted any more.

    Returns:
        The connection, None if it is not wanted any more.

    Raises:
        NotConnectedError: the broker cannot be reached, or refuses us.
        ConfigurationError: a certificate or key of ours cannot be used.
    """
    plan = reconnect or Reconnect(link.protocol)
    while not stopping():
        connection = Connection(link, plan.protocol, retain=plan.retain, interrupt=interrupt)
        answer = _greet(connection, link, stopping)
        if isinstance(answer, Connected) and plan.connected():
            return connection
        connection.close(say_goodbye=True)
        if isinstance(answer, Lost) and (pause_s := plan.pause_s(answer.trouble, random.random())):  # noqa: S311 - no secret
            raise NotConnectedError(answer, pause_s)
    return None


def _greet(connection: Connection, link: LinkSettings, stopping: Callable[[], bool]) -> Connected | Lost | None:
    """Open a connection and return the broker's answer; None if somebody wants to stop before it."""
    try:
        connection.open()
    except BrokerUnavailableError as error:
        return Lost(Trouble.OTHER, error.message, error.hint)
    deadline = time.monotonic() + CONNECT_TIMEOUT_S
    while not stopping():
        for incoming in connection.take():
            if isinstance(incoming, Connected) and incoming.max_qos == 0:
                return Lost(Trouble.OTHER, f"{link.address} is of no use", QOS_0_ONLY)
            if isinstance(incoming, Connected | Lost):
                return incoming
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            problem = f"{link.address}: accepts connections but gives no MQTT answer within {CONNECT_TIMEOUT_S:g} s"
            # CLOSED: amqtt meets MQTT 5 with a last will so.
            return Lost(Trouble.CLOSED, problem, "is it an MQTT port? [mqtt] port and tls")
        connection.step(left_s)
    return None


def publish_once(link: LinkSettings, topic: str, payload: bytes, *, retain: bool = False) -> str | None:
    """Connect, publish one message, wait until the broker has it, and leave; blocks for some seconds.

    Args:
        link: with ``announce`` false: nothing is said but this message.
        topic: where to.
        payload: what.
        retain: have the broker keep it for who comes later, where it keeps any.

    Returns:
        None once the broker has it; else why not, in one line.
    """
    try:
        connection = connect(link)
    except RecorderError as error:
        return str(error)
    assert connection is not None, "nobody stops it"  # noqa: S101
    try:
        answer = exchange(connection, link, topic, payload, retain=retain)
    finally:
        connection.close(say_goodbye=True)
    if isinstance(answer, Lost):
        return str(answer)
    return f"{link.address} refused it: {answer.text.lower()}" if answer.refused else None


def exchange(
    connection: Connection, link: LinkSettings, topic: str, payload: bytes, *, retain: bool = False
) -> Answered | Lost:
    """Publish one message with QoS 1 and return the broker's answer, or why there is none; blocks for some seconds."""
    mid = connection.publish(topic, payload, qos=1, retain=retain and connection.accepted.retains)
    return _await(connection, link, Answered, mid)


def subscribe(connection: Connection, link: LinkSettings, topics: Sequence[str]) -> Subscribed | Lost:
    """Subscribe with QoS 1 and return the broker's answer, or why there is none; blocks for some seconds."""
    return _await(connection, link, Subscribed, connection.subscribe(topics))


def _await(connection: Connection, link: LinkSettings, kind: type[T], mid: int) -> T | Lost:
    """Return the answer of this kind and number; what else happens meanwhile is for the next ``take``."""
    others: list[Incoming] = []
    deadline = time.monotonic() + ANSWER_S
    try:
        while (left_s := deadline - time.monotonic()) > 0:
            for incoming in connection.take():
                if isinstance(incoming, Lost) or (isinstance(incoming, kind) and incoming.mid == mid):
                    return incoming
                others.append(incoming)
            connection.step(left_s)
    finally:
        connection.put_back(others)
    return Lost(Trouble.OTHER, f"{link.address} did not answer within {ANSWER_S:g} s")
