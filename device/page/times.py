"""Times as a person says them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from device.page.markup import Html, fill

if TYPE_CHECKING:
    from collections.abc import Callable


def spoken(timestamp: str, now: datetime) -> str:
    """Return a time as seen from now: ``today, 20:43``, ``yesterday, 20:43``, ``22 Nov, 20:43``, ``3 May 2025, 20:43``.

    Args:
        timestamp: RFC 3339; anything else is returned as it is.
        now: this moment, in the time zone to show.
    """
    try:
        moment = datetime.fromisoformat(timestamp).astimezone(now.tzinfo)
    except (ValueError, OverflowError):
        return timestamp
    clock = f"{moment:%H:%M}"
    if moment.date() == now.date():
        return f"today, {clock}"
    if moment.date() == now.date() - timedelta(days=1):
        return f"yesterday, {clock}"
    year = f" {moment.year}" if moment.year != now.year else ""
    return f"{moment.day} {moment:%b}{year}, {clock}"


def element(timestamp: str, now: datetime, change: Callable[[str], str] = str) -> Html:
    """Return the same as HTML that a program can read, too."""
    return fill('<time datetime="{exact}">{shown}</time>', exact=timestamp, shown=change(spoken(timestamp, now)))


def first_word(said: str) -> str:
    """Return a time as it stands at the beginning of a line."""
    return said[:1].upper() + said[1:]
