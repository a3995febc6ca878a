"""``scripts/soak``: hours of a room's sound and requests through the real daemon, and what it needs meanwhile."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import numpy as np
import soundfile

from device.errors import UsageError
from device.hearing.frames import RATE_HZ
from device.hil.recordings import load_recording
from device.hil.virtual import NAME, virtual_microphone
from device.tools.plot import refuse_unless_drawable
from support.broker import Broker, Listener
from support.command_line import FILE, option, script
from support.daemon import Daemon, Device

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FIXTURES = Path(__file__).parents[1] / "fixtures"
ROOM = FIXTURES / "quiet-room.wav"
SAID = ["hey-jarvis-request", "speech-without-wake-word", "short-request", "wake-word-alone", "no-gap", "near-misses"]
EVERY_S = 120.0  # something is said
SILENCE_AFTER = 5 * RATE_HZ  # samples: for the last request to be sent in
MOST_GROWTH_MB = 2.0  # after the first request and a quarter of the time
SHORTEST_S = 0.1
ROWS = 20  # of the table, at most
THERMAL = Path("/sys/class/thermal")
THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")  # on a Raspberry Pi only
REASONS = {0: "voltage too low", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}


class Stream(NamedTuple):
    """A recording of a room, and where in it requests begin, in samples."""

    path: Path
    requests: list[int]


def quiet_hours(folder: Path, hours: float, every_s: float = EVERY_S, room: Path = ROOM) -> Stream:
    """Write a recording of so many hours: a room, and every so many seconds one of SAID, if it fits before the end."""
    said = [load_recording(FIXTURES / f"{name}.wav", FIXTURES / f"{name}.json") for name in SAID]
    quiet, rate_hz = soundfile.read(room, dtype="int16")
    if rate_hz != RATE_HZ or quiet.ndim != 1:
        raise UsageError(f"--room {room}: {rate_hz} Hz, {quiet.ndim} channels", hint="it must be 16 kHz mono")
    slot = np.resize(quiet, round(every_s * RATE_HZ))
    length = round(hours * 3600 * RATE_HZ)
    path, requests = folder / "quiet-hours.flac", []
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, "PCM_16", format="FLAC") as file:
        for number, first in enumerate(range(0, length, len(slot))):
            recording = said[number % len(said)]
            block = slot[: length - first].copy()
            start = (number * 7919) % (len(slot) // 2)  # at no regular time
            if start + len(recording.samples) + SILENCE_AFTER <= len(block):
                block[start : start + len(recording.samples)] = recording.samples
                requests += [first + start + request.start_sample for request in recording.truth.requests]
            file.write(block)
    return Stream(path, requests)


class Usage(NamedTuple):
    """What a process holds."""

    rss_kb: int
    files: int
    threads: int


def usage_of(pid: int) -> Usage | None:
    """What a process holds now; None if it has ended, as it may right after the last request."""
    process = Path("/proc", str(pid))
    try:
        status = (process / "status").read_text()
        if "VmRSS" not in status:
            return None
        rss_kb, threads = (int(re.search(rf"{key}:\s+(\d+)", status)[1]) for key in ("VmRSS", "Threads"))
        return Usage(rss_kb, len(list((process / "fd").iterdir())), threads)
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the daemon.

    Attributes:
        at_s: since the start.
        cpu: processor time since the look before, in per cent of one core.
        memory_mb: resident.
        files, threads: how many it has.
        waiting: requests stored and not sent.
        sent: requests sent so far.
        missing_s: sound of the microphone that was lost so far.
        celsius: the hottest part of the machine; None where it does not say.
        throttled: what a Raspberry Pi's firmware reports as happening now; empty: nothing, or it is none.
    """

    at_s: float
    cpu: float
    memory_mb: float
    files: int
    threads: int
    waiting: int
    sent: int
    missing_s: float
    celsius: float | None
    throttled: str


def celsius(folder: Path = THERMAL) -> float | None:
    """Return the temperature of the hottest zone; None where there is none."""
    found = []
    for zone in folder.glob("thermal_zone*/temp"):
        with contextlib.suppress(OSError, ValueError):
            found.append(int(zone.read_text()) / 1000)
    return max(found, default=None)


def throttled(file: Path = THROTTLED) -> str:
    """Return what a Raspberry Pi reports of its supply and its heat now; empty: nothing, or it is none."""
    try:
        bits = int(file.read_text().strip(), 16)
    except (OSError, ValueError):
        return ""
    return ", ".join(reason for bit, reason in REASONS.items() if bits >> bit & 1)


class Watch:
    """Looks at a daemon now and then."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._began_s = self._before_s = time.monotonic()
        self._cpu_s = _cpu_s(daemon.process.pid)
        self.looks: list[Look] = []

    def look(self) -> None:
        """Look once, unless the daemon has ended."""
        usage = usage_of(self._daemon.process.pid)
        if usage is None:
            return
        now, cpu_s = time.monotonic(), _cpu_s(self._daemon.process.pid)
        self.looks.append(
            Look(
                at_s=round(now - self._began_s, 1),
                cpu=round(100 * (cpu_s - self._cpu_s) / max(now - self._before_s, 0.001), 1),
                memory_mb=round(usage.rss_kb * 1024 / 1e6, 2),
                files=usage.files,
                threads=usage.threads,
                celsius=celsius(),
                throttled=throttled(),
                **self._counts(),
            )
        )
        self._cpu_s, self._before_s = cpu_s, now

    def conclude(self) -> None:
        """Count into the last look what the daemon still said up to its end."""
        if len(self.looks) > 1 and self.looks[-1].at_s - self.looks[-2].at_s < SHORTEST_S:
            del self.looks[-1]  # too soon after the one before to say how much of the processor was used
        if self.looks:
            self.looks[-1] = replace(self.looks[-1], **self._counts())

    def _counts(self) -> dict[str, Any]:
        events = list(self._daemon.events)
        stored, sent = (sum(event.get("event") == name for event in events) for name in ("stored", "sent"))
        missing_s = round(sum(event.get("missing_s", 0) for event in events), 3)
        return {"waiting": stored - sent, "sent": sent, "missing_s": missing_s}


def _cpu_s(pid: int) -> float:
    try:
        values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def _number(text: str, above: float) -> float:
    with contextlib.suppress(ValueError):
        if above < float(text) <= 10_000:
            return float(text)
    raise click.BadParameter(f"{text} is not a number above {above} and up to 10000")


def _above_0(text: str) -> float:
    return _number(text, 0)


def _above_30(text: str) -> float:
    return _number(text, 30)


def _wav(text: str) -> Path:
    try:
        soundfile.info(text)
    except (OSError, soundfile.LibsndfileError) as error:
        raise click.BadParameter(f"{text} cannot be read as a recording") from error
    return Path(text)


@script(
    "soak",
    "Runs the real daemon for hours on the sound of a room and requests, looks at it now and then, and prints a "
    "table: processor, memory, files, threads, requests waiting, missing sound, temperature, throttling. Status 1 "
    "if a request is lost, memory grows, or the daemon warns of anything.",
    option("--hours", type=_above_0, default=1.0, metavar="H", help="Of sound."),
    option(
        "--pace",
        type=click.Choice(["realtime", "fast"]),
        default="realtime",
        help="Of a microphone, or as fast as can be.",
    ),
    option("--virtual", is_flag=True, help="Through a virtual microphone, in real time: shows missing sound, too."),
    option("--every", type=_above_30, default=EVERY_S, metavar="S", help="How often something is said."),
    option("--room", type=_wav, default=str(ROOM), metavar="WAV", help="16 kHz mono, looped."),
    option("--interval", type=_above_0, default=10.0, metavar="S", help="Between two looks."),
    option("--csv", type=FILE, help="All looks, as a table for other programs."),
    option("--plot", type=FILE, metavar="PNG", help="A picture of them."),
)
def main(options: Any) -> int:
    """Soak, print the table, write what is asked for; return 1 if something was lost or grew."""
    if options.plot:
        refuse_unless_drawable(options.plot)
    if options.csv and not options.csv.parent.is_dir():
        raise UsageError(f"--csv {options.csv}: there is no folder {options.csv.parent}", hint="make it first")
    with tempfile.TemporaryDirectory(prefix="soak-", dir="/var/tmp") as folder:
        looks, faults = soak(Path(folder), options)
    print(*table(looks), sep="\n")
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Look)])
            writer.writeheader()
            writer.writerows(map(asdict, looks))
    if options.plot:
        draw(looks, options.plot)
    for fault in faults:
        print(f"FAULT: {fault}")
    if not faults:
        print(summary(looks))
    return int(bool(faults))


def soak(folder: Path, options: Any) -> tuple[list[Look], list[str]]:
    """Run the daemon on the sound; return the looks at it and what went wrong. Ctrl-C ends it early."""
    stream = quiet_hours(folder, options.hours, options.every, options.room)
    with Broker(folder) as broker, Listener(broker.port, "wakeword/kitchen/request/+") as listener:
        if options.virtual:
            device = Device(folder, broker.port, microphone=f'name = "{NAME}"')
            with virtual_microphone() as microphone, Daemon(device, env=microphone.settings) as daemon:
                daemon.wait_for("microphone-listening")
                with microphone.playing(stream.path) as playing:
                    looks, early = _watched(daemon, lambda: playing.poll() is not None, options.interval)
                daemon.stop()
        else:
            inputs = ("--input", stream.path, "--pace", options.pace)
            with Daemon(Device(folder, broker.port), *inputs) as daemon:
                looks, early = _watched(daemon, lambda: daemon.process.poll() is not None, options.interval)
                daemon.stop()
        arrived = len(listener.pending())
    sent = sum(event.get("event") == "sent" for event in daemon.events)
    return looks, list(faults(daemon.events, looks, sent if early else len(stream.requests), arrived))


def _watched(daemon: Daemon, ended: object, interval_s: float) -> tuple[list[Look], bool]:
    """Look at the daemon until the sound has ended; return the looks, and whether Ctrl-C came before."""
    watch = Watch(daemon)
    reader = threading.Thread(target=daemon.end, daemon=True)
    reader.start()
    early = False
    try:
        due_s = time.monotonic() + interval_s
        while not ended():
            if time.monotonic() >= due_s:
                watch.look()
                due_s += interval_s
            time.sleep(0.05)
    except KeyboardInterrupt:
        early = True
    watch.look()
    daemon.process.terminate()
    reader.join()
    watch.conclude()
    return watch.looks, early


def faults(events: Sequence[dict], looks: Sequence[Look], expected: int, arrived: int) -> Iterator[str]:
    if arrived != expected:
        yield f"{expected} requests were said, {arrived} arrived"
    for event in events:
        if event.get("level") in ("warning", "error"):
            yield f"the daemon warns: {event['message']}"
    warm = [look for look in looks if look.sent]  # what a start and the first request need is no growth
    rest = warm[len(warm) // 4 :]
    if len(rest) >= 8:
        quarter = len(rest) // 4
        first, last = (statistics.median(look.memory_mb for look in part) for part in (rest[:quarter], rest[-quarter:]))
        if last - first > MOST_GROWTH_MB:
            yield f"memory grew by {last - first:.1f} MB; {MOST_GROWTH_MB:g} are the most"


def table(looks: Sequence[Look]) -> Iterator[str]:
    """Yield the lines of the table: at most ROWS looks, evenly spread, the last one always."""
    step = max(-(-len(looks) // ROWS), 1)
    yield "    time   CPU %   memory  files threads waiting  sent  missing     °C  throttled"
    for look in [*looks[:-1:step], *looks[-1:]]:
        hot = "-" if look.celsius is None else f"{look.celsius:.1f}"
        clock = timedelta(seconds=round(look.at_s))
        yield (
            f"{clock!s:>8} {look.cpu:7.1f} {look.memory_mb:5.1f} MB {look.files:6} {look.threads:7} "
            f"{look.waiting:7} {look.sent:5} {look.missing_s:6.2f} s {hot:>6}  {look.throttled or '-'}"
        )


def summary(looks: Sequence[Look]) -> str:
    """Return the whole in a line."""
    if not looks:
        return "nothing was looked at: the sound ended before the first look; a shorter --interval looks sooner"
    last = looks[-1]
    took_s = [after.at_s - before for before, after in zip([0.0, *(look.at_s for look in looks)], looks, strict=False)]
    cpu = sum(look.cpu * length_s for look, length_s in zip(looks, took_s, strict=True)) / max(last.at_s, SHORTEST_S)
    return (
        f"all right: every request arrived, {last.sent} of them; {cpu:.1f} % of a core on average, "
        f"{max(look.memory_mb for look in looks):.1f} MB at most, {last.missing_s:g} s of sound missing"
    )


def draw(looks: Sequence[Look], path: Path) -> None:
    """Draw what changes over time, each from 0 on, so that noise does not look like growth."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    unit_s, unit = (3600, "hours") if looks and looks[-1].at_s > 7200 else (60, "minutes")
    times = [look.at_s / unit_s for look in looks]
    rows = {"CPU, % of a core": "cpu", "memory, MB": "memory_mb", "requests sent": "sent", "waiting": "waiting"}
    rows |= {"sound missing, s": "missing_s", "°C": "celsius"}
    rows = {label: name for label, name in rows.items() if name not in ("missing_s", "celsius") or _any(looks, name)}
    figure = Figure(figsize=(10, 1.8 * len(rows)), layout="constrained")
    for axes, (label, name) in zip(figure.subplots(len(rows), 1, sharex=True), rows.items(), strict=True):
        axes.plot(times, [getattr(look, name) for look in looks], color="#3465a4", linewidth=1.2)
        axes.set_ylabel(label)
        axes.set_ylim(0, max([1.0, *(1.1 * (getattr(look, name) or 0) for look in looks)]))
        if name in ("sent", "waiting"):
            axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        for look in looks:
            if look.throttled:
                axes.axvline(look.at_s / unit_s, color="#a40000", alpha=0.3)
    axes.set_xlabel(f"{unit}; red: throttled" if _any(looks, "throttled") else unit)
    figure.savefig(path, dpi=110, format=path.suffix[1:].lower())


def _any(looks: Sequence[Look], name: str) -> bool:
    return any(getattr(look, name) for look in looks)


if __name__ == "__main__":
    sys.exit(main())
