"""``run``: the daemon, on the microphone or on recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from device import log
from device.cli.common import SECONDS, common_options, report
from device.config import settings as configuration
from device.errors import RecordingError

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command("run")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="WAV",
    type=click.Path(path_type=Path),
    help="Hear this recording instead of the microphone; may be repeated, each a stream of its own.",
)
@click.option(
    "--pace",
    type=click.Choice(["realtime", "fast"]),
    default="realtime",
    show_default=True,
    help="The recordings' pace: a microphone's, or as fast as can be; the result is the same.",
)
@click.option(
    "--drain-timeout",
    "drain_timeout_s",
    metavar="S",
    type=SECONDS,
    default=30.0,
    show_default=True,
    help="After the last recording, wait this many seconds for the broker; what waits then is kept (status 69).",
)
@common_options
def command(inputs: tuple[Path, ...], pace: str, drain_timeout_s: float, config: Path | None, log_format: str) -> int:
    """Listen for the wake word, record what is said next, tag it, publish it.

    Runs until it is stopped; with --input until all recordings are read and sent.
    """
    settings = configuration.load(config)
    log.setup(log_format, settings.log.level)
    unreadable = list(_unreadable(inputs, settings.microphone.channel))
    for error in unreadable:
        report(error, log_format)
    if unreadable:
        return RecordingError.exit_status
    from device.daemon.app import App

    return App(settings).run(inputs, realtime=pace == "realtime", drain_timeout_s=drain_timeout_s)


def _unreadable(inputs: tuple[Path, ...], channel: int) -> Iterator[RecordingError]:
    """Look at all recordings before the first is heard: the last one's turn may come in an hour."""
    for path in inputs:
        from device.edges.wav import AudioFile

        try:
            AudioFile(path, channel).look()
        except RecordingError as error:
            yield error
