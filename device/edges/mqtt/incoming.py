"""What comes in on a connection, each kind with its facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from device.sending.reconnect import Trouble


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker accepted. What it can do is all that it did not deny: MQTT 3.1.1 has no words for any of it.

    Attributes:
        max_packet_bytes: the largest packet it takes; None where it named none.
        max_qos: 0 where it acknowledges nothing.
        retains: whether it keeps retained messages.
        wildcards: whether a subscription may have wildcards.
        session_s: how long it keeps the session of a client that is away; None where it keeps it as long as asked.
    """

    max_packet_bytes: int | None = None
    max_qos: int = 2
    retains: bool = True
    wildcards: bool = True
    session_s: int | None = None


NOBODY_SUBSCRIBED = 16  # reasons of MQTT 5
RETAIN_NOT_SUPPORTED = 154
_REFUSALS = 128  # and from there on


@dataclass(frozen=True, slots=True)
class Answered:
    """The broker answered a publish; ``reason`` 0 means that it took it, 16 that nobody is subscribed."""

    mid: int
    reason: int
    text: str

    @property
    def refused(self) -> bool:
        """Whether the broker did not take it."""
        return self.reason >= _REFUSALS


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The broker answered a subscription; ``refused`` holds its words for each topic that it denied, empty words else.

    Attributes:
        mid: what ``subscribe`` returned.
        refused: one for each topic, in order.
    """

    mid: int
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message arrived; the broker counts it as under way until it is acknowledged.

    Attributes:
        topic: empty where it was no text.
        payload: its bytes.
        retained: the broker kept it from before the subscription.
        qos: 0 needs no acknowledgement.
        mid: what its acknowledgement refers to.
        content_type: MQTT 5 only.
        user_properties: MQTT 5 only.
    """

    topic: str
    payload: bytes
    retained: bool = False
    qos: int = 0
    mid: int = 0
    content_type: str | None = None
    user_properties: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection has ended, or was refused; nothing more comes from it."""

    trouble: Trouble
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.problem}; {self.hint}" if self.hint else self.problem


Incoming = Connected | Answered | Subscribed | Arrived | Lost
