"""Whether a broker can be believed when it answers that nobody is subscribed (reason 16 of MQTT 5).

Some give that answer wrongly, mosquitto 2.0.19 to every publish: believed, they get the same request again and again.
So the first such answer on a connection is put to the test: we subscribe to a topic of our own and publish to it. A
broker that answers 16 and yet delivers the message to us has lied. Nothing less proves it: where an access list keeps
the message from us, or the broker leaves out the publisher, 16 may be true.
"""

from __future__ import annotations

import secrets
from enum import Enum, auto
from typing import TYPE_CHECKING

from device.edges.mqtt import NOBODY_SUBSCRIBED, Answered, Arrived, Subscribed

if TYPE_CHECKING:
    from device.edges.mqtt import Connection, Incoming

ANSWER_S = 2.0  # how long the broker has for its answers and the message, once it has ours


class Credibility(Enum):
    """What is known of a broker's word on this connection."""

    UNASKED = auto()
    ASKED = auto()
    TRUE = auto()  # it knows a subscriber when there is one
    LIE = auto()  # it denies one that it delivers to
    UNKNOWN = auto()  # it does not let us find out


class SubscriberProbe:
    """The test on one connection; used by the sender's thread only.

    Args:
        topic: one that this login may write, and read where the access list lets it.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._payload = b'{"event":"subscriber-test","nonce":"%s"}' % secrets.token_hex(8).encode()
        self._until = 0.0
        self._subscription = self._publish = 0  # their numbers
        self._denied = self._delivered = False
        self.verdict = Credibility.UNASKED

    def ask(self, connection: Connection, now: float) -> None:
        """Begin the test, once."""
        if self.verdict is Credibility.UNASKED:
            self.verdict = Credibility.ASKED
            self._until = now + ANSWER_S
            self._subscription = connection.subscribe([self._topic])

    def take(self, connection: Connection, incoming: Incoming) -> bool:
        """Take what belongs to the test; false if it does not."""
        match incoming:
            case Arrived(topic=self._topic, payload=payload):
                connection.acknowledge(incoming)
                self._delivered |= payload == self._payload
            case Subscribed(mid=self._subscription, refused=(refusal,)) if self._subscription:
                if refusal:
                    self._conclude(connection, Credibility.UNKNOWN)
                elif self.verdict is Credibility.ASKED:
                    self._publish = connection.publish(self._topic, self._payload, qos=1)
            case Answered(mid=self._publish, reason=reason) if self._publish:
                self._denied = reason == NOBODY_SUBSCRIBED
                if not self._denied:
                    self._conclude(connection, Credibility.TRUE if reason == 0 else Credibility.UNKNOWN)
            case _:
                return False
        if self._denied and self._delivered:
            self._conclude(connection, Credibility.LIE)
        return True

    def tick(self, connection: Connection, now: float) -> None:
        """Give up once the time is over; to be called about once a second."""
        if connection.unsent():
            self._until = now + ANSWER_S
        elif now >= self._until:
            self._conclude(connection, Credibility.UNKNOWN)

    def _conclude(self, connection: Connection, verdict: Credibility) -> None:
        if self.verdict is Credibility.ASKED:
            self.verdict = verdict
            connection.unsubscribe([self._topic])
