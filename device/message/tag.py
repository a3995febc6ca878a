"""The tag: one JSON object inside every published file, and the request it describes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from device.message.review import Review

if TYPE_CHECKING:
    from device.hearing.frames import Samples

EndedBy = Literal["silence", "max", "end-of-input", "shutdown", "gap"]
Count = Annotated[int, Meta(ge=0)]
LONGEST_WORD = 128  # characters of a wake word's name
Timestamp = Annotated[str, Meta(pattern=r"(?a)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")]  # UTC with milliseconds


LONGEST_SOURCE = 512
MOST_HOLES = 500


def name_problem(name: str) -> str:
    """Return why a wake word cannot have a name, which stands in tags and in MQTT's strings; empty if it can."""
    if not name.isprintable():
        return f"a control character, or another that cannot be printed, is in the name {name!a}"
    return f"a name of {len(name)} characters; a tag holds at most {LONGEST_WORD}" if len(name) > LONGEST_WORD else ""


def source_name(text: str) -> str:
    """Return a stream's name as a tag has it: a file's name need not be UTF-8, and may be as long as it likes."""
    valid = text.encode(errors="replace").decode()
    return valid if len(valid) <= LONGEST_SOURCE else valid[: LONGEST_SOURCE - 1] + "…"


class AudioFormat(Struct, frozen=True, kw_only=True):
    """What the PCM is, and the SHA-256 of its little-endian bytes in hex."""

    rate_hz: Literal[16000] = 16000
    channels: Literal[1] = 1
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Hole(Struct, frozen=True, kw_only=True):
    """Sound that the machine was too slow to take: silence stands in its place, of its length."""

    start_sample: Count
    duration_s: Annotated[float, Meta(gt=0)]


class Tag(Struct, frozen=True, kw_only=True):
    """The tag of CONTRACT, field for field and in its order; ``waited_s`` is set at publishing only.

    ``holes`` is unset where there is none, ``confirmed`` where no second model heard the wake word.
    """

    schema: Literal[1] = 1
    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")]
    device: Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,64}\Z")]
    wake_word: Annotated[str, Meta(min_length=1, max_length=LONGEST_WORD)]
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
    holes: tuple[Hole, ...] | UnsetType = UNSET
    review: Review
    audio: AudioFormat
    waited_s: Annotated[float, Meta(ge=0)] | UnsetType | None = UNSET


@dataclass(frozen=True, slots=True)
class Request:
    """One captured request, before anybody gave it an id or a tag.

    Attributes:
        wake_word: the word heard.
        score: the score that fired, 0 to 1.
        wake_sample: stream position where the detection fired (the end of the frame that did).
        start_sample: stream position of the first sample kept.
        end_sample: stream position of the first sample not kept.
        speech_sample: stream position where speech began, between start and end.
        ended_by: what ended it.
        pcm: int16, shape (end_sample - start_sample,), 16 kHz mono.
        holes: what is missing of it and filled with silence, in its order.
        confirmed: a second model's probability that the wake word was said, 0 to 1; None: there is no such model.
    """

    wake_word: str
    score: float
    wake_sample: int
    start_sample: int
    end_sample: int
    speech_sample: int
    ended_by: EndedBy
    pcm: Samples
    holes: tuple[Hole, ...] = ()
    confirmed: float | None = None
