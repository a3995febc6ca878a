"""A tag and its PCM become one message, the tag inside the audio file; and back."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from device.errors import TagError
from device.hearing.frames import RATE_HZ
from device.message import riff
from device.message.review import decision
from device.message.tag import Tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PRODUCT = "wakeword-recorder"
MAX_TAG_BYTES = 65_536  # ours are about 900, with the most holes half of this; no parser is fed more of a stranger's

CONTENT_USAGE = ("Content-Usage", "train-ai=n")  # the header field of IETF's AI Preferences, as a property

_CONTENT_TYPES = {b"RIFF": "audio/wav", b"fLaC": "audio/flac"}
_FORMAT = struct.Struct("<HHIIHH")  # format, channels, rate, bytes per second, bytes per frame, bits
_PCM_16_MONO = (1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
_TAG = b"INFO ICMT"
_WANTED = (b"fmt ", _TAG, b"data")


@dataclass(frozen=True, slots=True)
class Message:
    """What is handed to the broker for one request.

    Attributes:
        topic: ends in the tag's review decision, so that an access list can go by it.
        payload: one whole WAV or FLAC file.
        content_type: of the payload; MQTT 5 only.
        user_properties: names and values; MQTT 5 only.
    """

    topic: str
    payload: bytes
    content_type: str
    user_properties: tuple[tuple[str, str], ...]


def message(tag: Tag, pcm: bytes, *, prefix: str, encode: Callable[[Tag, bytes], bytes]) -> Message:
    """Make the message for one request.

    Args:
        tag: what the file, the topic and the properties all say.
        pcm: 16-bit little-endian samples, 16 kHz mono.
        prefix: what the topic begins with.
        encode: makes the file, ``wav`` or the FLAC edge's ``flac`` with its version bound.
    """
    payload = encode(tag, pcm)
    return Message(
        topic=topic(prefix, tag.device, opt_out=tag.review.opt_out),
        payload=payload,
        content_type=content_type(payload),
        user_properties=properties(tag),
    )


def topic(prefix: str, device: str, *, opt_out: bool) -> str:
    """Return the topic of a device's requests with this review decision."""
    return f"{prefix}/{device}/request/{decision(opt_out=opt_out)}"


def properties(tag: Tag) -> tuple[tuple[str, str], ...]:
    """Return the user properties that repeat the tag, for consumers that route without opening the file."""
    return (
        ("id", tag.id),
        ("device", tag.device),
        ("wake_word", tag.wake_word),
        ("captured_at", tag.captured_at),
        ("review_opt_out", "true" if tag.review.opt_out else "false"),
        ("review_choice", tag.review.choice),
        ("review_revision", str(tag.review.revision)),
        *((CONTENT_USAGE,) if tag.review.opt_out else ()),
    )


def content_type(payload: bytes) -> str:
    """Return the media type that a payload's first bytes show.

    Raises:
        TagError: it is neither of the two formats.
    """
    try:
        return _CONTENT_TYPES[payload[:4]]
    except KeyError:
        raise TagError(f"payload begins with {ascii(payload[:4])[1:]}", hint="a WAV or FLAC file is expected") from None


def tag_json(tag: Tag) -> str:
    r"""Return the tag as one line of ASCII JSON, its fields in the tag's order.

    A WAV's INFO text has no declared encoding, so whatever is not ASCII is written as ``\u`` escapes.
    """
    text = msgspec.json.encode(tag)
    if text.isascii():  # as nearly always, and four times as fast
        return text.decode()
    return json.dumps(msgspec.to_builtins(tag), ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def parse_tag(text: bytes) -> Tag:
    """Read a tag that anybody may have written.

    Raises:
        TagError: it is too long, no JSON, or breaks the tag's schema.
    """
    if len(text) > MAX_TAG_BYTES:
        raise TagError(f"tag of {len(text)} bytes", hint=f"at most {MAX_TAG_BYTES} are read")
    try:
        return msgspec.json.decode(text, type=Tag)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # ValidationError is a DecodeError
        raise TagError(f"tag: {ascii(str(error))[1:-1]}") from None


def wav(tag: Tag, pcm: bytes, *, version: str) -> bytes:
    """Return a WAV file with the tag in its INFO list.

    The list stands before the audio, where readers find it without seeking, and the tag last in the list: libsndfile
    stops reading a list at an entry of 2,048 bytes or more.

    Args:
        tag: written as JSON into ``ICMT``.
        pcm: 16-bit little-endian samples, 16 kHz mono.
        version: of this program, for ``ISFT``.
    """
    info = {"ICRD": tag.captured_at, "ISFT": f"{PRODUCT} {version}", "IART": tag.device, "ICMT": tag_json(tag)}
    entries = (riff.chunk(name.encode(), value.encode("ascii"), b"\0") for name, value in info.items())
    return riff.chunk(
        b"RIFF",
        b"WAVE",
        riff.chunk(b"fmt ", _FORMAT.pack(*_PCM_16_MONO)),
        riff.chunk(b"LIST", b"INFO", *entries),
        riff.HEADER.pack(b"data", len(pcm)),  # not a chunk made before: the sound is copied once
        pcm,
        bytes(len(pcm) % 2),
    )


def read_wav(payload: bytes) -> tuple[Tag, bytes]:
    """Read a WAV file as ``wav`` writes it, in whatever order its chunks stand, passing over unknown ones.

    Returns:
        The tag, and the PCM as 16-bit little-endian samples, 16 kHz mono.

    Raises:
        TagError: it is no such file, is damaged, or carries no tag.
    """
    found = _wanted(payload)
    return parse_tag(_text_of(found)), bytes(found[b"data"])


def wav_tag_text(payload: bytes) -> bytes:
    """Return the tag of a WAV file as ``wav`` writes it, as it stands there.

    Raises:
        TagError: as ``read_wav``.
    """
    return _text_of(_wanted(payload))


def _text_of(found: dict[bytes, memoryview]) -> bytes:
    return bytes(found[_TAG]).rstrip(b"\0")


def _wanted(payload: bytes) -> dict[bytes, memoryview]:
    """Return the contents of the chunks named in ``_WANTED``, the format checked.

    Raises:
        TagError: one is missing, or something is wrong.
    """
    try:
        return _found(memoryview(payload))
    except ValueError as error:
        raise TagError(f"WAV file: {error}") from None


def _found(file: memoryview) -> dict[bytes, memoryview]:
    found: dict[bytes, memoryview] = {}
    for name, content in _chunks(file):
        if name in found:
            raise ValueError(f"{name.decode()!r} stands there twice")
        if name in _WANTED:
            found[name] = content
    for name in _WANTED:
        if name not in found:
            raise ValueError(f"{name.decode()!r} is missing")
    if bytes(found[b"fmt "][: _FORMAT.size]) != _FORMAT.pack(*_PCM_16_MONO) or len(found[b"data"]) % 2:
        raise ValueError("its audio is not 16-bit PCM, 16 kHz mono")
    return found


def _chunks(file: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the chunks of a WAV file, those of its INFO list under names that begin with ``INFO``."""
    name, form = next(riff.chunks(file), (b"", file))
    if name != b"RIFF" or bytes(form[:4]) != b"WAVE":
        raise ValueError("it has no RIFF WAVE header")
    if riff.HEADER.size + len(form) != len(file):
        raise ValueError(f"{len(file) - riff.HEADER.size - len(form)} bytes follow its end")
    for name, content in riff.chunks(form[4:]):
        if name == b"LIST" and bytes(content[:4]) == b"INFO":
            for entry, text in riff.chunks(content[4:]):
                yield b"INFO " + entry, text
        else:
            yield name, content
