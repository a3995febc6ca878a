"""How soon the next try of a password counts: a few at once, then each after twice the time of the one before."""

from __future__ import annotations

import ipaddress

FREE = 5
FIRST_S = 10.0
LONGEST_S = 300.0
_MOST_ADDRESSES = 1_000


class Throttle:
    """Counts tries by the address they come from; a /64 of IPv6 is one, since one machine has all of it."""

    def __init__(self) -> None:
        self._tries: dict[str, tuple[int, float]] = {}  # how many, and when the last was

    def wait_s(self, address: str, now_s: float) -> float:
        """Return how long an address has to wait; if it has not, this is a try of it.

        A try counts before it is known whether the password is right, so that many at once gain nothing.

        Args:
            address: where it comes from.
            now_s: a clock that nobody sets.
        """
        whose = _network(address)
        tries, last_s = self._tries.get(whose, (0, now_s))
        since_s = now_s - last_s
        if since_s >= 2 * LONGEST_S:
            tries = 0
        wait_s = min(FIRST_S * 2.0 ** min(tries - FREE, 9), LONGEST_S) if tries >= FREE else 0.0
        if since_s < wait_s:
            return wait_s - since_s
        self._tries.pop(whose, None)
        self._tries[whose] = (tries + 1, now_s)  # the one that tried last stands last
        if len(self._tries) > _MOST_ADDRESSES:
            del self._tries[next(iter(self._tries))]
        return 0.0

    def forget(self, address: str) -> None:
        """Take note that an address knew the password."""
        self._tries.pop(_network(address), None)


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
