"""Commands that arrive over MQTT: what each topic and payload means, and that remote commands only tighten."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

LEVELS = ("review/set", "microphone/set")  # below {prefix}/{device id}/; the store notes what the broker keeps there
HEALTH, BIRTH = "health/set", "birth"  # beside them where Home Assistant is told; the latter is a topic of its own
_MOST = 64  # bytes of a payload that may be a command


class Action(Enum):
    """What somebody asks for from afar.

    ``CLEARED`` asks for nothing: the broker keeps no command on the topic. ``BIRTH`` is Home Assistant's start, after
    which it wants to be told of us.
    """

    OPT_OUT = "opt-out"
    OPT_IN = "opt-in"
    MUTE = "mute"
    CLEARED = "cleared"
    CHECK = "check"
    BIRTH = "birth"


@dataclass(frozen=True, slots=True)
class Command:
    """What a message asks for.

    Attributes:
        action: what.
        level: the topic it came on, below ``{prefix}/{device id}/``.
        payload: as received.
        retained: the broker kept it, from no one knows when.
        revision: an opt-in's: the choice that it means to change.
    """

    action: Action
    level: str
    payload: bytes = b""
    retained: bool = False
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message that is no command, or one that may not be executed.

    Attributes:
        problem: why.
        kind: the same for all that are ignored for the same reason, whatever else they say.
    """

    problem: str
    kind: str


_MEANINGS = {
    ("review/set", b"opt-out"): Action.OPT_OUT,
    ("microphone/set", b"mute"): Action.MUTE,
    (HEALTH, b"check"): Action.CHECK,
    (BIRTH, b"online"): Action.BIRTH,
}
_KNOWN = {"review/set": "opt-out, opt-in REVISION", "microphone/set": "mute", HEALTH: "check"}
_OPT_IN = re.compile(rb"opt-in(?:[ \t]+([0-9]{1,18}))?")


def topics(base_topic: str, birth_topic: str) -> dict[str, str]:
    """Return the topics of commands by level.

    Args:
        base_topic: ``{prefix}/{device id}``.
        birth_topic: where Home Assistant says that it has started; empty: it is not told of this device.
    """
    levels = (*LEVELS, HEALTH) if birth_topic else LEVELS
    return {level: f"{base_topic}/{level}" for level in levels} | ({BIRTH: birth_topic} if birth_topic else {})


def place_of(address: str, topic: str) -> str:
    """Return the name of a retained command's place: the broker and the topic."""
    return f"{address}/{topic}"


def how_to_delete(address: str, topic: str) -> str:
    """Return the command line that deletes a retained message."""
    host, _, port = address.rpartition(":")
    return f"mosquitto_pub -h {host} -p {port} -r -n -t {topic}"


def parse(level: str, payload: bytes, *, retained: bool, allow_remote_opt_in: bool) -> Command | Ignored:
    """Return what a message asks for; never raises, whatever arrives.

    An opt-in names the revision of the choice that it means to change. Delivered once more, or sent again by a bridge,
    it names an old one, and an opt-out made since is not undone.

    Args:
        level: the topic below ``{prefix}/{device id}/``.
        payload: as received; white space around it does not count.
        retained: the broker kept it from an earlier day. Such a message may tighten, never loosen.
        allow_remote_opt_in: what the configuration says.
    """
    word = payload[:_MOST].strip() if len(payload) <= _MOST else payload[:_MOST]
    if level == "review/set" and (opt_in := _OPT_IN.fullmatch(word)):
        return _opt_in(level, payload, opt_in[1], retained=retained, allowed=allow_remote_opt_in)
    if level in LEVELS and not payload and not retained:
        return Command(Action.CLEARED, level)  # how a broker says that a retained message is deleted
    if action := _MEANINGS.get((level, word)):
        return Command(action, level, payload, retained)
    if (level, word) == ("microphone/set", b"unmute"):
        return Ignored("unmuting over MQTT is not possible; use `microphone unmute` on the device", "unmute")
    shown = ascii(word[:32])[1:]
    known = f"; known: {_KNOWN[level]}" if level in _KNOWN else ""
    return Ignored(f"unknown command {shown} at {level[:64]!a}{known}", "unknown")


def _opt_in(level: str, payload: bytes, revision: bytes | None, *, retained: bool, allowed: bool) -> Command | Ignored:
    if not allowed:
        return Ignored(
            "opt-in over MQTT is not allowed ([review] allow_remote_opt_in); use `review opt-in` on the device",
            "opt-in not allowed",
        )
    if retained:
        return Ignored("a retained opt-in is not obeyed; publish it without the retain flag", "opt-in retained")
    if revision is None:
        return Ignored(
            "an opt-in over MQTT must name the revision of the choice that it changes, which the topic `review` has:"
            " `opt-in 3`",
            "opt-in without revision",
        )
    return Command(Action.OPT_IN, level, payload, revision=int(revision))
