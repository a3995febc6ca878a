"""How old a request is for certain: what was said a while ago is not acted on any more."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from device.message.timestamps import NS_PER_S, elapsed_ns

if TYPE_CHECKING:
    from device.message.tag import Tag
    from device.message.timestamps import Now


def age_s(tag: Tag, arrived: Now, now: Now) -> float | None:
    """Return the seconds that certainly passed since a request ended.

    Counted is the time on its device (``waited_s``) and here, by clocks that nobody sets. How long it lay on the broker
    only wall clocks can tell: they count where a time server set both, and only make it older.

    Args:
        tag: the request's.
        arrived: the moment it came here.
        now: this moment, of the same process.

    Returns:
        The age; None where the tag does not say how long it waited, as over a reboot of its device.
    """
    if not isinstance(tag.waited_s, float | int):
        return None
    age = tag.waited_s + elapsed_ns(arrived, now) / NS_PER_S
    if tag.clock_synced and now.synced:
        ended_s = datetime.fromisoformat(tag.captured_at).timestamp() + tag.duration_s
        age = max(age, now.wall_ns / NS_PER_S - ended_s)
    return age
