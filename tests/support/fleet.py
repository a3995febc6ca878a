"""Many devices on one broker: how many requests a second it takes, how soon they arrive, and whether any is lost."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import multiprocessing
import os
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from device import __version__
from device.daemon.sender import Sender
from device.edges.mqtt import LinkSettings
from device.errors import RecorderError, UsageError
from device.hearing.frames import RATE_HZ
from device.message import envelope
from device.message.review import Review, spelled_out
from device.message.tag import AudioFormat, Tag
from support.broker import Broker, await_true
from support.command_line import COUNT, option, script
from support.outbox import Claimed, MemoryOutbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PREFIX = "fleet"
PATIENCE_S = 120.0  # for what is late
SETTINGS = (
    "max_queued_messages 0",
    "max_connections -1",
)  # what waits for a slow consumer waits, as in the shipped file
_NS = 1_000_000_000


@dataclass(frozen=True)
class Load:
    """What one device does.

    Attributes:
        host: the broker's.
        port: its.
        requests: how many of them each makes.
        every_s: how often; 0: the next one once the broker has the last.
        sound_s: how long each is.
    """

    host: str
    port: int
    requests: int
    every_s: float
    sound_s: float


class Fleet:
    """Some devices, each with the program's own sender and envelope, and its outbox in memory.

    Args:
        load: what each does.
        numbers: theirs.
    """

    def __init__(self, load: Load, numbers: Sequence[int]) -> None:
        self._load = load
        self._pcm = np.random.default_rng(1).integers(-3000, 3000, int(load.sound_s * RATE_HZ), "<i2").tobytes()
        self._sha256 = hashlib.sha256(self._pcm).hexdigest()
        self._outboxes = {number: MemoryOutbox() for number in numbers}
        self._connected = threading.Semaphore(0)
        encode = functools.partial(envelope.wav, version=__version__)
        self._senders = {
            number: Sender(
                outbox,
                LinkSettings(
                    host=load.host, port=load.port, base_topic=f"{PREFIX}/{name(number)}",
                    client_id=f"{PREFIX}-{name(number)}", ack_timeout_s=60,
                ),
                functools.partial(envelope.message, prefix=PREFIX, encode=encode),
                lambda _command: None,
                self._event,
            )
            for number, outbox in self._outboxes.items()
        }  # fmt: skip

    def _event(self, event: str, **_fields: object) -> None:
        if event == "broker-connected":
            self._connected.release()

    def run(self) -> dict[str, int]:
        """Connect all, make the requests, and return when each was made, by id, in ns of the monotonic clock."""
        for sender in self._senders.values():
            sender.start()
        for _ in self._senders:
            if not self._connected.acquire(timeout=PATIENCE_S):
                raise RecorderError("not every device was connected in time", hint="does the broker allow so many?")
        made: dict[str, int] = {}
        began_s = time.monotonic()
        for turn in range(self._load.requests):
            for order, number in enumerate(self._outboxes):
                due_s = began_s + (turn + order / len(self._outboxes)) * self._load.every_s
                time.sleep(max(0.0, due_s - time.monotonic()))
                self._make(turn, number, made)
        await_true(lambda: not any(outbox.count() for outbox in self._outboxes.values()), timeout_s=PATIENCE_S)
        for sender in self._senders.values():
            sender.stop()
        return made

    def _make(self, turn: int, number: int, made: dict[str, int]) -> None:
        samples = len(self._pcm) // 2
        tag = Tag(
            id=f"0190a5b2-{number:04x}-7000-8000-{turn:012x}", device=name(number), wake_word="hey_jarvis", score=0.9,
            captured_at="2026-11-22T20:43:21.652Z", clock_synced=True, source="file:fleet", start_sample=0,
            end_sample=samples, wake_sample=0, duration_s=samples / RATE_HZ, ended_by="silence",
            review=spelled_out(Review(opt_out=True, choice="default", revision=0, changed_at=None)),
            audio=AudioFormat(sha256=self._sha256), waited_s=0.0,
        )  # fmt: skip
        outbox = self._outboxes[number]
        made[tag.id] = time.monotonic_ns()
        with outbox.lock:
            outbox.waiting[tag.id] = Claimed(tag, self._pcm)
        self._senders[number].notify()


def name(number: int) -> str:
    """Return a device's id."""
    return f"device-{number}"


def run_some(load: Load, numbers: Sequence[int]) -> dict[str, int]:
    """Run some devices, in a process of their own."""
    return Fleet(load, numbers).run()


@dataclass
class Consumer:
    """One of the consumers that share the requests among them; counts what arrives."""

    host: str
    port: int
    arrived: dict[str, int] = field(default_factory=dict)
    times: int = 0

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        subscribed = threading.Event()
        client.on_connect = lambda client, *_: client.subscribe(f"$share/all/{PREFIX}/+/request/+", 1)
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = self._on_message
        client.connect(self.host, self.port)
        client.loop_start()
        if not subscribed.wait(PATIENCE_S):
            raise RecorderError(f"no subscription at {self.host}:{self.port}", hint="is it an open MQTT 5 broker?")
        try:
            yield
        finally:
            client.disconnect()
            client.loop_stop()

    def _on_message(self, _client: object, _data: object, message: Any) -> None:
        now = time.monotonic_ns()
        self.times += 1
        self.arrived.setdefault(dict(message.properties.UserProperty)["id"], now)


@dataclass(frozen=True)
class Usage:
    """What the broker's process used so far: seconds of a processor, and its largest memory."""

    cpu_s: float = 0.0
    memory_mb: float = 0.0


def usage(process: int | None) -> Usage:
    """Look at a process; none: nothing is known."""
    if process is None:
        return Usage()
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    (peak,) = [line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return Usage((int(user) + int(system)) / os.sysconf("SC_CLK_TCK"), int(peak.split()[1]) / 1000)


def measure(load: Load, devices: int, processes: int, consumers: int, broker: int | None) -> dict[str, str]:
    """Run the fleet and return the table's rows.

    Raises:
        RecorderError: a device or a consumer did not get so far.
    """
    listeners = [Consumer(load.host, load.port) for _ in range(consumers)]
    with contextlib.ExitStack() as stack:
        for consumer in listeners:
            stack.enter_context(consumer.listening())
        before = usage(broker)
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
            shares = [range(first, devices, processes) for first in range(min(processes, devices))]
            made: dict[str, int] = {}
            for some in pool.map(run_some, [load] * len(shares), shares):
                made |= some
        with contextlib.suppress(AssertionError):  # what does not come is counted
            await_true(lambda: sum(len(each.arrived) for each in listeners) >= len(made), timeout_s=10)
        after = usage(broker)
    return rows(made, listeners, replace(after, cpu_s=after.cpu_s - before.cpu_s), load)


def rows(made: dict[str, int], listeners: Sequence[Consumer], used: Usage, load: Load) -> dict[str, str]:
    arrived = {id: at for consumer in listeners for id, at in consumer.arrived.items()}  # noqa: A001
    waits_ms = np.array([(arrived[id] - at) / 1e6 for id, at in made.items() if id in arrived] or [np.nan])  # noqa: A001
    lasted_s = (max(arrived.values(), default=0) - min(made.values())) / _NS
    middle, most, worst = np.percentile(waits_ms, [50, 95, 100])
    found = {
        "requests": f"{len(made)} of {load.sound_s:g} s, in {lasted_s:.1f} s",
        "a second": f"{len(arrived) / lasted_s:.1f} requests",
        "until they arrive": f"half within {middle:.0f} ms, 95 of 100 within {most:.0f} ms, all within {worst:.0f} ms",
        "lost": str(len(made.keys() - arrived.keys())),
        "arrived twice": str(sum(consumer.times for consumer in listeners) - len(arrived)),
    }
    if used.memory_mb:
        found["the broker"] = f"{100 * used.cpu_s / lasted_s:.1f}% of a core, {used.memory_mb:.0f} MB at most"
    return found


@script(
    "fleet",
    __doc__,
    option("--devices", type=click.IntRange(1, 60_000), default=200, help="How many."),
    option("--requests", type=COUNT, default=6, help="Of each."),
    option("--every", type=click.FloatRange(min=0), default=10.0, metavar="S", help="0: as soon as can be."),
    option("--sound", type=click.FloatRange(min=0.1, max=300), default=2.0, metavar="S", help="How long a request is."),
    option("--consumers", type=COUNT, default=1, help="Who share the requests."),
    option("--processes", type=COUNT, default=os.cpu_count() or 1, help="That the devices run in."),
    option("--broker", default="", metavar="HOST[:PORT]", help="An open one; none: a mosquitto of its own."),
)
def main(options: Any) -> int:
    """Measure, print the table; return 1 if anything was lost."""
    host, port = _address(options.broker)
    with contextlib.ExitStack() as stack:
        process = None
        if not host:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fleet-", dir="/var/tmp"))
            own = stack.enter_context(Broker(Path(folder), *SETTINGS, log_all=False))
            host, port, process = "127.0.0.1", own.port, own.pid
        load = Load(host, port, options.requests, options.every, options.sound)
        found = measure(load, options.devices, options.processes, options.consumers, process)
    print(f"{options.devices} devices, {options.consumers} consumers at {host}:{port}")
    for row, value in found.items():
        print(f"  {row:<18} {value}")
    return int(found["lost"] != "0")


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.partition(":")
    if (colon and not port.isdigit()) or (text and not host):
        raise UsageError(f"--broker {text}: not HOST or HOST:PORT", hint="such as broker.lan:1883")
    return host, int(port or 1883)


if __name__ == "__main__":
    raise SystemExit(main())
