"""What a subscriber checks before it trusts a message: topic, properties, tag and sound must all say the same."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from msgspec import UNSET

from device.errors import TagError
from device.hearing.frames import RATE_HZ
from device.message import envelope
from device.message.review import contradiction, decision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from device.message.tag import Tag

_TOPIC = re.compile(r"(?P<prefix>.+)/(?P<device>[^/]+)/request/(?P<decision>reviewable|opted-out)", re.DOTALL)
_ROUNDING_S = 0.001


@dataclass(frozen=True, slots=True)
class Received:
    """A request whose every part agreed.

    Attributes:
        tag: what was inside the file.
        pcm: 16-bit little-endian samples, 16 kHz mono.
    """

    tag: Tag
    pcm: bytes


def check(
    topic: str,
    payload: bytes,
    content_type: str | None,
    user_properties: Sequence[tuple[str, str]] | None,
    *,
    read_flac: Callable[[bytes], tuple[Tag, bytes]],
) -> Received:
    """Open a received message and hold its parts against each other.

    Args:
        topic: what it arrived under.
        payload: the file.
        content_type: MQTT 5's; None where the way here spoke only 3.1.1.
        user_properties: MQTT 5's, in any order among any others; None or none of ours where the way spoke only 3.1.1.
        read_flac: the FLAC edge's reader, raising TagError.

    Raises:
        TagError: it is no request of ours, or topic, properties, tag and sound disagree in anything.
    """
    named = _TOPIC.fullmatch(topic)
    if named is None:
        raise TagError(f"topic {shown(topic)}", hint="it must end in DEVICE/request/reviewable or …/opted-out")
    kind = envelope.content_type(payload)
    if content_type is not None:
        _must_agree("content type", content_type, "the file", kind)
    tag, pcm = envelope.read_wav(payload) if kind == "audio/wav" else read_flac(payload)
    _must_agree("topic's device", named["device"], "tag", tag.device)
    _must_agree("topic's decision", named["decision"], "tag", decision(opt_out=tag.review.opt_out))
    if differs := contradiction(tag.review):
        raise TagError(f"tag's opt_out is {tag.review.opt_out}, but in its use {differs}")
    _check_properties(user_properties or (), tag)
    _check_sound(tag, pcm)
    return Received(tag, pcm)


def _check_properties(given: Sequence[tuple[str, str]], tag: Tag) -> None:
    expected = dict(envelope.properties(tag))
    ours = [(name, value) for name, value in given if name in expected]
    if not tag.review.opt_out and envelope.CONTENT_USAGE in given:
        raise TagError("property {} is {!r}, the tag is reviewable".format(*envelope.CONTENT_USAGE))
    if not ours:
        return
    if tag.review.use is UNSET and not any(name == envelope.CONTENT_USAGE[0] for name, _ in ours):
        expected.pop(envelope.CONTENT_USAGE[0], None)  # published by a version that knew neither
    for name, value in ours:
        _must_agree(f"property {name}", value, "tag", expected.pop(name, "no second one"))
    if expected:
        raise TagError(f"property {min(expected)} is missing beside the others")


def _check_sound(tag: Tag, pcm: bytes) -> None:
    samples = len(pcm) // 2
    if tag.end_sample - tag.start_sample != samples:
        raise TagError(f"tag says samples {tag.start_sample} to {tag.end_sample}, the file holds {samples}")
    if abs(tag.duration_s - samples / RATE_HZ) > _ROUNDING_S:
        raise TagError(f"tag says {tag.duration_s} s, the file holds {samples / RATE_HZ} s")
    _must_agree("tag's sha256", tag.audio.sha256, "the samples'", hashlib.sha256(pcm).hexdigest())


def _must_agree(what: str, value: str, other: str, expected: str) -> None:
    if value != expected:
        raise TagError(f"{what} is {shown(value)}, {other} says {shown(expected)}")


def sampled(request_id: str, share: float) -> bool:
    """Whether a request is in a random sample of this share; of the same requests always the same are.

    Args:
        request_id: decides, by its SHA-256, so that nobody can choose.
        share: of all requests, 0 to 1.
    """
    first = hashlib.sha256(request_id.encode()).digest()[:8]
    return int.from_bytes(first, "big") < share * 2**64


def shown(text: str) -> str:
    """Return a stranger's text as something that can be printed: quoted, escaped, and not long."""
    quoted = ascii(text)
    return quoted if len(quoted) <= 80 else quoted[:77] + "..."


class Repeat(Enum):
    """What a message is beside those before it."""

    NEW = auto()  # an id not seen lately
    SAME = auto()  # delivered again, as at-least-once delivery may
    TIGHTENED = auto()  # delivered again, and opted out meanwhile: what was kept of the first must change
    ERASED = auto()  # delivered again after its device asked to erase it


class Deduplicator:
    """Recognises repeats by the last ``limit`` ids; older ones are forgotten."""

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._seen: OrderedDict[str, tuple[str, bool]] = OrderedDict()
        self._erased: OrderedDict[tuple[str, str], None] = OrderedDict()  # device and id

    def look(self, tag: Tag) -> Repeat:
        """Say what a checked message is, and remember nothing: whoever could not keep it will be sent it again.

        Raises:
            TagError: the id had another sound before, or was opted out before and no longer is.
        """
        before = self._seen.get(tag.id)
        if (tag.device, tag.id) in self._erased:
            return Repeat.ERASED
        if before is None:
            return Repeat.NEW
        sha256, opt_out = before
        if sha256 != tag.audio.sha256:
            raise TagError(f"id {tag.id} came before with another sound", hint="one id has one sound")
        if opt_out and not tag.review.opt_out:
            raise TagError(f"id {tag.id} was opted out before", hint="a tag never loosens")
        return Repeat.SAME if opt_out == tag.review.opt_out else Repeat.TIGHTENED

    def remember(self, tag: Tag) -> None:
        """Note a message that has been kept."""
        self._seen[tag.id] = (tag.audio.sha256, tag.review.opt_out)
        self._seen.move_to_end(tag.id)
        while len(self._seen) > self._limit:
            self._seen.popitem(last=False)

    def erase(self, device: str, ids: Iterable[str]) -> None:
        """Note that a device asked to erase these requests of its own."""
        self._erased |= dict.fromkeys((device, request_id) for request_id in ids)
        while len(self._erased) > self._limit:
            self._erased.popitem(last=False)
