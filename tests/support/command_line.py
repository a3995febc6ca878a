"""What the command lines of the scripts share: whatever is wrong with one is one line and status 2."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, NoReturn

from device.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


class Parser(argparse.ArgumentParser):
    """Parses the arguments of ``scripts/{prog}`` and complains as the program's own commands do."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line and exit with status 2."""
        self.exit(2, f"error: {message}; see scripts/{self.prog} --help\n")


def whole_number(text: str) -> int:
    """Return the number that an argument names, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a whole number")
    return int(text)


def positive_number(text: str) -> int:
    """Return the whole number above 0 that an argument names."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def make_writable(folder: Path, option: str) -> None:
    """Make the folder that an option names, if it is not there.

    Raises:
        UsageError: it is none, cannot be made, or nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK | os.X_OK) else "nothing can be written there"
    except OSError as error:
        reason = "it is no folder" if folder.exists() else str(error.strerror).lower()
    if reason:
        raise UsageError(f"{option} {folder}: {reason}", hint="name a folder that you can write to")
