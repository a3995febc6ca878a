"""The retained states of a device, as they are published."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Status = Literal["online", "offline"]


class WakeShown(Struct, frozen=True, kw_only=True):
    """Which of the configured wake words is listened for, where that may be changed over MQTT.

    Attributes:
        word: the one that is listened for; all: every one that the configuration names.
        threshold: the score from which on it counts, 0 to 1; null: the words differ in it.
        thresholds: by configured word.
        changed: whether any of this was changed over MQTT; false: it is as configured.
    """

    word: str
    threshold: float | None
    thresholds: dict[str, float]
    changed: bool


class MicrophoneShown(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether anybody is heard, since when (UTC, RFC 3339), and, where the microphone is lost, why."""

    state: Literal["listening", "muted", "lost"]
    since: str
    reason: str = ""
