"""``scripts/bench``: what listening costs, beside other ways to hear a wake word; one run, one table, and JSON."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from support.command_line import FILE, option, script
from support.speech import missing_synthesisers

from bench import cost, hearing
from bench.board import board
from bench.figures import Figure, plain, table
from bench.processes import MeasuredDevice
from device.hil.recordings import load_recordings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
REQUEST = FIXTURES / "hey-jarvis-request.wav"
PARTS = ("processor", "memory", "microphone", "start", "latency", "allocation", "recall")


@script(
    "bench",
    "Measures what listening costs, each program in a process of its own: processor time (start subtracted), "
    "memory, start, latencies, recall; beside openwakeword's Model, pyopen-wakeword and microWakeWord. "
    "Prints one table, the ratios first, and writes JSON. Quote ratios of one run: they bear a busy machine better.",
    option("--board", is_flag=True, help="Only the daemon: a row for the README's table of boards."),
    option("--quick", is_flag=True, help="Coarser, in under 2 minutes."),
    option("--only", multiple=True, type=click.Choice(PARTS), help="Only this part; may be repeated."),
    option("--json", type=FILE, default=ROOT / "bench-results.json", help="The figures as JSON."),
)
def main(options: Any) -> int:
    """Measure, print the table and write the JSON; return 1 if a target is not reached."""
    programs = [program for program in ("mosquitto", "pulseaudio") if shutil.which(program, path=_path()) is None]
    if missing := missing_synthesisers() + programs:
        print(f"bench: not installed: {', '.join(missing)}; apt-get install {' '.join(missing)}", file=sys.stderr)
        return 2
    if options.board:
        return _print_board()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for part in options.only or PARTS:
            if sys.stderr.isatty():
                print(f"\r{part:12}", end="", file=sys.stderr, flush=True)
            figures += measure(part, Path(folder), quick=options.quick)
    figures.sort(key=_sections(figures))
    facts = machine()
    print(f"{facts['processor']}, {facts['processors']} processors, load {facts['load']:.1f}; Python {facts['python']}")
    print(*table(figures), sep="\n")
    options.json.write_text(json.dumps({"machine": facts, "figures": plain(figures)}, indent=1) + "\n")
    print(f"\nAlso in {options.json}.")
    return int(any(figure.reached is False for figure in figures))


def measure(part: str, folder: Path, *, quick: bool) -> Iterator[Figure]:
    recordings = list(load_recordings(FIXTURES))
    request = next(recording for recording in recordings if recording.name == REQUEST.stem)
    match part:
        case "processor":
            device = MeasuredDevice(folder)
            for sound, ours_s in {"quiet room": 3600.0, "continuous speech": 600.0}.items():
                lengths = (ours_s / 2, 45.0, 1) if quick else (ours_s, 120.0, 3)
                yield from cost.processor(device, sound, *lengths)
        case "memory":
            yield from cost.memory(folder, request.samples[: request.truth.requests[0].wake_end_sample], 60.0)
        case "microphone":
            yield from cost.microphone(folder, REQUEST, 10.0 if quick else 60.0)
        case "start":
            yield from cost.start(folder, 3 if quick else 9)
        case "latency":
            yield from hearing.audio_latency(recordings)
            yield from hearing.real_latency(folder, REQUEST, request, 2 if quick else 8)
        case "allocation":
            yield from hearing.allocation(1000 if quick else 4000)
        case "recall":
            yield from hearing.recall(10 if quick else 60, seed=2026)


def _print_board() -> int:
    """Measure the daemon alone and print a row for the README's table of boards."""
    print("measuring for about five minutes; leave the board alone meanwhile", file=sys.stderr)
    recording = next(one for one in load_recordings(FIXTURES) if one.name == REQUEST.stem)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        print(*board(Path(folder), REQUEST, recording), sep="\n")
    return 0


def machine() -> dict[str, str | int | float]:
    """Return what the figures were measured on."""
    told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    names = [line.partition(":")[2].strip() for line in told.splitlines() if line.startswith(("model name", "Model"))]
    return {
        "processor": names[0] if names else platform.machine(),
        "processors": os.cpu_count() or 1,
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
    }


def _sections(figures: list[Figure]) -> Callable[[Figure], int]:
    """Return the order of the sections, as each first appeared; two parts may add to one."""
    order = {section: number for number, section in enumerate(dict.fromkeys(figure.section for figure in figures))}
    return lambda figure: order[figure.section]


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin"


if __name__ == "__main__":
    sys.exit(main())
