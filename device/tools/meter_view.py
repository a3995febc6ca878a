"""A meter's readings as text: for a terminal of any size, and as lines that go on without one."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from device.hearing.confirm import Unconfirmed
from device.tools.meter import ATTEMPT_SCORE, DARKEST_DBFS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device.tools.meter import Reading

LEGEND = (
    "In the level's bar | marks the room's noise floor, in a word's its threshold; peak is the highest score when the "
    "word was last said."
)


def bar(value: float, width: int, *marks: float) -> str:
    """Draw a value from 0 to 1 as a bar of ASCII, with marks at other values.

    Args:
        value: what is filled.
        width: of the bar in characters.
        marks: where a ``|`` stands, each 0 to 1.
    """
    cells = ["#" if position < round(value * width) else "." for position in range(width)]
    for mark in marks:
        cells[min(int(mark * width), width - 1)] = "|"
    return "".join(cells)


def screen(
    reading: Reading, thresholds: tuple[float, ...], heard: Sequence[str], keys: str, columns: int, rows: int
) -> list[str]:
    """Draw a whole screen: the reading, what was heard, and what it all means.

    Args:
        reading: what to draw.
        thresholds: each word's, marked in its bar.
        heard: a text for each detection so far.
        keys: what ends it, and what keys do.
        columns: the terminal's width.
        rows: its height.

    Returns:
        At most ``rows`` lines, each narrower than the terminal.
    """
    measured = lines(reading, thresholds, columns)
    meant = [line for text in (LEGEND, keys) for line in textwrap.wrap(text, max(columns - 1, 1))]
    room = rows - len(measured) - len(meant) - 2
    if room < 0:  # what is measured matters most
        meant, room = [], max(rows - len(measured), 0)
    said = [row for line in heard for row in textwrap.wrap(line, max(columns - 1, 1))][-room:] if room else []
    drawn = [*measured, "", *said, "", *meant] if meant else [*measured, *said]
    return [line[: columns - 1] for line in drawn[:rows]]


def lines(reading: Reading, thresholds: tuple[float, ...], columns: int) -> list[str]:
    """Draw a reading, a line each for the level and every word, none wider than the terminal.

    Args:
        reading: what to draw.
        thresholds: each word's, marked in its bar.
        columns: the terminal's width.
    """
    width = max(min(columns - 62, 50), 8)
    level = f"{'level':12} {bar(filled(reading.level_dbfs), width, filled(reading.floor_dbfs))}"
    speech, gate = "speech" if reading.speech else "quiet ", "open  " if reading.open else "closed"
    drawn = [
        *wrapped(columns, f"{level} {reading.level_dbfs:4.0f} dBFS", f"floor {reading.floor_dbfs:4.0f}"),
        *wrapped(columns, f"{'':12} {reading.position_s:7.1f} s", speech, f"gate {gate}", f"cpu {reading.cpu:4.0%}"),
    ]
    for (word, score), threshold in zip(reading.scores.items(), thresholds, strict=True):
        head = f"{word[:12]:12} {bar(score, width, threshold)} {score:4.2f}"
        peak, at_s = reading.peaks[word]
        when = f" at {at_s:.1f} s" if peak >= ATTEMPT_SCORE else ""
        drawn += wrapped(columns, head, f"peak {peak:4.2f}{when}", f"threshold {threshold:.2f}")
    if reading.remark:
        drawn += textwrap.wrap(f"! {reading.remark}", max(columns - 1, 1))
    return drawn


def heard_line(reading: Reading) -> str:
    """Say of a reading with a detection what was heard."""
    return f"{reading.position_s:7.1f} s  {_heard(reading)}"


def _heard(reading: Reading) -> str:
    """Say what was heard, and how sure a second model is of it; empty if there was nothing."""
    found = reading.detection
    if found is None:
        return ""
    if isinstance(found, Unconfirmed):
        return f"not confirmed: {found.word} ({found.score:.2f}, by the second model {found.confirmed:.2f})"
    second = "" if found.confirmed is None else f", confirmed {found.confirmed:.2f}"
    return f"heard {found.word} ({found.score:.2f}{second})"


def plain(reading: Reading) -> str:
    """Say a reading in one line."""
    words = ", ".join(
        f"{word} {score:.2f} (peak {reading.peaks[word][0]:.2f})" for word, score in reading.scores.items()
    )
    state = f"{'speech' if reading.speech else 'quiet '}  gate {'open  ' if reading.open else 'closed'}"
    heard = f"  {_heard(reading)}" if reading.detection else ""
    level = f"{reading.level_dbfs:4.0f} dBFS  floor {reading.floor_dbfs:4.0f}"
    remark = f"  ! {reading.remark}" if reading.remark else ""
    return f"{reading.position_s:7.1f} s  {level}  {state}  {words}  cpu {reading.cpu:.0%}{heard}{remark}"


def wrapped(columns: int, *parts: str) -> list[str]:
    """Put parts in as few lines as a terminal is wide; only a part that alone is wider than it is cut."""
    rows = [parts[0]]
    for part in parts[1:]:
        if len(rows[-1]) + len(part) + 2 < columns:
            rows[-1] += f"  {part}"
        else:
            rows.append(f"  {part}")
    return [row[: columns - 1] for row in rows]


def filled(dbfs: float) -> float:
    """Return how far a level fills its bar, 0 to 1."""
    return min(max((dbfs - DARKEST_DBFS) / -DARKEST_DBFS, 0.0), 1.0)
