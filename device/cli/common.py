"""What every command shares: its options, its settings, and what it says beside its result, errors above all."""

from __future__ import annotations

import functools
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from device import log, signals
from device.config import settings as config
from device.errors import ConfigurationError, MicrophoneUnavailableError, RecorderError, UsageError
from device.message import commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.config.settings import Settings
    from device.edges.store import Store


class Seconds(click.FloatRange):
    """A time of 0 or more seconds that ends: ``nan`` and ``inf`` would wait for ever."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number of seconds.

        Raises:
            click.BadParameter: it is negative, no number, or not finite.
        """
        seconds: float = super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"{value!r} is no number of seconds that ends; 0.5 or 30 would be.", param, ctx)
        return seconds


SECONDS = Seconds(min=0)


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--config`` and ``--log-format`` to a command, and turn errors into one line and their exit status."""

    @functools.wraps(function)
    def wrapper(*args: Any, config: Path | None, log_format: str, **kwargs: Any) -> Any:
        log.setup(log_format, "warning")  # what a library warns of is in the format asked for, too
        try:
            with signals.interruptible():
                return function(*args, config=config, log_format=log_format, **kwargs)
        except RecorderError as error:
            report(error, log_format)
            sys.exit(error.exit_status)
        except BrokenPipeError:
            forget_output()  # whoever read it went away
            sys.exit(1)
        except signals.Interrupted as interrupted:
            if log_format == "text" and sys.stderr.isatty():
                click.echo(err=True)  # the terminal has written ^C
            sys.exit(interrupted.exit_status)

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
            click.echo(log.json_line("error", line, {"event": "error", "status": error.exit_status}), err=True)
        else:
            click.echo(f"error: {' '.join(line.split())}", err=True)


def remark(message: str, log_format: str, *, level: str = "info") -> None:
    """Say on standard error, in one line, what is neither a command's result nor an error."""
    click.echo(log.json_line(level, message, {}) if log_format == "json" else message, err=True)


def sure(question: str, log_format: str) -> bool | None:
    """Ask, in a line of its own on standard error; None where nobody answered."""
    remark(f"{question} [y/N]", log_format)
    answer = sys.stdin.buffer.readline() if sys.stdin else b""
    return answer.strip().lower() in (b"y", b"yes") if answer else None


def warn(message: str, log_format: str) -> None:
    """Say on standard error, in one line, what is wrong without keeping the command from its work."""
    line = " ".join(message.split())
    remark(line if log_format == "json" else f"warning: {line}", log_format, level="warning")


def forget_output() -> None:
    """Write nothing more to standard output: Python would try again, and complain, when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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

    return build.open_store(settings)


def warn_of_state(settings: Settings, log_format: str) -> None:
    """Say what is wrong with the place of the state folder, where a choice or a mute may be lost or read by others."""
    from device import build
    from device.edges import state_disk

    for concern in state_disk.concerns(build.state_dir(settings)):
        warn(concern, log_format)


def warn_of_kept(store: Store, settings: Settings, level: str, log_format: str) -> None:
    """Say that the broker still keeps a command that asks for the contrary of what was just chosen."""
    mqtt = settings.mqtt
    address, topic = f"{mqtt.host}:{mqtt.broker_port}", f"{mqtt.topic_prefix}/{settings.device.id}/{level}"
    kept = store.retained_command(commands.place_of(address, topic))
    if kept is not None:
        word = kept.decode(errors="replace").strip()
        delete = commands.how_to_delete(address, topic)
        warn(f"a retained {word} stands on {topic}; it is not obeyed again; delete it: {delete}", log_format)


def refuse_muted(store: Store) -> None:
    """Refuse to listen where the user has muted the microphone; ask again while it is open.

    Raises:
        MicrophoneUnavailableError: it is muted.
    """
    if store.muted().muted:
        raise MicrophoneUnavailableError("the microphone is muted", hint="`wakeword-recorder microphone unmute`")
