"""``discovery``: what Home Assistant was told of this device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from device.cli.common import common_options, warn
from device.config import settings as configuration
from device.errors import BrokerUnavailableError

if TYPE_CHECKING:
    from pathlib import Path


@click.command("discovery")
@click.argument("action", type=click.Choice(["remove"]))
@common_options
def command(action: str, config: Path | None, log_format: str) -> int:  # noqa: ARG001 - it has one so far
    """Remove this device from Home Assistant: what the broker keeps for it, with the state `health`.

    Set [homeassistant] discovery = false first, and restart the recorder: else it tells Home Assistant anew.
    """
    settings = configuration.load(config)
    from device import build
    from device.edges.mqtt import publish_once
    from device.message import discovery

    link = build.link_settings(settings, role="discovery")
    home = settings.homeassistant
    topic = discovery.topic(home.prefix, settings.mqtt.topic_prefix, settings.device.id)
    for each in (topic, f"{link.base_topic}/health"):
        if problem := publish_once(link, each, b"", retain=True):
            raise BrokerUnavailableError(f"{each} stays: {problem}", hint="may this login write there?")
        click.echo(f"removed {each}")
    if home.discovery:
        warn("[homeassistant] discovery = true: the recorder tells Home Assistant anew when it starts", log_format)
    return 0
