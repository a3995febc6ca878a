"""What the page shows, as plain facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

    from device.message.review import Review


@dataclass(frozen=True, slots=True)
class Microphone:
    """Whether the user has muted it, and since when (UTC, RFC 3339)."""

    muted: bool
    since: str


@dataclass(frozen=True, slots=True)
class Live:
    """What the recorder does now.

    Attributes:
        running: does one run?
        microphone: what it says of it; empty where it says nothing.
        reason: why the microphone is lost; else empty.
        level_dbfs: how loud it is there; None where nothing is heard.
    """

    running: bool
    microphone: Literal["listening", "muted", "lost", ""] = ""
    reason: str = ""
    level_dbfs: float | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A request that waits; ``problem`` says why it was last refused, or is empty."""

    id: str
    captured_at: str
    wake_word: str
    duration_s: float
    opt_out: bool
    problem: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that the broker has; ``erasure``: whoever has it is to be ``asked`` to erase it, or was ``told``."""

    id: str
    sent_at: str
    wake_word: str
    duration_s: float
    opt_out: bool
    erasure: Literal["asked", "told"] | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where this device is, and where what leaves it goes.

    Attributes:
        device: its id.
        base_topic: what its topics begin with.
        broker: host and port.
        tls: is the way there encrypted?
        format: of the audio files, ``wav`` or ``flac``.
        asked: who is asked for answers, where `answer` runs with this configuration; empty: nobody.
        version: the program's.
        history_days: how long what was sent is remembered.
        keeps_wake_sound: does the sound of the wake word wait beside its request?
    """

    device: str
    base_topic: str
    broker: str
    tls: bool
    format: str
    asked: str
    version: str
    history_days: float
    keeps_wake_sound: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything on the page.

    Attributes:
        place: where this device is.
        now: this moment, in the time zone in which times are shown.
        live: what the recorder does.
        review: the choice that counts.
        sentence: what was read where it was made; None: nothing.
        microphone: None where it cannot be read.
        waiting: oldest first; None where it cannot be read.
        sent: newest first; None where it cannot be read.
        withdrawn_at: when what had been sent was withdrawn with this choice; None: it was not.
        damaged: what lies in damaged databases, a line each.
        problem: why something cannot be read; else empty.
    """

    place: Place
    now: datetime
    live: Live
    review: Review
    sentence: str | None
    microphone: Microphone | None
    waiting: tuple[Request, ...] | None
    sent: tuple[Sent, ...] | None
    withdrawn_at: str | None = None
    damaged: tuple[str, ...] = ()
    problem: str = ""
