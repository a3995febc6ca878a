"""Tags for PCM that a test has: one that is plain, and any that the schema allows."""

from __future__ import annotations

import hashlib
from typing import Any

from hypothesis import strategies as st
from msgspec import UNSET

from device.hearing.frames import RATE_HZ
from device.hearing.request import SilencedHole
from device.message.review import Review, spelled_out
from device.message.tag import AudioFormat, Tag

VERSION = "1.2.3"
REQUEST_ID = "0193a5c4-1111-7abc-8def-0123456789ab"


def tag_of(pcm: bytes, **changes: Any) -> Tag:
    """Return the tag of a request with this PCM, some of its fields changed."""
    samples = len(pcm) // 2
    plain = {
        "id": REQUEST_ID,
        "device": "kitchen",
        "wake_word": "hey_jarvis",
        "score": 0.998,
        "captured_at": "2026-11-22T20:43:21.652Z",
        "clock_synced": True,
        "source": "mic:USB PnP Sound Device",
        "start_sample": 88_320,
        "end_sample": 88_320 + samples,
        "wake_sample": 84_480,
        "duration_s": samples / RATE_HZ,
        "ended_by": "silence",
        "review": Review(opt_out=True, choice="default", revision=0, changed_at=None),
        "audio": AudioFormat(sha256=hashlib.sha256(pcm).hexdigest()),
    }
    return Tag(**plain | changes)


pcms = st.binary(max_size=600).map(lambda data: data[: len(data) // 2 * 2])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=128)  # a lone surrogate is no text in JSON
counts = st.integers(0, 2**53)
reviews = st.builds(
    Review,
    opt_out=st.booleans(),
    choice=st.sampled_from(["user", "default", "unreadable"]),
    revision=counts,
    changed_at=st.none() | texts,
    wording=st.just(UNSET) | counts,
)

holes = st.builds(SilencedHole, start_sample=counts, duration_s=st.floats(0, 1, exclude_min=True))


@st.composite
def tagged(draw: st.DrawFn, min_samples: int = 0) -> tuple[Tag, bytes]:
    """Draw any PCM with any tag that the schema allows for it."""
    pcm = bytes(2 * min_samples) + draw(pcms)
    start = draw(counts)
    moment = draw(st.datetimes())
    fields = {
        "id": draw(st.from_regex(r"\A[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")),
        "device": draw(st.from_regex(r"\A[a-z0-9_-]{1,64}\Z")),
        "wake_word": draw(texts.filter(bool)),
        "score": draw(st.floats(0, 1)),
        "captured_at": moment.isoformat(timespec="milliseconds") + "Z",
        "clock_synced": draw(st.booleans()),
        "source": draw(texts),
        "start_sample": start,
        "end_sample": start + len(pcm) // 2,
        "wake_sample": draw(counts),
        "ended_by": draw(st.sampled_from(["silence", "max", "end-of-input", "shutdown", "gap"])),
        "review": draw(reviews),
        "holes": tuple(draw(st.lists(holes, max_size=3))) or UNSET,
    }
    if draw(st.booleans()):  # as it is published
        fields["waited_s"] = draw(st.none() | st.floats(0, 1e9))
        fields["review"] = spelled_out(fields["review"], wording=fields["review"].wording)
    return tag_of(pcm, **fields), pcm
