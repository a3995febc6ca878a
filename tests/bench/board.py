"""``scripts/bench --board``: what listening costs on this board, as one row of the README's table, ready to paste."""

from __future__ import annotations

import os
import platform
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from support.broker import Broker, Listener
from support.daemon import Daemon

from bench import sounds
from bench.processes import MeasuredDevice
from device.hearing.frames import RATE_HZ

if TYPE_CHECKING:
    from bench.processes import Use
    from device.hil.recordings import Recording

MODEL = Path("/proc/device-tree/model")
CPUINFO = Path("/proc/cpuinfo")
SHORT_S, QUIET_S, SPEECH_S = 12.0, 1800.0, 120.0  # the short run is subtracted: a start
ROUNDS = 3
HEAD = (
    "| board | CPU, quiet room | CPU, speech | memory | start | end of speech to broker |",
    "| --- | --- | --- | --- | --- | --- |",
)


def board(folder: Path, wav: Path, recording: Recording) -> tuple[str, ...]:
    """Measure the daemon on this board; return the table's lines.

    Args:
        folder: for all files.
        wav: a recording of a wake word and a request.
        recording: the same with its truth.
    """
    device = MeasuredDevice(folder)
    short = sounds.write(folder / "short.wav", sounds.quiet_room(SHORT_S))
    device.hear(short)  # so that its cache is warm
    uses = [_use(device, short) for _ in range(ROUNDS)]
    start_cpu_s = statistics.median(use.cpu_s for use in uses)
    shares = {}
    for name, make, seconds in (
        ("quiet", sounds.quiet_room, QUIET_S),
        ("speech", sounds.continuous_speech, SPEECH_S),
    ):
        use = _use(device, sounds.write(folder / "long.wav", make(seconds)))
        shares[name] = 100 * max(use.cpu_s - start_cpu_s, 0.0) / (seconds - SHORT_S)
        uses.append(use)
    started_s, took_s = _in_real_time(device, wav, recording)
    peak_mb = max(use.peak_mb for use in uses)
    cells = (
        name_of_board(),
        f"{shares['quiet']:.2g} %",
        f"{shares['speech']:.2g} %",
        f"{peak_mb:.0f} MB",
        f"{started_s:.1f} s",
        f"{took_s:.2f} s",
    )
    return (*HEAD, "| " + " | ".join(cells) + " |")


def _use(device: MeasuredDevice, wav: Path) -> Use:
    device.hear(wav)
    return device.use()


def _in_real_time(device: MeasuredDevice, wav: Path, recording: Recording) -> tuple[float, float]:
    """Return how long a start takes, and a request from its last sound until the broker has it; both in seconds."""
    (request,) = recording.truth.requests
    times, starts = [], []
    for _ in range(ROUNDS):
        with Broker(device.folder) as broker, Listener(broker.port, "wakeword/#"):
            online = MeasuredDevice(device.folder, broker.port)
            with Daemon(online, "--input", wav, "--pace", "realtime") as daemon:
                daemon.wait_for("input")
                began = time.monotonic()
                daemon.wait_for("sent")
                times.append(time.monotonic() - began - request.end_sample / RATE_HZ)
                daemon.end()
            starts.append(began - online.use().began)
    return statistics.median(starts), statistics.median(times)


def name_of_board(model: Path = MODEL, cpuinfo: Path = CPUINFO) -> str:
    """Return what this machine is and runs: a board's own name, else its processor's."""
    try:
        name = model.read_text(encoding="utf-8").strip("\0 \n")
    except OSError:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return f"{name}, {system}, Python {platform.python_version()}".replace("|", "/")
