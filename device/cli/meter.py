"""``meter``: live level, speech and wake score."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from device import config as configuration
from device import signals
from device.cli.common import common_options, open_store, refuse_muted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from device.config import Settings
    from device.core.frames import Samples
    from device.meter import Meter, Reading


@click.command("meter")
@click.option("--input", "recording", metavar="WAV", type=click.Path(path_type=Path), help="Measure a recording.")
@click.option(
    "--pace", type=click.Choice(["realtime", "fast"]), default="realtime", show_default=True, help="Of the recording."
)
@common_options
def command(recording: Path | None, pace: str, config: Path | None, log_format: str) -> int:  # noqa: ARG001
    """Show level, noise floor, gate, wake scores and CPU share, live; Ctrl-C ends it.

    Say the wake word from where you will say it, read the peak, and put [wake] threshold well below it. Nothing is
    recorded, kept or sent. Without a terminal it prints a line each second.
    """
    settings = configuration.load(config)
    meter = _build(settings)
    thresholds = configuration.thresholds(settings.wake)
    live = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    stop = threading.Event()
    signals.stop_in_order(stop.set)
    if recording:
        blocks = _recording(settings, recording, stop, realtime=pace == "realtime")
    else:
        blocks = _listen(settings, meter, stop)
    readings = (reading for block in blocks for reading in meter.push(block))
    with _whole_lines(live):
        current = takewhile(lambda _: not stop.is_set(), readings)
        _draw(current, thresholds) if live else _print(current)
    return 0


def _build(settings: Settings) -> Meter:
    from device import build
    from device.edges.vad import WebrtcVad
    from device.meter import Meter
    from device.observe import ObservedGate, ObservedScorer

    scorer = ObservedScorer(build.build_scorer(settings))
    gate = ObservedGate(build.build_gate()) if settings.wake.gate else None
    classifier = WebrtcVad(settings.vad.aggressiveness)
    return Meter(build.build_pipeline(settings, scorer, gate), scorer, gate, classifier)


def _recording(settings: Settings, path: Path, stop: threading.Event, *, realtime: bool) -> Iterator[Samples]:
    from device.edges.wav import Recording
    from device.listener import paced

    blocks = iter(Recording(path, settings.microphone.channel))
    return paced(blocks, stop) if realtime else blocks


def _listen(settings: Settings, meter: Meter, stop: threading.Event) -> Iterator[Samples]:
    """Yield what the microphone hears; a muted one stays closed, and one muted meanwhile is closed."""
    from device.edges.microphone import Block, Gap, Hole, Microphone

    wanted = settings.microphone
    with open_store(settings) as store:
        refuse_muted(store)
        with Microphone(wanted.name, wanted.channel, once=True) as microphone:
            while not stop.is_set():
                refuse_muted(store)
                match microphone.read(0.5):
                    case Block(samples):
                        yield samples
                    case Hole(samples):
                        meter.hole(samples)
                    case Gap():
                        meter.gap()


def _print(readings: Iterator[Reading]) -> None:
    """Print a line each second, and one for each detection."""
    from device.meter import SECOND_FRAMES

    for number, reading in enumerate(readings):
        if reading.heard or number % SECOND_FRAMES == SECOND_FRAMES - 1:
            words = ", ".join(f"{word} {score:.2f} (peak {peak:.2f})" for word, (score, peak) in reading.scores.items())
            state = f"{'speech' if reading.speech else 'quiet '}  gate {'open  ' if reading.open else 'closed'}"
            heard = f"  HEARD {reading.heard}" if reading.heard else ""
            level = f"{reading.level_dbfs:4.0f} dBFS  floor {reading.floor_dbfs:4.0f}"
            click.echo(f"{reading.position_s:7.1f} s  {level}  {state}  {words}  cpu {reading.cpu:.0%}{heard}")
            sys.stdout.flush()


def _draw(readings: Iterator[Reading], thresholds: tuple[float, ...]) -> None:
    """Redraw the same lines for every reading; a detection is also printed above them, to stay."""
    from device.meter import lines

    drawn = 0
    for reading in readings:
        screen = lines(reading, thresholds, shutil.get_terminal_size().columns)
        up = f"\033[{drawn}F" if drawn else ""
        said = f"\033[K{reading.position_s:7.1f} s  heard {reading.heard}\n" if reading.heard else ""
        redrawn = "".join(f"\033[K{line}\n" for line in screen)
        sys.stdout.write(f"{up}{said}{redrawn}\033[J")  # and nothing stays of lines that are no more
        sys.stdout.flush()
        drawn = len(screen)


@contextmanager
def _whole_lines(live: bool) -> Iterator[None]:
    """Hide the cursor while lines are redrawn, and bring it back whatever ends it."""
    if not live:
        yield
        return
    sys.stdout.write("\033[?25l")
    try:
        yield
    finally:
        sys.stdout.write("\033[?25h\033[K")
        sys.stdout.flush()
