"""``explain``: what the recorder would do with a recording, and why."""

from __future__ import annotations

from pathlib import Path

import click

from device.cli.common import common_options, remark
from device.config import settings as configuration


@click.command("explain")
@click.argument("wav", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Draw it too: a .png, .svg or .pdf (needs `scripts/setup --extras plot`).",
)
@common_options
def command(wav: Path, *, as_json: bool, plot: Path | None, config: Path | None, log_format: str) -> None:
    """Show what the recorder would do with a recording and why: scores, gate, speech, cut points.

    Nothing is stored or sent.
    """
    settings = configuration.load(config)
    if plot is not None:
        from device.tools.plot import refuse_unless_drawable

        refuse_unless_drawable(plot)
    import msgspec
    import numpy as np

    from device.edges.wav import AudioFile
    from device.tools.explain import explain, report_lines

    recording = AudioFile(wav, settings.microphone.channel)
    samples = np.concatenate(list(recording))
    explanation = explain(wav.name, samples, settings, recording.remarks)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(explanation), indent=0).decode())
    else:
        click.echo("\n".join(report_lines(explanation)))
    if plot is not None:
        from device.tools.plot import draw

        draw(explanation, samples, plot)
        remark(f"drawn: {plot}", log_format)
