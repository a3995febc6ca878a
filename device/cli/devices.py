"""``devices``: the input devices by name."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from device.cli.common import common_options, remark
from device.config import settings as configuration
from device.errors import MicrophoneUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from device.edges.microphone import InputDevice


@click.command("devices")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
@common_options
def command(*, as_json: bool, config: Path | None, log_format: str) -> None:
    """List the input devices with their rates and channels; the configured one is marked with a star.

    Put a part of a device's name into [microphone] name. What stands in brackets tells apart devices of one name and
    may be put there instead: the port a device is plugged into, or, where that is not known, ALSA's address of it.
    """
    from device.edges.microphone import choose, devices

    wanted = configuration.load(config).microphone
    found = devices()
    chosen, warning = None, ""
    try:
        choice = choose(found, wanted.name, wanted.channel)
        chosen, warning = choice.device, choice.warning
    except MicrophoneUnavailableError as error:
        warning = str(error)
    for device in found:
        if as_json:
            click.echo(json.dumps({**asdict(device), "configured": device is chosen}))
        else:
            click.echo(("* " if device is chosen else "  ") + _line(device, found))
    if not found:
        warning = "no input device; is the microphone plugged in, and are you in the group audio?"
    if warning:
        remark(warning, log_format, level="warning")


def _line(device: InputDevice, found: list[InputDevice]) -> str:
    from device.edges.microphone import distinct_name

    where = device.port
    if distinct_name(device, found) == device.address:
        where = device.address
    rates = ", ".join(str(rate) for rate in device.rates_hz)
    notes = [
        "system default" * device.is_default,
        "of the sound server" * device.is_source,
        f"now {device.source}" * (bool(device.source) and not device.is_tied),
        "what a loudspeaker plays, no microphone" * device.is_monitor,
        "its channels are mixed by the sound server" * device.is_mixed,
    ]
    said = "; ".join(note for note in notes if note)
    return (
        f"{device.label}{f' [{where}]' * bool(where)}: {device.max_channels} channel{'s' * (device.max_channels > 1)}; "
        f"{f'{rates} Hz' if rates else 'in use, or no usable rate'}{f' ({said})' * bool(said)}"
    )
