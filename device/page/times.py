"""Times as a person says them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from device.page.markup import Html, fill

if TYPE_CHECKING:
    from collections.abc import Callable


def spoken(timestamp: str, now: datetime) -> str:
    """Return a time as seen from now: ``today, 20:43``, ``yesterday, 20:43``, ``22 Nov 2026, 20:43``.

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
    return f"{moment.day} {moment:%b} {moment.year}, {clock}"


def element(timestamp: str, now: datetime, change: Callable[[str], str] = str) -> Html:
    """Return the same as HTML that a program can read, too."""
    return fill('<time datetime="{exact}">{shown}</time>', exact=timestamp, shown=change(spoken(timestamp, now)))
