"""The tag: one JSON object inside every published file."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from device.hearing.request import EndedBy, SilencedHole
from device.hearing.words import LONGEST_NAME
from device.message.review import Review

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
    """The tag of CONTRACT, field for field and in its order; ``waited_s`` and ``signature`` are set at publishing only.

    ``holes`` is unset where there is none, ``confirmed`` where no second model heard the wake word.
    """

    schema: Literal[1] = 1
    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")]
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
