"""``check``: tries everything that `run` needs and prints a table."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from device.cli.common import common_options
from device.config import settings as configuration

if TYPE_CHECKING:
    from pathlib import Path


@click.command("check")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
@common_options
def command(*, as_json: bool, config: Path | None, log_format: str) -> int:  # noqa: ARG001
    """Check configuration, state folder, models, microphone, broker, clock and review choice.

    Opens the microphone for a second and publishes one event. The status is 0 only if all of it works.
    """
    settings = configuration.load(config)
    from device.tools import checks

    failed = 0
    for row in checks.run(settings):
        if as_json:
            click.echo(json.dumps(asdict(row)))
        else:
            click.echo(f"{'ok    ' if row.ok else 'FAILED'}  {row.name:13}  {row.found}")
        if not row.ok and not failed:
            failed = row.status
    return failed
