"""Commands that arrive over MQTT: what each topic and payload means, and that remote commands only tighten."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from device.hearing.tuning import ALL, LOWEST

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVELS = ("review/set", "microphone/set")  # below {prefix}/{device id}/; the store notes what the broker keeps there
HEALTH, BIRTH = "health/set", "birth"  # beside them where Home Assistant is told; the latter is a topic of its own
WAKE = "wake/set"  # beside them where the configuration allows it
_MOST = 64  # bytes of a payload that may be a command
_MOST_WAKE = 600  # the same where it names a wake word


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
    LISTEN = "listen"
    THRESHOLD = "threshold"


@dataclass(frozen=True, slots=True)
class Command:
    """What a message asks for.

    Attributes:
        action: what.
        level: the topic it came on, below ``{prefix}/{device id}/``.
        payload: as received.
        retained: the broker kept it, from no one knows when.
        revision: an opt-in's: the choice that it means to change.
        word: the wake word that it is about; ``ALL``: every one; empty: it is about none.
        threshold: the score from which on that one is to count, 0 to 1.
    """

    action: Action
    level: str
    payload: bytes = b""
    retained: bool = False
    revision: int | None = None
    word: str = ""
    threshold: float | None = None


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
_TUNING = re.compile(r"(listen)[ \t]+(.+)|(threshold)[ \t]+(.+?)[ \t]+([0-9]*\.?[0-9]+)")
_OPT_IN = re.compile(rb"opt-in(?:[ \t]+([0-9]{1,18}))?")


def topics(base_topic: str, birth_topic: str, *, wake: bool = False) -> dict[str, str]:
    """Return the topics of commands by level.

    Args:
        base_topic: ``{prefix}/{device id}``.
        birth_topic: where Home Assistant says that it has started; empty: it is not told of this device.
        wake: whether wake words and thresholds may be changed.
    """
    levels = (*LEVELS, *((HEALTH,) if birth_topic else ()), *((WAKE,) if wake else ()))
    return {level: f"{base_topic}/{level}" for level in levels} | ({BIRTH: birth_topic} if birth_topic else {})


def place_of(address: str, topic: str) -> str:
    """Return the name of a retained command's place: the broker and the topic."""
    return f"{address}/{topic}"


def how_to_delete(address: str, topic: str) -> str:
    """Return the command line that deletes a retained message."""
    host, _, port = address.rpartition(":")
    return f"mosquitto_pub -h {host} -p {port} -r -n -t {topic}"


def parse(
    level: str, payload: bytes, *, retained: bool, allow_remote_opt_in: bool, wake_words: Sequence[str] = ()
) -> Command | Ignored:
    """Return what a message asks for; never raises, whatever arrives.

    An opt-in names the revision of the choice that it means to change. Delivered once more, or sent again by a bridge,
    it names an old one, and an opt-out made since is not undone.

    Args:
        level: the topic below ``{prefix}/{device id}/``.
        payload: as received; white space around it does not count.
        retained: the broker kept it from an earlier day. Such a message may tighten, never loosen.
        allow_remote_opt_in: what the configuration says.
        wake_words: those that it names, where it allows them to be changed.
    """
    word = payload[:_MOST].strip() if len(payload) <= _MOST else payload[:_MOST]
    if level == "review/set" and (opt_in := _OPT_IN.fullmatch(word)):
        return _opt_in(level, payload, opt_in[1], retained=retained, allowed=allow_remote_opt_in)
    if level == WAKE and payload and wake_words:
        return _tuning(payload, wake_words, retained=retained)
    if level in (*LEVELS, WAKE) and not payload and not retained:
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


def _tuning(payload: bytes, words: Sequence[str], *, retained: bool) -> Command | Ignored:
    """Return what a message asks for that changes the wake words."""
    right = f"known: `listen WORD`, `threshold WORD SCORE`; WORD: {ascii(', '.join([*words, ALL]))[1:-1][:400]}"
    asked = _TUNING.fullmatch(payload[:_MOST_WAKE].decode(errors="replace").strip())
    if not asked or len(payload) > _MOST_WAKE:
        return Ignored(f"unknown command {ascii(payload[:32])[1:]} at {WAKE}; {right}", "unknown")
    if retained:
        problem = f"a retained {asked[1] or asked[3]} is not obeyed; publish it without the retain flag"
        return Ignored(problem, "wake retained")
    word = asked[2] or asked[4]
    if word not in (*words, ALL):
        return Ignored(f"{word[:64]!a} is no wake word that the configuration names; {right}", "wake word")
    if asked[1]:
        return Command(Action.LISTEN, WAKE, payload, word=word)
    score = round(float(asked[5][:32]), 4)
    if not LOWEST <= score <= 1:
        return Ignored(f"a threshold of {score:g}; over MQTT it is {LOWEST} to 1", "wake threshold")
    return Command(Action.THRESHOLD, WAKE, payload, word=word, threshold=score)
