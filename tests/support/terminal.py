"""A terminal that a test holds the other side of."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.daemon import Device


class Terminal:
    """A command of a device on a terminal of its own, and what it writes there.

    Args:
        device: the device.
        arguments: the command and its arguments.
        env: the environment; None: the device's.
        columns: the terminal's width.
        rows: its height.
    """

    def __init__(
        self, device: Device, *arguments: object, env: dict[str, str] | None = None, columns: int = 80, rows: int = 24
    ) -> None:
        self._leader, follower = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(follower)
        self._follower = follower
        self.process = subprocess.Popen(
            device.command(*arguments), env=(env or device.env) | {"TERM": "xterm"}, stdin=follower, stdout=follower,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        self.seen = b""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._leader, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self._leader, keys)

    def screen_after(self, *, having: bytes = b"", screens: int = 1) -> str:
        """What is on the terminal once so many more screens were drawn and the last one holds something."""
        begun = self.seen.count(b"\033[H")
        while True:
            drawn = self.seen.split(b"\033[H")
            if len(drawn) - 2 >= begun + screens and having in drawn[-2]:
                return re.sub(rb"\033\[.", b"", drawn[-2]).decode()
            self.seen += os.read(self._leader, 65_536)

    def end(self) -> int:
        """Read the rest, see that the terminal is as it was before, and return the status."""
        while (readable := select.select([self._leader], [], [], 0.1)[0]) or self.process.poll() is None:
            self.seen += os.read(self._leader, 65_536) if readable else b""
        after = termios.tcgetattr(self._follower)
        os.close(self._leader)
        os.close(self._follower)
        assert self.process.stderr.read() == b""
        self.process.stderr.close()
        assert after == self.before
        assert self.seen.startswith(b"\033[?1049h\033[?25l")
        assert b"\033[?25h\033[?1049l" in self.seen
        return self.process.wait(10)
