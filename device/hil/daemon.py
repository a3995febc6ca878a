"""The real daemon as a process of its own, its log of events, and what arrives of it at the broker."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from device import build
from device.edges.flac import read_flac
from device.edges.mqtt import NotConnectedError
from device.edges.mqtt.subscriber import MAX_PACKET_BYTES, Subscriber
from device.errors import RecorderError, TagError
from device.hil.setup import write
from device.hil.tee import TappedSound
from device.message.receive import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from device.config.settings import Settings
    from device.message.receive import Received

START_S = 60.0  # the first start on a Zero 2 W rewrites the models' graph
STOP_S = 30.0
PIPE_BYTES = 1 << 20  # 30 s of sound: the daemon never waits for the bench
OUTCOMES = ("stored", "no-speech", "lost")


class RigError(RecorderError):
    """The bench itself does not work, so that nothing can be said of any recording."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came under a topic of requests.

    Attributes:
        at_s: when, by the system's monotonic clock.
        topic: under which topic.
        request: what it is, once all its parts agreed; None: they did not.
        problem: why not.
        payload: the file.
    """

    at_s: float
    topic: str
    request: Received | None
    problem: str
    payload: bytes


@contextlib.contextmanager
def running(settings: Settings, env: Mapping[str, str]) -> Iterator[Daemon]:
    """Run the daemon for a block, from when it listens on, with a witness of what it hears.

    Args:
        settings: its configuration, whose ``path`` is written.
        env: its environment.

    Raises:
        RigError: it does not start, or hears nothing.
    """
    outlet, inlet = os.pipe()
    try:
        fcntl.fcntl(inlet, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        # Ends with this process, however that ends: else it would hold the microphone.
        command = ["setpriv", "--pdeathsig=TERM", "--", sys.executable, "-P", "-m", "device.hil.tee"]
        command += [str(write(settings)), str(inlet)]
        process = subprocess.Popen(
            command, env=dict(env), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, pass_fds=[inlet]
        )
    finally:
        os.close(inlet)  # the daemon has its own: the pipe ends with it
    daemon = Daemon(process, TappedSound(outlet))
    try:
        daemon.await_listening(settings.microphone.name)
        yield daemon
    finally:
        daemon.stop()


class Daemon:
    """The daemon as it runs; `running` makes it.

    Args:
        process: it, with its log in JSON on a pipe.
        heard: what it has heard.
    """

    def __init__(self, process: subprocess.Popen[str], heard: TappedSound) -> None:
        self._process = process
        self._events: list[dict[str, Any]] = []  # appended to by the reading thread only
        self._reader = threading.Thread(target=self._read, name="daemon's log", daemon=True)
        self._reader.start()
        self.heard = heard

    def stop(self) -> None:
        """End it as systemd does, and read the rest."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(STOP_S)
        self.heard.join()

    def _read(self) -> None:
        assert self._process.stderr is not None  # noqa: S101
        for line in self._process.stderr:
            try:
                self._events.append(json.loads(line))
            except ValueError:
                self._events.append({"level": "error", "message": line.rstrip()})

    def events(self, *names: str, since: int = 0) -> list[dict[str, Any]]:
        """Return the events of these names, or all, said after the first ``since`` of all."""
        return [event for event in self._events[since:] if not names or event.get("event") in names]

    @property
    def said(self) -> int:
        """How many events were said so far."""
        return len(self._events)

    def complaints(self, since: int = 0) -> list[str]:
        """Return the messages of what it warned of."""
        warnings = (event for event in self.events(since=since) if event.get("level") in ("warning", "error"))
        return [str(event["message"]) for event in warnings]

    def settled(self) -> bool:
        """Whether each wake word heard has come to its end: a request stored, or nothing said."""
        return len(self.events("wake")) <= len(self.events(*OUTCOMES))

    def ensure(self, condition: Callable[[], Any], timeout_s: float, what: str) -> None:
        """Wait until a condition is true.

        Raises:
            RigError: it does not become true in time, or the daemon has ended; its last complaint stands in the error.
        """
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            ended = self._process.poll()
            if ended is not None:
                self._reader.join(STOP_S)
            if ended is not None or time.monotonic() > deadline_s:
                why = self.complaints()[-1:] or ["the daemon says nothing more"]
                raise RigError(f"the daemon ended with status {ended}" if ended is not None else what, hint=why[0])
            time.sleep(0.01)

    def await_listening(self, microphone: str) -> None:
        """Wait until it hears; ``microphone`` is the configured name.

        Raises:
            RigError: it does not start, or hears nothing.
        """
        self.ensure(
            lambda: self.events("microphone-listening", "microphone-lost"), START_S, "the daemon does not start"
        )
        self.ensure(
            lambda: self.events("microphone-listening"),
            10.0,
            f'the microphone "{microphone}" is lost',
        )
        self.ensure(lambda: self.heard.end > 0, 10.0, "the microphone delivers no sound")


class Inbox:
    """Takes what arrives at the broker of one device, with the time at which it came; a context manager.

    Args:
        settings: the device's.

    Attributes:
        arrivals: what came under its topics of requests and was not taken yet, in order.
    """

    def __init__(self, settings: Settings) -> None:
        link = dataclasses.replace(build.link_settings(settings, role="hil"), max_packet_bytes=MAX_PACKET_BYTES)
        self._subscriber = Subscriber(link, f"{link.base_topic}/request/+")
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._receive, name="subscriber", daemon=True)
        self.arrivals: list[Arrival] = []
        self.problem = ""

    def __enter__(self) -> Self:
        try:
            self._subscriber.connect()
        except NotConnectedError as error:
            raise RigError(str(error)) from error
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(STOP_S)
        self._subscriber.close()

    def take(self) -> tuple[Arrival, ...]:
        """Return what arrived since the last time, and let go of it: hundreds of recordings fill no memory."""
        taken = tuple(self.arrivals)
        del self.arrivals[: len(taken)]  # more may have come meanwhile
        return taken

    def _receive(self) -> None:
        while not self._ending.is_set():
            try:
                for arrived in self._subscriber.wait(0.2):
                    now = time.monotonic()
                    self.arrivals.append(_checked(now, arrived))
                    self._subscriber.acknowledge(arrived)
            except NotConnectedError as error:
                self.problem = str(error)
                self._ending.wait(error.pause_s)
                with contextlib.suppress(NotConnectedError):
                    self._subscriber.connect()


def _checked(now: float, arrived: Any) -> Arrival:
    try:
        request = check(
            arrived.topic, arrived.payload, arrived.content_type, arrived.user_properties, read_flac=read_flac
        )
    except TagError as error:
        return Arrival(now, arrived.topic, None, str(error), arrived.payload)
    return Arrival(now, arrived.topic, request, "", arrived.payload)
