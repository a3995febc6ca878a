"""Which microphone a person is offered, and which of its channels: names and levels, as lines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from device.hearing.sound import SILENT_DBFS
from device.tools.meter_view import bar, filled

if TYPE_CHECKING:
    from collections.abc import Sequence

QUIETER_DB = 12.0  # than the loudest by so much: the first channel is hardly the one with a microphone on it


def channel_of(levels: Sequence[float]) -> int:
    """Return the channel to record, from 1: the first, unless another one is far louder.

    Args:
        levels: of each channel in dBFS; empty: nobody knows.
    """
    if not levels:
        return 1
    loudest = max(range(len(levels)), key=lambda number: levels[number])
    first = max(levels[0], SILENT_DBFS)
    return loudest + 1 if levels[loudest] - first > QUIETER_DB else 1


def line(number: int, name: str, levels: Sequence[float], problem: str, columns: int) -> str:
    """Draw one microphone with its live level.

    Args:
        number: what to type for it.
        name: its name.
        levels: of its channels, in dBFS; empty: none yet.
        problem: why it cannot be heard; empty if it can.
        columns: the terminal's width.
    """
    width = max(min(columns - 50, 30), 8)
    level = max(levels, default=-math.inf)
    head = f"{number:3}  {name[:28]:28} "
    if problem:
        return f"{head}{problem}"[: columns - 1]
    shown = f"{level:4.0f} dBFS" if level >= SILENT_DBFS else "silence" if levels else "…"
    channel = f"  channel {channel_of(levels)} of {len(levels)}" if len(levels) > 1 else ""
    return f"{head}{bar(filled(level), width)} {shown}{channel}"[: columns - 1]
