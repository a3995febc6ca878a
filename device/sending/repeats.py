"""Says a repeated problem once, then now and then, with how often it happened meanwhile."""

from __future__ import annotations

from collections import OrderedDict

INTERVAL_S = 600.0
_KEPT = 64  # problems remembered; with more at once, one is said again earlier


class Repeats:
    """Decides whether a problem is worth saying again. Time is passed in."""

    def __init__(self) -> None:
        self._said: OrderedDict[tuple[str, ...], tuple[float, int]] = OrderedDict()

    def count(self, key: tuple[str, ...], now: float) -> int:
        """Note that a problem happened.

        Args:
            key: what makes it the same problem.
            now: seconds of a monotonic clock.

        Returns:
            How often it happened since it was said last, this time included; 0: do not say it again yet.
        """
        said_at, unsaid = self._said.get(key, (-INTERVAL_S, 0))
        if now - said_at < INTERVAL_S:
            self._said[key] = (said_at, unsaid + 1)
            return 0
        self._said[key] = (now, 0)
        self._said.move_to_end(key)
        if len(self._said) > _KEPT:
            self._said.popitem(last=False)
        return unsaid + 1

    def over(self, name: str) -> None:
        """Forget the problems whose key begins with ``name``: the next one is news."""
        for key in [key for key in self._said if key[0] == name]:
            del self._said[key]
