"""``listen``: a push button's command."""

from __future__ import annotations

from pathlib import Path

import click

from device.cli.common import common_options
from device.config import settings as configuration


@click.command("listen")
@common_options
def command(config: Path | None, log_format: str) -> int:  # noqa: ARG001
    """Have the running daemon listen to a request now, as if its wake word had been said.

    The request's wake word is then "button", and nothing of before this moment is in it. Where the microphone is muted
    nothing is listened to, and the status is 69.
    """
    settings = configuration.load(config)
    from device.edges.control import listen

    listen(Path(settings.device.state_dir))
    click.echo("listening")
    return 0
