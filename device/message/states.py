"""The retained states of a device, as they are published."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Status = Literal["online", "offline"]


class MicrophoneShown(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether anybody is heard, since when (UTC, RFC 3339), and, where the microphone is lost, why."""

    state: Literal["listening", "muted", "lost"]
    since: str
    reason: str = ""
