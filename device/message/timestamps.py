"""A moment as several clocks show it, and how much time passed at least between two of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

NS_PER_S = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_US = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_LAST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Now:
    """One moment.

    Attributes:
        wall_ns: UTC in nanoseconds since 1970, as the machine believes it to be.
        boot_ns: nanoseconds since the machine started, sleep included; nobody can set it.
        boot_id: which start of the machine ``boot_ns`` counts from.
        synced: is the wall clock set by a time server?
    """

    wall_ns: int
    boot_ns: int
    boot_id: str
    synced: bool


class Clock(Protocol):
    """A source of the time; tests pass one that jumps."""

    def now(self) -> Now:
        """Return this moment."""


def elapsed_ns(earlier: Now, now: Now) -> int:
    """Return the nanoseconds that certainly passed from ``earlier`` to ``now``, never negative.

    Exact within one boot. Over a reboot the wall clocks count only if both were set by a time server; else all that
    is certain is the time since this boot.
    """
    if earlier.boot_id == now.boot_id:
        return max(now.boot_ns - earlier.boot_ns, 0)
    if earlier.synced and now.synced:
        return max(now.wall_ns - earlier.wall_ns, 0)
    return now.boot_ns


def rfc3339(wall_ns: int) -> str:
    """Return UTC nanoseconds since 1970 as ``2026-11-22T20:43:21.652Z``; a clock gone mad gives the nearest year."""
    moment = _EPOCH + timedelta(microseconds=min(max(wall_ns // 1000, _FIRST_US), _LAST_US))
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
