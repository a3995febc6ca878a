"""A list of microphones with their live levels, from which a person chooses one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from device.cli.asking import ask
from device.tools.microphone_choice import channel_of, line

if TYPE_CHECKING:
    from device.edges.microphone import Levels

REDRAW_S = 0.1
LISTEN_S = 1.0
PLAIN_COLUMNS = 80
QUESTION = "Which microphone? Say something into it, and see whose level moves."


def loudest_channel(levels: Levels, number: int) -> int:
    """Return the channel to record of a microphone that is heard, by its highest levels within a second."""
    if levels.devices[number].max_channels == 1:
        return 1
    levels.await_first(number)
    highest = levels.of(number)
    deadline = time.monotonic() + LISTEN_S
    while highest and time.monotonic() < deadline:
        time.sleep(REDRAW_S)  # until the next block
        highest = [max(pair) for pair in zip(highest, levels.of(number), strict=True)]
    return channel_of(highest)


def pick(levels: Levels) -> int | None:
    """Let a person choose while the levels move; return the number of the device, or None to look for others anew.

    Raises:
        UsageError: nobody answers any more.
    """
    from device.edges import terminal

    return _Picker(levels).run() if terminal.is_one() else _pick_plainly(levels)


def _lines(levels: Levels, columns: int) -> list[str]:
    rows = zip(levels.names, levels.problems, strict=True)
    return [line(n + 1, name, levels.of(n), problem, columns) for n, (name, problem) in enumerate(rows)]


class _Picker:
    """The list on a terminal that can be drawn on."""

    def __init__(self, levels: Levels) -> None:
        self._levels = levels
        self._typed = ""

    def run(self) -> int | None:
        from device.edges.terminal import Screen

        with Screen() as screen:
            while True:
                screen.draw(self._drawn(*screen.size()))
                for key in screen.keys():  # noqa: SIM118 - what was typed, no mapping
                    if key in "rR":
                        return None
                    if key in "\r\n" and (number := int(self._typed or 1)) in range(1, len(self._levels.devices) + 1):
                        return number - 1
                    self._type(key)
                time.sleep(REDRAW_S)

    def _drawn(self, columns: int, rows: int) -> list[str]:
        keys = f"Number, then Enter: {self._typed}_   Enter alone: 1   r: look again   Ctrl-C: end"
        listed = _lines(self._levels, columns)[: max(rows - 4, 0)]
        return [text[: columns - 1] for text in [QUESTION, "", *listed, "", keys]]

    def _type(self, key: str) -> None:
        if key in "\x7f\b":
            self._typed = self._typed[:-1]
        elif key.isdecimal() and key.isascii():
            self._typed = (self._typed + key)[-2:]
        elif key in "\r\n":
            self._typed = ""  # there is no such number


def _pick_plainly(levels: Levels) -> int | None:
    """The same where nothing can be drawn: the levels are those of one moment."""
    for number, problem in enumerate(levels.problems):
        if not problem:
            levels.await_first(number)
    click.echo("\n".join([QUESTION, *_lines(levels, PLAIN_COLUMNS)]))
    answer = ask("Number; or r to look again", "1")
    if answer.isdecimal() and 1 <= int(answer) <= len(levels.devices):
        return int(answer) - 1
    return None
