"""Where a sound card is plugged in: a name that lasts, unlike its number, and that tells two identical cards apart."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

SYSFS = Path("/sys")


def port_of(card: int) -> str:
    """Return a card's port as the kernel writes it in ``/proc/asound/cards``, such as ``usb-0000:01:00.0-1.3``.

    Args:
        card: ALSA's number, which depends on the order in which cards were plugged in.

    Returns:
        ``usb-``, the controller, and the ports from its socket to the last hub's; for another card the name of its
        device, such as ``soc:sound``; empty if sysfs does not know.
    """
    try:
        device = (SYSFS / "class" / "sound" / f"card{card}" / "device").resolve(strict=True)
    except OSError:
        return ""
    controller = ports = ""
    for above, part in pairwise(device.parts):
        if re.fullmatch(r"usb\d+", part):
            controller = above
        elif found := re.fullmatch(r"\d+-(\d+(?:\.\d+)*)", part):
            ports = found[1]
    return f"usb-{controller}-{ports}" if controller and ports else device.name
