"""How a device is: the state that is published for whoever wants to watch it."""

from __future__ import annotations

from msgspec import Struct


class Problem(Struct, frozen=True, kw_only=True):
    """What went wrong.

    Attributes:
        event: its name, as on the topic ``event``.
        text: for people; no longer than a line.
        at: UTC, RFC 3339.
    """

    event: str
    text: str
    at: str


class Health(Struct, frozen=True, kw_only=True):
    """The state ``health``.

    Attributes:
        waiting: requests that the broker has not acknowledged.
        last_request_at: when the last one was recorded, UTC, RFC 3339; None: none since the start.
        problem: the last one; None: none since the start.
        cpu_percent: of one core, over the last minute; None: not known yet.
        checked_at: when somebody asked for this state last.
    """

    waiting: int
    last_request_at: str | None
    problem: Problem | None
    cpu_percent: float | None
    checked_at: str | None
