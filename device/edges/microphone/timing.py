"""How much sound is missing where something was too slow: PortAudio says that some is, and when each block began."""

from __future__ import annotations

from collections import deque
from statistics import median

HISTORY_BLOCKS = 25  # 2 s: many enough to even out how unsteady the times are, few enough for any clock's drift
LEAST_MISSING_S = 0.01  # where less is measured: something is missing, or it would not have been reported


class StreamClock:
    """Compares the time at which blocks begin with the samples delivered before them.

    What an overrun took is then known to a few milliseconds on hardware, to 40 ms behind PulseAudio, whose latency is
    an estimate. Where in its block it took it nobody knows: it is taken for the beginning.

    Args:
        rate_hz: the stream's.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._position_s = 0.0  # what was delivered and what was missing, both in seconds
        self._offsets_s: deque[float] = deque(maxlen=HISTORY_BLOCKS)

    def missing_s(self, began_s: float, frames: int, *, overflowed: bool) -> float:
        """Take the next block and say how many seconds of sound before it are missing.

        Args:
            began_s: when its first frame was captured, by a clock that nobody sets.
            frames: how many it has.
            overflowed: some before it are missing, says PortAudio.
        """
        offset_s = began_s - self._position_s
        missing_s = 0.0
        if overflowed and self._offsets_s:
            missing_s = max(offset_s - median(self._offsets_s), LEAST_MISSING_S)
            self._position_s += missing_s
        else:
            self._offsets_s.append(offset_s)
        self._position_s += frames / self._rate_hz
        return missing_s
