"""``web``: the privacy page."""

from __future__ import annotations

import importlib.util
import logging
import sys
from typing import TYPE_CHECKING

import click

from device import log, signals
from device.cli.asking import ask
from device.cli.common import common_options
from device.config import settings as configuration
from device.errors import RecorderError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from device.config.settings import Settings


@click.command("web")
@click.option(
    "--set-password", "sets", is_flag=True, help="Ask for a new password, and end; whoever is logged in is no more."
)
@common_options
def command(*, sets: bool, config: Path | None, log_format: str) -> None:
    """Serve the privacy page: the review switch, the microphone's, what waits, and what leaves this device.

    It never opens the microphone. It is served on this device only, unless [web] in the configuration says how it is
    closed to others, and to nobody before it has a password. Started by systemd's socket, it ends when nobody uses it.
    """
    settings = configuration.load(config)
    if missing := [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]:
        raise RecorderError(f"the privacy page needs the package {missing[0]}", hint="scripts/setup --extras web")
    if sets:
        _set_password(settings)
        return
    log.setup(log_format, settings.log.level)
    from device.build_web import page

    with page(settings) as served:
        signals.stop_in_order(served.stop)
        logging.getLogger("wakeword-recorder").info("the privacy page: %s", ", ".join(served.addresses))
        served.serve()


def _set_password(settings: Settings) -> None:
    from device.build_web import set_password
    from device.page.password import problem

    asked = sys.stdin is not None and sys.stdin.isatty()
    password = ask("Password for the privacy page", hide=asked, otherwise="write it to standard input")
    if wrong := problem(password):
        raise UsageError(f"this password is not taken: {wrong}")
    if asked and ask("Once more", hide=True) != password:
        raise UsageError("the two are not the same; nothing was changed")
    click.echo(f"The password is set, in {set_password(settings, password)}.")
