"""Commands that arrive over MQTT: what each topic and payload means, and that remote commands only tighten."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

LEVELS = ("review/set", "microphone/set")  # below {prefix}/{device id}/


class Command(Enum):
    """What somebody asks for from afar."""

    OPT_OUT = "opt-out"
    OPT_IN = "opt-in"
    MUTE = "mute"


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message that is no command, or one that is not obeyed.

    Attributes:
        problem: why.
        kind: the same for all that are ignored for the same reason, whatever else they say.
    """

    problem: str
    kind: str


_MEANINGS = {
    ("review/set", b"opt-out"): Command.OPT_OUT,
    ("review/set", b"opt-in"): Command.OPT_IN,
    ("microphone/set", b"mute"): Command.MUTE,
}


def parse(level: str, payload: bytes, *, retained: bool, allow_remote_opt_in: bool) -> Command | Ignored:
    """Return what a message asks for; never raises, whatever arrives.

    Args:
        level: the topic below ``{prefix}/{device id}/``.
        payload: as received; white space around it does not count.
        retained: the broker kept it from an earlier day. Such a message may tighten, never loosen.
        allow_remote_opt_in: what the configuration says.
    """
    word = payload[:64].strip() if len(payload) <= 64 else payload[:64]
    command = _MEANINGS.get((level, word))
    if command is Command.OPT_IN and not allow_remote_opt_in:
        return Ignored(
            "opt-in over MQTT is not allowed ([review] allow_remote_opt_in); use `review opt-in` on the device",
            "opt-in not allowed",
        )
    if command is Command.OPT_IN and retained:
        return Ignored("a retained opt-in is not obeyed; publish it without the retain flag", "opt-in retained")
    if command is not None:
        return command
    if (level, word) == ("microphone/set", b"unmute"):
        return Ignored("unmuting over MQTT is not possible; use `microphone unmute` on the device", "unmute")
    known = [meaning.decode() for topic, meaning in _MEANINGS if topic == level]
    shown = ascii(word[:32])[1:]
    words = f"; known: {', '.join(known)}" if known else ""
    return Ignored(f"unknown command {shown} at {level[:64]!a}{words}", "unknown")
