"""``answer``: has requests answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from device import log, signals
from device.cli.common import common_options
from device.config import settings as configuration

if TYPE_CHECKING:
    from pathlib import Path


@click.command("answer")
@common_options
def command(config: Path | None, log_format: str) -> None:
    """Have each request answered by Home Assistant or a speech-to-text, and publish the answer.

    Who answers is said by [answer] in the configuration. A request that is too old, or was answered before, is not
    asked again. Answered are opted-out requests, too: nothing of them is kept or logged.
    """
    settings = configuration.load(config)
    log.setup(log_format, settings.log.level)
    from device.build_answer import answering

    with answering(settings) as answerer:
        signals.stop_in_order(answerer.stop)
        answerer.run()
