"""How large a request is as a message, against the largest that a broker takes; and what makes it smaller."""

from __future__ import annotations

import math

from device.hearing.frames import RATE_HZ

_BYTES_PER_S = 2 * RATE_HZ
_AROUND_BYTES = 2_048  # the file's header, the tag, the topic and the properties: 1.4 kB, more with a long prefix
_FLAC_SHARE = 0.65  # of the same sound as WAV: 0.3 to 0.55 in tests' recordings of speech, 0.65 in loud pink noise


def largest_bytes(max_s: float, *, flac: bool) -> int:
    """Return how many bytes the longest request takes: as WAV exactly enough, as FLAC by experience."""
    return round(max_s * _BYTES_PER_S * (_FLAC_SHARE if flac else 1)) + _AROUND_BYTES


def longest_s(limit_bytes: int, *, flac: bool) -> float:
    """Return how long a request may be to fit into so many bytes; not above 0 if none does."""
    return (limit_bytes - _AROUND_BYTES) / (_BYTES_PER_S * (_FLAC_SHARE if flac else 1))


def remedy(limit_bytes: int, *, flac: bool) -> str:
    """Say which settings let requests fit into a broker's maximum; ``flac`` is what they are now."""
    whole_s = math.floor(longest_s(limit_bytes, flac=False))
    if whole_s < 1:
        return "not even a request of one second fits: the broker's maximum has to grow"
    shorter = f"with [capture] max_s = {whole_s} all fit"
    return shorter if flac else f'[mqtt] format = "flac" takes about half of it, {shorter}'
