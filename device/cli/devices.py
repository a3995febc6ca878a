"""``devices``: the input devices by name."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from device import config as configuration
from device.cli.common import common_options, remark

if TYPE_CHECKING:
    from pathlib import Path

    from device.edges.microphone import InputDevice


@click.command("devices")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
@common_options
def command(*, as_json: bool, config: Path | None, log_format: str) -> None:
    """List the input devices with their rates and channels; the configured one is marked with a star."""
    from device.edges.microphone import devices

    name = configuration.load(config).microphone.name
    found = devices()
    chosen = _configured(found, name)
    for device in found:
        if as_json:
            click.echo(json.dumps({**asdict(device), "configured": device is chosen}))
            continue
        rates = (
            ", ".join(str(rate) for rate in device.rates_hz) + " Hz" if device.rates_hz else "in use, or no usable rate"
        )
        channels = f"{device.max_channels} channel{'s' * (device.max_channels > 1)}"
        mark = "*" if device is chosen else " "
        click.echo(f"{mark} {device.label}: {channels}; {rates}{' (system default)' * device.is_default}")
    if not found:
        problem = "no input device; is the microphone plugged in, and are you in the group audio?"
        remark(problem, log_format, level="warning")
    elif chosen is None:
        remark(f"none has {name!r} in its name ([microphone] name)", log_format, level="warning")


def _configured(found: list[InputDevice], name: str) -> InputDevice | None:
    """Return the device that `run` would open: an exact name first, then a part of one, else the system's default."""
    labels = [device.label.casefold() for device in found]
    matches = [index for index, label in enumerate(labels) if name.casefold() in label] if name else []
    matches.sort(key=lambda index: labels[index] != name.casefold())
    if not name:
        matches = [index for index, device in enumerate(found) if device.is_default]
    return found[matches[0]] if matches else None
