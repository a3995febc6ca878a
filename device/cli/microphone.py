"""``microphone``: shows, mutes or unmutes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from device.cli.announce import Announcer, microphone_state
from device.cli.common import common_options, open_store, refuse_unless, warn_of_kept, warn_of_state
from device.cli.tighten import tighten
from device.config import settings as configuration

if TYPE_CHECKING:
    from pathlib import Path

    from device.cli.announce import RetainedState
    from device.edges.store import Mute, Store


@click.command("microphone")
@click.argument("action", type=click.Choice(["status", "mute", "unmute"]))
@click.option("--json", "as_json", is_flag=True, help="status: print JSON.")
@common_options
def command(action: str, *, as_json: bool, config: Path | None, log_format: str) -> int:
    """Show, mute or unmute the microphone. Muted, it is closed, over restarts too, until it is unmuted here."""
    refuse_unless(action == "status", as_json, "--json", "status")
    if action == "mute":
        return tighten(config, log_format, lambda store: _set(store, muted=True))
    settings = configuration.load(config)
    broker = None if action == "status" else Announcer(settings)
    with open_store(settings) as store:
        warn_of_state(settings, log_format)
        if broker is None:
            mute = store.muted()
            click.echo(json.dumps({"muted": mute.muted, "since": mute.since}) if as_json else _described(mute))
            return 0
        state = _set(store, muted=False)
        warn_of_kept(store, settings, "microphone/set", log_format)
    broker.show(state, log_format)
    return 0


def _set(store: Store, *, muted: bool) -> RetainedState:
    store.set_muted(muted)
    mute = store.muted()
    click.echo(_described(mute))
    return microphone_state(mute)


def _described(mute: Mute) -> str:
    return f"{'muted' if mute.muted else 'not muted'} since {mute.since}"
