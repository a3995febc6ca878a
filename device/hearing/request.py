"""What hearing gives: a captured request, and the holes in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from device.hearing.frames import Samples

EndedBy = Literal["silence", "max", "end-of-input", "shutdown", "gap"]


class SilencedHole(Struct, frozen=True, kw_only=True):
    """Sound that the machine was too slow to take: silence stands in its place, of its length."""

    start_sample: Annotated[int, Meta(ge=0)]
    duration_s: Annotated[float, Meta(gt=0)]


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
        wake_pcm: int16, shape (n,), the last seconds up to the detection; empty where a button was pressed.
    """

    wake_word: str
    score: float
    wake_sample: int
    start_sample: int
    end_sample: int
    speech_sample: int
    ended_by: EndedBy
    pcm: Samples
    holes: tuple[SilencedHole, ...] = ()
    confirmed: float | None = None
    wake_pcm: Samples = field(default_factory=lambda: np.zeros(0, np.int16))
