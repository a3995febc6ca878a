"""What the command lines of the scripts share: click parses them, and whatever is wrong is one line and status 2."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click

from device.cli.common import report
from device.errors import RecorderError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = click.IntRange(min=1)
SEED = click.IntRange(min=0)
FILE = click.Path(path_type=Path)


def script(
    name: str, about: str, *parameters: click.Parameter
) -> Callable[[Callable[[Any], int]], Callable[[list[str] | None], int]]:
    """Make the main function of ``scripts/{name}``, which takes a command line, of one that takes its options.

    Args:
        name: the script's.
        about: what it does.
        parameters: what it takes.
    """

    def of(function: Callable[[Any], int]) -> Callable[[list[str] | None], int]:
        command = click.Command(
            name, params=[*parameters], callback=lambda **values: function(SimpleNamespace(**values)), help=about
        )

        def main(arguments: list[str] | None = None) -> int:
            try:
                return command.main(arguments, prog_name=f"scripts/{name}", standalone_mode=False)
            except click.UsageError as wrong:
                error: RecorderError = UsageError(wrong.format_message().rstrip("."), hint=f"see scripts/{name} --help")
            except RecorderError as failed:
                error = failed
            report(error, "text")
            return error.exit_status

        return main

    return of


def option(*names: str, **facts: Any) -> click.Option:
    """Return an option whose default its help shows."""
    return click.Option(names, show_default=True, **facts)


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
