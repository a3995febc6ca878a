"""What listening costs: processor time of whole processes, their start subtracted, memory, start, wake-ups."""

from __future__ import annotations

import contextlib
import shutil
import socket
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from support.broker import Broker, Listener, await_true, free_port, make_certificates
from support.daemon import Daemon

from bench import sounds
from bench.figures import compared, limited
from bench.others import ENGINES
from bench.processes import MeasuredDevice, run_module
from device.hearing.frames import FRAME_SAMPLES, RATE_HZ
from device.hil.virtual import virtual_microphone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.broker import Certificates

    from bench.figures import Figure
    from device.hearing.frames import Samples

FRAMES_PER_HOUR = 3600 * RATE_HZ / FRAME_SAMPLES
SHORT_S = 12.0  # of the run that is subtracted: a start, and openwakeword's Model until its 10 s of past are full
TARGETS = {
    ("quiet room", "openwakeword"): 100.0,
    ("quiet room", "microWakeWord"): 5.0,
    ("continuous speech", "openwakeword"): 8.0,
}
LEAST_ROUNDS = 3
OTHER_THREADS = {"wakeword-record": "listener, sender, PortAudio", "threaded-ml": "PulseAudio's client"}
MOST_MB = 90.0
MOST_START_S = 0.6


def processor(device: MeasuredDevice, sound: str, ours_s: float, others_s: float, rounds: int) -> Iterator[Figure]:
    """Yield the processor time per frame of the daemon and of the others, in turns, the median of several rounds.

    Args:
        device: whose daemon listens.
        sound: ``quiet room`` or ``continuous speech``.
        ours_s: how much of it the daemon hears.
        others_s: how much the others hear, each frame of which costs them the same.
        rounds: how often; the daemon more often if that is few, since its cost is small beside its start's.
    """
    make = {"quiet room": sounds.quiet_room, "continuous speech": sounds.continuous_speech}[sound]
    lengths_s = {"ours": ours_s, "others": others_s, "short": SHORT_S}
    wavs = {name: sounds.write(device.folder / f"{name}.wav", make(length)) for name, length in lengths_s.items()}
    costs: dict[str, list[float]] = {name: [] for name in ("wakeword-recorder", *ENGINES)}
    device.hear(wavs["short"])  # so that its cache is warm
    for number in range(max(rounds, LEAST_ROUNDS)):
        long, short = (_daemon_cpu_s(device, wavs[name]) for name in ("ours", "short"))
        costs["wakeword-recorder"].append(_ms_per_frame(long - short, ours_s))
        for name in ENGINES if number < rounds else ():
            long, short = (
                run_module("bench.others", name, wavs[length], folder=device.folder)[0].cpu_s
                for length in ("others", "short")
            )
            costs[name].append(_ms_per_frame(long - short, others_s))
    for wav in wavs.values():
        wav.unlink()
    section = f"Processor time, {sound}: ms per 80 ms frame (s per hour of audio)"
    median = {name: statistics.median(values) for name, values in costs.items()}
    ours = median.pop("wakeword-recorder")
    yield limited(section, f"wakeword-recorder ({ours * FRAMES_PER_HOUR / 1000:.1f} s)", ours, "ms")
    for name, value in median.items():
        told = f"{name} ({value * FRAMES_PER_HOUR / 1000:.0f} s)"
        yield compared(section, told, value, ours, "ms", TARGETS.get((sound, name)))


def _ms_per_frame(cpu_s: float, audio_s: float) -> float:
    return cpu_s * 1000 / ((audio_s - SHORT_S) * RATE_HZ / FRAME_SAMPLES)


def _daemon_cpu_s(device: MeasuredDevice, wav: Path) -> float:
    events = device.hear(wav)
    heard = [event for event in events if event.get("event") == "wake"]
    assert not heard, f"the sound should hold no wake word: {heard}"
    return device.use().cpu_s


def memory(folder: Path, request: Samples, quiet_s: float) -> Iterator[Figure]:
    """Yield the daemon's peak memory: in a quiet room, and with the longest request kept and sent, also through TLS.

    Where the graph is rewritten, by a process of its own that ends before the models are opened, the figure is the
    greater of that process's peak and the daemon's: the two are not added.

    Args:
        folder: for all files.
        request: a recording of a wake word and a request.
        quiet_s: how long the quiet room is heard.
    """
    section = "Peak resident memory of the daemon"
    device = MeasuredDevice(folder)
    quiet = sounds.write(folder / "quiet.wav", sounds.quiet_room(quiet_s))
    cache = folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    for name, detail in {"first start of all": "rewrites the graph, in another process", "quiet room": ""}.items():
        device.hear(quiet)
        yield limited(section, name, device.use().peak_mb, "MB", MOST_MB, detail)
    shutil.rmtree(cache)
    cache.write_bytes(b"")  # a file in the folder's place
    device.hear(quiet)
    yield limited(section, "without a writable cache folder", device.use().peak_mb, "MB", MOST_MB)
    cache.unlink()
    certificates = make_certificates(folder)
    wav = sounds.write(folder / "longest.wav", sounds.longest_request(request, 20.0))
    for name, settings in {"plain": "", "TLS": f'tls = true\nca_file = "{certificates.ca}"\n'}.items():
        with broker(folder, certificates) as ports, Listener(ports["plain"], "wakeword/#"):
            device = MeasuredDevice(folder, ports[name], mqtt=settings)
            events = device.hear(wav)
        longest = max(event["duration_s"] for event in events if event.get("event") == "stored")
        yield limited(section, f"{longest:.0f} s of speech kept and sent, {name}", device.use().peak_mb, "MB", MOST_MB)


@contextlib.contextmanager
def broker(folder: Path, certificates: Certificates) -> Iterator[dict[str, int]]:
    """Run a broker; give its ports, with TLS and plain."""
    ports = {"plain": free_port()}
    files = {"cafile": certificates.ca, "certfile": certificates.certificate("server")}
    lines = [f"{name} {file}" for name, file in {**files, "keyfile": certificates.key("server")}.items()]
    with Broker(folder, *lines, f"listener {ports['plain']} 127.0.0.1") as running:
        await_true(lambda: _listens(ports["plain"]))
        yield {**ports, "TLS": running.port}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def microphone(folder: Path, request: Path, quiet_s: float) -> Iterator[Figure]:
    """Yield what a daemon on the virtual microphone costs in real time, in a quiet room and then with a request.

    Args:
        folder: for all files.
        request: a recording of a wake word and a request.
        quiet_s: how long the quiet room lasts.
    """
    section = f"On the virtual microphone, {quiet_s:.0f} s of quiet room: ms per 80 ms frame"
    # Begun before the daemon: digital silence first would set the gate's floor, above which any room is loud.
    noise = sounds.write(folder / "quiet.wav", sounds.quiet_room(quiet_s + 30.0))
    certificates = make_certificates(folder)
    with (
        virtual_microphone() as heard,
        broker(folder, certificates) as ports,
        Listener(ports["plain"], "wakeword/#"),
    ):
        device = MeasuredDevice(folder, ports["TLS"], mqtt=f'tls = true\nca_file = "{certificates.ca}"\n')
        device.hear(sounds.write(folder / "short.wav", sounds.quiet_room(1.0)))  # so that the cache is warm
        with heard.playing(noise), Daemon(device, env=heard.env) as daemon:
            for name in ("started", "microphone-listening", "broker-connected"):  # in any order
                daemon.wait_for(name)
            threads, seconds = _busy(_daemon_pid(daemon.process.pid), quiet_s)
            heard.play(request)
            daemon.wait_for("sent")
            daemon.stop()
    per_frame = FRAME_SAMPLES / RATE_HZ / seconds
    for name, (cpu_s, switches) in sorted(threads.items(), key=lambda item: -item[1][0]):
        told = f"{name}, woken {switches / seconds:.1f} times a second"
        yield limited(section, told, cpu_s * 1000 * per_frame, "ms")
    total = sum(cpu_s for cpu_s, _ in threads.values()) * 1000 * per_frame
    yield limited(section, f"all threads ({total * FRAMES_PER_HOUR / 1000:.1f} s per hour)", total, "ms")
    yield limited("Peak resident memory of the daemon", "on the microphone, TLS", device.use().peak_mb, "MB", MOST_MB)


def _daemon_pid(launcher: int) -> int:
    return int(Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()[0])


def _busy(pid: int, seconds: float) -> tuple[dict[str, tuple[float, int]], float]:
    """Return each thread's processor time and wake-ups over the next ``seconds``, and how long that was."""
    before, began = _threads(pid), time.monotonic()
    time.sleep(seconds)  # the measurement itself
    after, lasted = _threads(pid), time.monotonic() - began
    names: dict[str, tuple[float, int]] = {}
    for thread, (name, cpu_s, switches) in after.items():
        _, cpu_before_s, switches_before = before.get(thread, ("", 0.0, 0))
        cpu_sum_s, switches_sum = names.get(name, (0.0, 0))
        names[name] = (cpu_sum_s + cpu_s - cpu_before_s, switches_sum + switches - switches_before)
    return names, lasted


def _threads(pid: int) -> dict[str, tuple[str, float, int]]:
    """Return name, processor seconds and voluntary switches of each thread of a process."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        cpu_s = int((task / "schedstat").read_text().split()[0]) / 1e9
        name = {str(pid): "supervisor"}.get(task.name, OTHER_THREADS.get(fields["Name"], fields["Name"]))
        found[task.name] = (name, cpu_s, int(fields["voluntary_ctxt_switches"]))
    return found


def start(folder: Path, rounds: int) -> Iterator[Figure]:
    """Yield the time from process start to listening, a median, beside importing openwakeword and loading its Model."""
    section = "From process start to listening (warm cache, median)"
    device = MeasuredDevice(folder)
    quiet = sounds.write(folder / "quiet.wav", sounds.quiet_room(SHORT_S))
    device.hear(quiet)
    times: dict[str, list[float]] = {"recording": [], "microphone": [], "openwakeword": []}
    with virtual_microphone() as heard:
        for _ in range(rounds):
            times["recording"].append(_started_s(device, None, {"started", "input"}, "--input", quiet))
            times["microphone"].append(_started_s(device, heard.env, {"started", "microphone-listening"}))
            times["openwakeword"].append(
                run_module("bench.others", "openwakeword", quiet, folder=folder)[1]["loaded_s"]
            )
    median = {name: statistics.median(values) for name, values in times.items()}
    yield limited(section, "to listening to a recording", median["recording"], "s", MOST_START_S)
    yield limited(section, "to listening to the microphone", median["microphone"], "s", MOST_START_S)
    yield compared(section, "openwakeword imported, Model loaded", median["openwakeword"], median["microphone"], "s", 2)


def _started_s(device: MeasuredDevice, env: dict[str, str] | None, wanted: set[str], *arguments: object) -> float:
    """Return the seconds from the process's start to the last of the wanted events."""
    with Daemon(device, *arguments, env=env) as daemon:
        for name in wanted:  # in any order
            daemon.wait_for(name)
        now = time.monotonic()
        daemon.stop()
    return now - device.use().began
