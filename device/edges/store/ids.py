"""UUID version 7 (RFC 9562): ids that sort by the time they were made in."""

from __future__ import annotations

import secrets
import uuid

_RANDOM_BITS = 74  # what version, variant and the 48 bits of milliseconds leave of 128


class Uuid7:
    """Makes ids that only ever rise within one process, whatever the wall clock does."""

    def __init__(self) -> None:
        self._last = 0  # milliseconds and random bits as one number

    def make(self, wall_ns: int) -> str:
        """Return an id of this wall time, or of just after the last id if the clock went back."""
        fresh = (max(wall_ns, 0) // 1_000_000 & (1 << 48) - 1) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
        self._last = fresh if fresh > self._last else self._last + 1 + secrets.randbits(32)
        ms, rest = self._last >> _RANDOM_BITS, self._last & (1 << _RANDOM_BITS) - 1
        high, low = rest >> 62, rest & (1 << 62) - 1
        return str(uuid.UUID(int=ms << 80 | 7 << 76 | high << 64 | 2 << 62 | low))
