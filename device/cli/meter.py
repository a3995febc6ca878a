"""``meter``: live level, speech and wake score."""

from __future__ import annotations

import sys
import threading
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from device import signals
from device.cli.common import common_options, remark
from device.cli.listening import listen
from device.config import settings as configuration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from device.config.settings import Settings
    from device.edges.wav import AudioFile
    from device.hearing.frames import Samples
    from device.tools.meter import Meter, Reading


@click.command("meter")
@click.option("--input", "recording", metavar="WAV", type=click.Path(path_type=Path), help="Measure a recording.")
@click.option(
    "--pace", type=click.Choice(["realtime", "fast"]), default="realtime", show_default=True, help="Of the recording."
)
@common_options
def command(recording: Path | None, pace: str, config: Path | None, log_format: str) -> int:
    """Show level, noise floor, gate, wake scores and CPU share, live; q or Ctrl-C ends it.

    Say the wake word from where you will say it, and read its peak, which is held until the word is said again or any
    key is pressed: put [wake] threshold well below it. Nothing is recorded, kept or sent. Without a terminal it prints
    a line each second.
    """
    from device import build
    from device.edges import terminal

    settings = configuration.load(config)
    meter = _build(settings)
    stop = threading.Event()
    signals.stop_in_order(stop.set)
    source = None
    if recording:
        from device.edges.wav import AudioFile

        source = AudioFile(recording, settings.microphone.channel)
        blocks = _paced(source, stop, realtime=pace == "realtime")
    else:
        blocks = listen(settings, meter, stop)
    readings = takewhile(lambda _: not stop.is_set(), (reading for block in blocks for reading in meter.push(block)))
    if terminal.is_one():
        _draw(readings, meter, build.first_thresholds(settings), stop)
    else:
        if sys.stderr.isatty():  # else nobody is there to end it
            remark("a line each second; Ctrl-C ends it", log_format)
        _print(readings)
    for line in source.remarks if source else []:
        remark(f"{recording}: {line}", log_format, level="warning")
    return 0


def _build(settings: Settings) -> Meter:
    from device import build
    from device.edges.vad import WebrtcVad
    from device.tools.meter import Meter

    scorer = build.build_scorer(settings)
    gate = build.build_gate() if settings.wake.gate else None
    classifier = WebrtcVad(build.GATE_AGGRESSIVENESS)
    return Meter(build.build_pipeline(settings, scorer, gate), scorer.words, classifier)


def _paced(recording: AudioFile, stop: threading.Event, *, realtime: bool) -> Iterator[Samples]:
    from device.daemon.listener import paced

    return paced(recording, stop) if realtime else iter(recording)


def _print(readings: Iterator[Reading]) -> None:
    """Print a line each second, and one for each detection."""
    from device.tools.meter import SECOND_FRAMES
    from device.tools.meter_view import plain

    for number, reading in enumerate(readings):
        if reading.detection or number % SECOND_FRAMES == SECOND_FRAMES - 1:
            click.echo(plain(reading))
            sys.stdout.flush()


def _draw(readings: Iterator[Reading], meter: Meter, thresholds: tuple[float, ...], stop: threading.Event) -> None:
    """Draw every reading on the whole terminal; what was heard stays on it afterwards."""
    from device.edges.terminal import Screen
    from device.tools.meter_view import heard_line, screen

    heard: list[str] = []
    with Screen() as terminal:
        keys = "q or Ctrl-C ends it, any other key clears the peaks." if terminal.has_keys else "Ctrl-C ends it."
        for reading in readings:
            if reading.detection:
                heard.append(heard_line(reading))
            terminal.draw(screen(reading, thresholds, heard, keys, *terminal.size()))
            typed = terminal.keys()
            if "q" in typed.lower():
                stop.set()
            elif typed:
                meter.clear_peaks()
    for line in heard:
        click.echo(line)
