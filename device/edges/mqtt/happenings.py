"""What a connection tells its owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from device.core.reconnect import Trouble


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker accepted; ``max_packet_bytes`` is the largest packet it takes, None where it did not say."""

    max_packet_bytes: int | None


@dataclass(frozen=True, slots=True)
class Answered:
    """The broker answered a publish; only ``reason`` 0 means that it took it."""

    mid: int
    reason: int
    text: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The broker answered the subscription; ``refused`` holds its words for what it denied."""

    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Received:
    """A message arrived; ``topic`` is empty where it was no text."""

    topic: str
    payload: bytes
    retained: bool


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection has ended, or was refused; nothing more comes from it."""

    trouble: Trouble
    problem: str
    hint: str = ""


Happening = Connected | Answered | Subscribed | Received | Lost
