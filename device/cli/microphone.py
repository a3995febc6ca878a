"""``microphone``: shows, mutes or unmutes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from device import config as configuration
from device.cli.common import common_options, open_store, refuse_unless

if TYPE_CHECKING:
    from pathlib import Path


@click.command("microphone")
@click.argument("action", type=click.Choice(["status", "mute", "unmute"]))
@click.option("--json", "as_json", is_flag=True, help="status: print JSON.")
@common_options
def command(action: str, *, as_json: bool, config: Path | None, log_format: str) -> None:  # noqa: ARG001
    """Show, mute or unmute the microphone. Muted, it is closed, over restarts too, until it is unmuted here."""
    refuse_unless(action == "status", as_json, "--json", "status")
    settings = configuration.load(config)
    with open_store(settings) as store:
        if action != "status":
            store.set_muted(action == "mute")
        mute = store.muted()
    if as_json:
        click.echo(json.dumps({"muted": mute.muted, "since": mute.since}))
    else:
        click.echo(f"{'muted' if mute.muted else 'not muted'}{f' since {mute.since}' if mute.since else ''}")
