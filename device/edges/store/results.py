"""What the store gives back."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from device.message.review import Review
    from device.message.tag import Tag

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A review choice that is now stored.

    Attributes:
        review: the choice.
        changed: whether it is another one than before.
        retagged: how many waiting requests it opted out.
        withdrawn: how many requests that had been sent are withdrawn with it.
    """

    review: Review
    changed: bool
    retagged: int
    withdrawn: int = 0


@dataclass(frozen=True, slots=True)
class Retained:
    """A command that a broker keeps: where, and its payload."""

    place: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Mute:
    """Is the microphone muted, and since when (UTC, RFC 3339)."""

    muted: bool
    since: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """A request that the outbox's limits took: ``size`` (too many bytes waited) or ``age``."""

    id: str
    reason: Literal["size", "age"]
    wake_word: str
    captured_at: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A request that is now stored, as it is tagged, and those that made room for it."""

    tag: Tag
    dropped: tuple[Dropped, ...]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A request to publish now.

    Attributes:
        tag: with ``waited_s`` set, and as strict as the choice stored now.
        pcm: 16-bit little-endian mono PCM at 16 kHz; its SHA-256 is the tag's.
        attempts: how often it was refused before.
    """

    tag: Tag
    pcm: bytes
    attempts: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A waiting request as `outbox list` shows it; ``problem`` says why it was last refused, or is empty."""

    id: str
    captured_at: str
    wake_word: str
    duration_s: float
    bytes: int
    review: Review
    attempts: int
    problem: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that the broker has, without its sound.

    Attributes:
        id: the request's.
        captured_at: when its speech began, UTC.
        sent_at: when the broker had it, UTC.
        wake_word: what preceded it.
        duration_s: its length.
        opt_out: how it left; false also where it may have left as reviewable before it was opted out.
        erasure: ``asked``: whoever has it is to be asked to erase it; ``told``: the broker has that notice; or None.
    """

    id: str
    captured_at: str
    sent_at: str
    wake_word: str
    duration_s: float
    opt_out: bool
    erasure: Literal["asked", "told"] | None


@dataclass(frozen=True, slots=True)
class Damaged:
    """What lies in a damaged database that was set aside.

    Attributes:
        name: of the file in the state folder.
        waits: its requests are saved once there is room; else they cannot be read.
        requests: how many; None where nobody can say.
        bytes: what it takes of the disk.
    """

    name: str
    waits: bool
    requests: int | None
    bytes: int

    def __str__(self) -> str:
        """Say it in a line."""
        many = (
            "an unknown number of requests"
            if self.requests is None
            else f"{self.requests} request{'s' * (self.requests != 1)}"
        )
        what = "waiting for room on the disk" if self.waits else "that cannot be read"
        return f"{many} {what}, in a damaged database, {self.name} ({self.bytes / 1e6:.1f} MB)"


@dataclass(frozen=True, slots=True)
class StoreEvent:
    """Something a person should know: ``event`` says of what kind, ``level`` how grave it is."""

    event: Literal[
        "store-damaged",
        "store-salvaged",
        "damaged-deleted",
        "review-unreadable",
        "store-busy",
        "disk-stalled",
        "disk-answers",
    ]
    message: str
    fields: dict[str, str | int | float] = field(default_factory=dict)
    level: int = logging.ERROR


def log_event(event: StoreEvent) -> None:
    """Write an event to the log: what happens to events when nobody else takes them."""
    _log.log(event.level, event.message, extra={"event": event.event, **event.fields})
