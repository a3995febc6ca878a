"""A subscription that loses nothing: messages are acknowledged one by one, when whoever took them says so."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, NoReturn

from device.edges.mqtt.connecting import NotConnectedError, connect, subscribe
from device.edges.mqtt.incoming import Answered, Arrived, Lost
from device.sending.reconnect import Reconnect, Trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device.edges.mqtt.connection import Connection
    from device.edges.mqtt.interrupt import Interrupt
    from device.edges.mqtt.link import LinkSettings

SESSION_S = 7 * 86_400  # as long as an outbox keeps what nobody took
MAX_PACKET_BYTES = 10_000_000  # the longest request, [capture] max_s = 300, is 9.6 MB as WAV, and its tag 16 kB


class Subscriber:
    """One subscription over any number of connections; used by one thread, with none of its own.

    Args:
        link: where the broker is and who we are there; where ``session_s`` is not 0 the broker keeps what comes
            while we are away.
        topics: what to subscribe to, with QoS 1.
        interrupt: ends a wait from another thread; None: nobody does.
    """

    def __init__(self, link: LinkSettings, *topics: str, interrupt: Interrupt | None = None) -> None:
        self._link = link
        self._topics = topics
        self._interrupt = interrupt
        self._reconnect = Reconnect(link.protocol)
        self._connection: Connection | None = None
        self._answered: list[Answered] = []
        self._began_at = 0.0

    def connect(self) -> None:
        """Connect and subscribe.

        Raises:
            NotConnectedError: the broker cannot be reached, or refuses us or the subscription.
            ConfigurationError: a certificate or key of ours cannot be used.
        """
        self.close()
        self._connection = connection = connect(self._link, self._reconnect, interrupt=self._interrupt)
        assert connection is not None, "nobody stops it"  # noqa: S101
        self._answered = []
        self._began_at = time.monotonic()
        names = ", ".join(self._topics)
        if not connection.accepted.wildcards and "+" in names:
            problem = f"{self._link.address} allows no wildcards in a subscription"
            self._fail(Lost(Trouble.OTHER, problem, names))
        answer = subscribe(connection, self._link, self._topics)
        if isinstance(answer, Lost):
            self._fail(answer)
        if refused := next(filter(None, answer.refused), ""):
            problem = f"{self._link.address} refused the subscription to {names}: {refused.lower()}"
            self._fail(Lost(Trouble.LOGIN, problem, "check the broker's access list"))

    @property
    def wanted_s(self) -> int:
        """How long the broker is asked to keep what comes while we are away."""
        return self._link.session_s

    @property
    def kept_s(self) -> int:
        """How long it does."""
        granted_s = self._connection.accepted.session_s if self._connection is not None else None
        return self._link.session_s if granted_s is None else min(granted_s, self._link.session_s)

    def wait(self, timeout_s: float) -> Sequence[Arrived]:
        """Return what has arrived, as soon as something has; nothing when the time is over, or the wait interrupted.

        Raises:
            NotConnectedError: the connection is lost; ``connect`` makes a new one.
        """
        connection = self._connection
        if connection is None:
            self._fail(Lost(Trouble.OTHER, f"there is no connection to {self._link.address}"))
        connection.step(timeout_s)
        connection.keep_alive()
        arrived: list[Arrived] = []
        for incoming in connection.take():
            if isinstance(incoming, Arrived):
                arrived.append(incoming)
            elif isinstance(incoming, Answered):
                self._answered.append(incoming)
            elif isinstance(incoming, Lost) and arrived:
                connection.put_back([incoming])  # nothing comes after it
                break
            elif isinstance(incoming, Lost):
                self._reconnect.ended()
                self._fail(incoming)
        if arrived:
            self._reconnect.settled()
        return arrived

    def answered(self) -> Sequence[Answered]:
        """Return the broker's answers to what was published on this connection, each once."""
        answered, self._answered = self._answered, []
        return answered

    def _fail(self, lost: Lost) -> NoReturn:
        lasted_s = time.monotonic() - self._began_at
        pause_s = self._reconnect.pause_s(lost.trouble, random.random(), lasted_s)  # noqa: S311 - no secret
        raise NotConnectedError(lost, pause_s)

    def publish(self, topic: str, payload: bytes) -> int:
        """Publish with QoS 1, and return the number that the broker's answer will bear; 0 without a connection."""
        return 0 if self._connection is None else self._connection.publish(topic, payload, qos=1)

    def acknowledge(self, arrived: Arrived) -> None:
        """Acknowledge a message; without a connection it is not, and the broker sends it again."""
        if self._connection is not None:
            self._connection.acknowledge(arrived)

    def close(self) -> None:
        """Say goodbye; a lasting session outlives it."""
        if self._connection is not None:
            self._connection.close(say_goodbye=True)
            self._connection = None
