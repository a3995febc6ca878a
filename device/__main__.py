"""The command ``wakeword-recorder``: finds the subcommand and imports no other."""

from __future__ import annotations

import signal

if __name__ == "__main__":
    # Until a command can end in order, Ctrl-C ends the program at once and without a traceback; bin/wakeword-recorder
    # has blocked it until here.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

import contextlib
import importlib
import itertools
import sys
from pathlib import Path
from typing import NoReturn

import click

from device import __version__
from device.errors import RecorderError, UsageError

COMMANDS = {
    "run": "Listen, record, tag and publish: the daemon.",
    "demo": "Show the whole way of a request on a bundled recording.",
    "configure": "Ask three questions and write the first configuration file.",
    "check": "Check configuration, models, microphone, broker, clock and review choice.",
    "devices": "List the input devices.",
    "meter": "Show level, noise floor, gate and wake scores, live.",
    "wake": "List, add or try wake words.",
    "explain": "Show what the recorder would do with a recording, and why.",
    "review": "Show or change the review choice.",
    "microphone": "Show, mute or unmute the microphone.",
    "listen": "Have the running daemon listen to a request now: a push button.",
    "outbox": "List, send or delete what waits for the broker.",
    "history": "List, forget or withdraw what was sent.",
    "receive": "Receive requests: a reference subscriber.",
    "discovery": "Remove this device from Home Assistant.",
    "web": "Serve the privacy page.",
    "answer": "Have requests answered by Home Assistant or a speech-to-text.",
}


class LazyGroup(click.Group):
    """Imports a command's module only when it is called, so that the daemon starts without what others need."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the commands' names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return one command; None if there is no such name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"device.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the table of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="wakeword-recorder")
def cli() -> None:
    """Hear a wake word, record what is said next, tag it with the review choice, publish it over MQTT.

    Opting out of review marks recordings; it does not stop recording.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a wrong usage is one line and status 2, like every other error.

    Args:
        arguments: what follows the program's name; None: those of this process.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        status = cli.main(arguments, prog_name="wakeword-recorder", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "wakeword-recorder"
        message = " ".join(error.format_message().split()).rstrip(".")
        _end(UsageError(message, hint=f"see '{where} --help'"), arguments)
    except click.ClickException as error:
        _end(RecorderError(error.format_message()), arguments)
    except OSError as error:
        if not _output_fails():
            raise
        problem = f"standard output cannot be written: {error.strerror}"
        _end(RecorderError(problem, hint="is the disk full? write to another place"), arguments)
    sys.exit(status if isinstance(status, int) else 0)


def _end(error: RecorderError, arguments: list[str]) -> NoReturn:
    """Say an error that no command could: the format is asked for by what could not be parsed."""
    from device.cli.common import report

    asked = "--log-format=json" in arguments or ("--log-format", "json") in itertools.pairwise(arguments)
    report(error, "json" if asked else "text")
    sys.exit(error.exit_status)


def _output_fails() -> bool:
    """Say whether it was standard output that failed, which then fails again at an empty line, and is given up."""
    from device.cli.common import forget_output

    try:
        click.echo()
    except OSError:
        forget_output()
        return True
    return False


if __name__ == "__main__":
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text("wakeword-record", encoding="ascii")  # for ps and top, which cut it so
    main()
