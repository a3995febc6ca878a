"""The tag: one JSON object inside every published file."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from device.hearing.request import EndedBy, SilencedHole
from device.hearing.words import LONGEST_NAME
from device.message.review import Review

RequestId = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")]
Count = Annotated[int, Meta(ge=0)]
Timestamp = Annotated[str, Meta(pattern=r"(?a)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")]  # UTC with milliseconds


LONGEST_SOURCE = 512
MOST_HOLES = 500


def source_name(text: str) -> str:
    """Return a stream's name as a tag has it: a file's name need not be UTF-8, and may be as long as it likes."""
    valid = text.encode(errors="replace").decode()
    return valid if len(valid) <= LONGEST_SOURCE else valid[: LONGEST_SOURCE - 1] + "…"


class AudioFormat(Struct, frozen=True, kw_only=True):
    """What the PCM is, and the SHA-256 of its little-endian bytes in hex."""

    rate_hz: Literal[16000] = 16000
    channels: Literal[1] = 1
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Tag(Struct, frozen=True, kw_only=True):
    """What a request says about itself, field for field and in their order.

    Sample numbers count from the stream's start at 16 kHz. ``waited_s`` and ``signature`` are set at publishing only.

    Attributes:
        schema: the version of this form; what is added later is optional.
        id: a UUIDv7, the same for every repeat.
        device: who recorded it.
        wake_word: the word that was heard, or ``button``.
        score: how sure the wake word's model was.
        confirmed: how sure the second one was; missing where there is none.
        captured_at: when speech began, UTC.
        clock_synced: whether a time server had set the clock.
        source: the microphone, or ``file:`` and a recording's name.
        start_sample: the first sample kept.
        end_sample: the first one not kept.
        wake_sample: where the detection fired.
        duration_s: of the sound.
        ended_by: what ended the request.
        holes: where the machine was too slow and silence stands in the sound's place; missing where there are none.
        review: may people listen to it.
        audio: what the sound is.
        waited_s: seconds from storing to publishing, by a clock that nobody sets; null over a reboot.
        signature: Ed25519, over the tag's JSON without this field, as it stands in the file; missing if not signed.
    """

    schema: Literal[1] = 1
    id: RequestId
    device: Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,64}\Z")]
    wake_word: Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]
    score: Annotated[float, Meta(ge=0, le=1)]
    confirmed: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    captured_at: Timestamp
    clock_synced: bool
    source: str
    start_sample: Count
    end_sample: Count
    wake_sample: Count
    duration_s: Annotated[float, Meta(ge=0)]
    ended_by: EndedBy
    holes: tuple[SilencedHole, ...] | UnsetType = UNSET
    review: Review
    audio: AudioFormat
    waited_s: Annotated[float, Meta(ge=0)] | UnsetType | None = UNSET
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)] | UnsetType = UNSET  # base64 in JSON; always last
