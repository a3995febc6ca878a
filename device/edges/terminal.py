"""The terminal as a screen that is drawn over and over, with keys that need no Enter; left as it was found."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import tty
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

BEGIN = "\033[?1049h\033[?25l"  # another screen than the shell's, without a cursor
END = "\033[?25h\033[?1049l"
USUAL_SIZE = (80, 24)


def is_one() -> bool:
    """Whether standard output is a terminal that can be drawn on."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Screen:
    """Standard output, from the block's beginning to its end.

    Attributes:
        has_keys: whether standard input is a terminal, too.
    """

    def __init__(self) -> None:
        self.has_keys = sys.stdin is not None and sys.stdin.isatty()
        self._size = (0, 0)
        self._before: list[Any] | None = None  # how it was set

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(sys.stdin) if self.has_keys else None
        if self.has_keys:
            tty.setcbreak(sys.stdin)
        sys.stdout.write(BEGIN)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)
        sys.stdout.write(END)
        sys.stdout.flush()

    def size(self) -> tuple[int, int]:
        """Return the columns and rows that the terminal has now."""
        with contextlib.suppress(OSError):
            columns, rows = os.get_terminal_size(sys.stdout.fileno())
            if columns and rows:
                return columns, rows
        return USUAL_SIZE

    def draw(self, lines: Sequence[str]) -> None:
        """Put lines, none wider than the terminal, in place of what it shows."""
        size = self.size()
        # Another size may have moved what was drawn before to anywhere.
        clear = "" if size == self._size else "\033[2J"
        self._size = size
        drawn = "\n".join(f"{line}\033[K" for line in lines)
        sys.stdout.write(f"{clear}\033[H{drawn}\033[J")
        sys.stdout.flush()

    def keys(self) -> str:
        """Return what was typed since the last time, without waiting."""
        if not self.has_keys or not select.select([sys.stdin], [], [], 0)[0]:
            return ""
        return os.read(sys.stdin.fileno(), 1024).decode(errors="replace")
