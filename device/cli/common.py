"""What every command shares: its options, its settings, and how an error becomes one line and an exit status."""

from __future__ import annotations

import functools
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from device import config
from device.errors import ConfigurationError, RecorderError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.config import Settings
    from device.edges.store import Store


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--config`` and ``--log-format`` to a command, and turn errors into one line and their exit status."""

    @functools.wraps(function)
    def wrapper(*args: Any, config: Path | None, log_format: str, **kwargs: Any) -> Any:
        try:
            return function(*args, config=config, log_format=log_format, **kwargs)
        except RecorderError as error:
            report(error, log_format)
            sys.exit(error.exit_status)
        except BrokenPipeError:
            # Whoever read our output went away; Python would complain once more when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)

    log_option = click.option(
        "--log-format", type=click.Choice(["text", "json"]), default="text", help="How standard error is written."
    )
    config_option = click.option(
        "--config",
        type=click.Path(path_type=Path),
        help=f"Configuration file; else {config.SYSTEM_PATH}, else the user's, else the defaults.",
    )
    return config_option(log_option(wrapper))


def report(error: RecorderError, log_format: str) -> None:
    """Say an error on standard error, every problem of it in a line of its own."""
    lines = error.problems if isinstance(error, ConfigurationError) else (str(error),)
    for line in lines:
        if log_format == "json":
            fields = {"level": "error", "event": "error", "status": error.exit_status, "message": line}
            click.echo(json.dumps(fields), err=True)
        else:
            click.echo(f"error: {' '.join(line.split())}", err=True)


def refuse_unless(fits: bool, given: object, option: str, action: str) -> None:
    """Refuse an option that was given to an action it does not belong to.

    Raises:
        UsageError: it was.
    """
    if given and not fits:
        raise UsageError(f"{option} only goes with {action}")


def open_store(settings: Settings) -> Store:
    """Open the database for a command; one run as root acts as the state folder's owner from here on."""
    from device import build  # late: most of what it builds with is not for every command

    return build.open_store_as_owner(settings)
