"""Programs run as processes of their own, with what the system counts of them: processor time, peak memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from support.daemon import Device

if TYPE_CHECKING:
    from collections.abc import Sequence

TESTS = Path(__file__).parents[1]
LAUNCH = Path(__file__).with_name("launch.py")
LONGEST_S = 3_600


class Use(msgspec.Struct, frozen=True):
    """What a process used.

    Attributes:
        began: the system's monotonic clock when it was started, in seconds.
        cpu_s: processor time, its own and the system's for it, of all threads.
        peak_mb: the most memory that was resident at once, in 10^6 bytes.
        switches: how often it gave the processor up, which is how often it was woken.
        elapsed_s: from start to end.
    """

    began: float
    cpu_s: float
    peak_mb: float
    switches: int
    elapsed_s: float


class MeasuredDevice(Device):
    """A device whose commands leave a report of what they used."""

    def command(self, *arguments: object) -> list[str]:
        """Return the command line for a command of this device, started by the launcher."""
        return launched(self.folder / "use.json", super().command(*arguments))

    def use(self) -> Use:
        """Return what the last command used; it must have ended."""
        return read_use(self.folder / "use.json")


def launched(report: Path, command: Sequence[str]) -> list[str]:
    """Return a command line that runs ``command`` and writes its `Use` to ``report``; killed, both end."""
    return [sys.executable, "-I", "-S", str(LAUNCH), str(report), "setpriv", "--pdeathsig=KILL", "--", *command]


def read_use(report: Path) -> Use:
    """Return what was written to ``report``."""
    return msgspec.json.decode(report.read_bytes(), type=Use)


def run_module(module: str, *arguments: object, folder: Path) -> tuple[Use, Any]:
    """Run a module of the benchmark in a process of its own; return what it used and the JSON it printed.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    report = folder / "use.json"
    command = launched(report, [sys.executable, "-m", module, *map(str, arguments)])
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, timeout=LONGEST_S, check=True)
    return read_use(report), json.loads(done.stdout)
