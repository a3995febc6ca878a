"""The composition root of the daemon: starts everything in order, supervises it, stops it in the reverse order."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from device import __version__, build, signals
from device.core.commands import Command
from device.edges import memory, state_disk, systemd
from device.edges.lock import DaemonLock
from device.errors import RecorderError
from device.events import Events, say_dropped
from device.listener import Listener
from device.recorder import Recorder
from device.sender import EVENTS, Sender

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import FrameType

    from device.config import Settings
    from device.edges.microphone import Microphone, MicrophoneState
    from device.edges.store import StoreEvent
    from device.edges.wav import Recording

TICK_S = 0.25  # how soon a mute, or a choice made by another process, is seen
DRAIN_TICK_S = 0.02
HOUSEKEEPING_S = 30.0
LOCK_TIMEOUT_S = 5.0
STATUS_UNAVAILABLE = 69


class App:
    """The daemon.

    Threads: the main thread supervises; the listener's thread runs the pipeline up to the store; the sender's thread
    owns the MQTT client; the microphone has a thread of its own. An exception in any of them ends the process with a
    status other than 0.

    Args:
        settings: the configuration.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._events = Events()
        self._wake_up = threading.Event()  # set by signals and by a listener that ends
        self._stopping = False
        self._resend = False
        self._threads: dict[str, Listener | Sender] = {}  # those whose failure ends the process
        self._microphone: Microphone | None = None
        self._blocks_fed = 0
        self._housekept_at = 0.0

    def run(self, inputs: Sequence[Path] = (), *, realtime: bool = True, drain_timeout_s: float = 30.0) -> int:
        """Listen until stopped, or until the inputs are read and sent; return the exit status.

        Args:
            inputs: recordings to hear instead of the microphone.
            realtime: the recordings come at a microphone's pace; else as fast as can be.
            drain_timeout_s: how long to wait for the broker after the last recording.

        Raises:
            RecorderError: it could not start, or a thread failed.
        """
        memory.keep_little()
        self._catch_signals()
        with ExitStack() as stack:
            self._open(stack)
            if not inputs:
                self._open_microphone(stack)
            memory.release_code()  # before the models' library, which is the largest
            scorer = build.build_scorer(self._settings)
            gate = build.build_gate() if self._settings.wake.gate else None
            pipeline = build.build_pipeline(self._settings, scorer, gate)
            self._recorder = Recorder(self._store, self._settings.device.id, self._events, self._sender.notify)
            self._threads["listener"] = self._listener = Listener(
                pipeline, self._recorder, self._events, self._wake_up.set
            )
            stack.callback(self._recorder.close)
            stack.callback(self._listener.stop)
            self._keep_house()  # before anything is sent with a time that can be set right
            self._sender.start()
            words = list(scorer.words)
            message = f"wakeword-recorder {__version__} listens for {', '.join(words)}"
            self._events("started", message, version=__version__, words=words)
            if inputs:
                self._listener.start(partial(self._listener.recordings, inputs, self._read, realtime=realtime))
            elif self._microphone is not None:
                # Stopped before the microphone is closed: the end of an open request is the shutdown, not a loss.
                self._listener.start(partial(self._listener.microphone, self._microphone))
            systemd.notify("READY=1")
            memory.release_code()  # what only the start needed
            self._supervise()
            systemd.notify("STOPPING=1")
            if inputs and not self._stopping:
                return self._drain(drain_timeout_s)
        return 0

    def send(self, timeout_s: float) -> int:
        """Publish what waits, by the running daemon if there is one; return the exit status."""
        self._catch_signals()
        with ExitStack() as stack:
            self._store = stack.enter_context(build.open_store_as_owner(self._settings))
            daemon = DaemonLock(build.state_dir(self._settings)).holder()
            if daemon is not None:
                os.kill(daemon, signal.SIGUSR1)
                return self._wait_for(lambda: self._store.count() == 0, timeout_s)
            self._sender = self._build_sender(role="outbox")
            stack.callback(self._sender.stop)
            self._sender.start()
            return self._wait_for(self._sender.drained, timeout_s)

    def _open(self, stack: ExitStack) -> None:
        """Open what outlives a request, in the order of the way back: the last opened is closed first."""
        lock = DaemonLock(build.state_dir(self._settings))
        stack.callback(lock.release)
        self._store = stack.enter_context(build.open_store_as_owner(self._settings, report=self._on_store_event))
        lock.take(LOCK_TIMEOUT_S)
        self._sender = self._build_sender()
        stack.callback(self._sender.stop)
        self._events.publish = self._sender.event
        self._seen_change = self._store.change_counter()
        self._show_review()
        for concern in state_disk.concerns(build.state_dir(self._settings)):
            self._events("state-folder", concern, level=logging.WARNING)

    def _build_sender(self, role: str = "") -> Sender:
        self._threads["sender"] = sender = Sender(
            self._store,
            build.link_settings(self._settings, role=role),
            build.build_envelope(self._settings),
            on_command=self._obey,
            on_event=self._on_sender_event,
        )
        return sender

    def _open_microphone(self, stack: ExitStack) -> None:
        """Open it while the models are loaded: PortAudio takes as long as they do; what is heard meanwhile waits."""
        from device.edges.microphone import Microphone

        wanted = self._settings.microphone
        muted = self._store.muted().muted
        self._microphone = Microphone(wanted.name, wanted.channel, muted=muted, on_state=self._on_microphone)
        self._microphone.start()
        stack.callback(self._microphone.close)

    def _read(self, path: Path) -> Recording:
        from device.edges.wav import Recording

        return Recording(path, self._settings.microphone.channel)

    def _catch_signals(self) -> None:
        def stop() -> None:
            self._stopping = True
            self._wake_up.set()

        def resend(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            self._resend = True
            self._wake_up.set()

        signals.stop_in_order(stop)
        signal.signal(signal.SIGUSR1, resend)

    def _supervise(self) -> None:
        """Watch the threads, other processes' changes and the time, until it is time to stop."""
        interval_s = systemd.watchdog_interval_s()
        fed_at = 0.0
        while not self._stopping and not self._listener.finished.is_set():
            self._wake_up.wait(TICK_S)
            self._wake_up.clear()
            self._raise_failures()
            if self._resend:
                self._resend = False
                self._sender.notify()
            self._see_changes()
            self._recorder.retry()
            now = time.monotonic()
            if now - self._housekept_at >= HOUSEKEEPING_S:
                self._housekept_at = now
                self._keep_house()
            if interval_s and now - fed_at >= interval_s / 4 and self._hears():
                fed_at = now
                systemd.notify("WATCHDOG=1")
        self._raise_failures()

    def _raise_failures(self) -> None:
        for name, thread in self._threads.items():
            failure = thread.failure
            if isinstance(failure, RecorderError):
                raise failure
            if failure is not None:
                logging.getLogger("wakeword-recorder").error("the %s failed", name, exc_info=failure)
                raise RecorderError(f"the {name} failed: {failure!r}", hint="this is a mistake of the program")

    def _hears(self) -> bool:
        """Whether frames advanced since the watchdog was last fed, or the microphone is muted on purpose."""
        if self._microphone is None or self._microphone.state.name == "muted":
            return True
        advanced = self._microphone.blocks_delivered > self._blocks_fed
        self._blocks_fed = self._microphone.blocks_delivered
        return advanced

    def _see_changes(self) -> None:
        """Act on what another process changed in the database."""
        change = self._store.change_counter()
        if change == self._seen_change:
            return
        self._seen_change = change
        self._show_review()
        self._sender.notify()
        if self._microphone is not None:
            muted = self._store.muted().muted
            if muted != (self._microphone.state.name == "muted"):
                (self._microphone.mute if muted else self._microphone.unmute)()

    def _keep_house(self) -> None:
        say_dropped(self._events, self._store.expire())
        corrected = self._store.correct_times()
        if corrected:
            self._events(
                "clock-set", f"the clock was set: corrected the times of {corrected} requests", count=corrected
            )

    def _drain(self, timeout_s: float) -> int:
        """Wait until all is sent; what is not is kept. An unreadable recording is a failure all the same."""
        status = self._wait_for(lambda: self._recorder.retry() and self._sender.drained(), timeout_s)
        return 1 if self._listener.unreadable else status

    def _wait_for(self, done: Callable[[], bool], timeout_s: float) -> int:
        deadline = time.monotonic() + timeout_s
        while not done():
            if self._stopping or time.monotonic() > deadline:
                waiting = self._store.count()
                message = f"{waiting} waiting for {self._settings.mqtt.host}; kept for the next run"
                self._events("kept", message, level=logging.WARNING, count=waiting)
                return STATUS_UNAVAILABLE
            self._wake_up.wait(DRAIN_TICK_S)
            self._wake_up.clear()
            self._raise_failures()
        return 0

    def _obey(self, command: Command) -> None:
        """Carry out a remote command; the sender lets only those through that the configuration allows."""
        if command is Command.MUTE:
            self._store.set_muted(True)
        else:
            self._store.choose(command is Command.OPT_OUT)
        self._events("command", f"obeyed over MQTT: {command.value}", command=command.value)
        self._wake_up.set()

    def _show_review(self) -> None:
        self._sender.set_state("review", msgspec.json.encode(self._store.review()))

    def _on_microphone(self, state: MicrophoneState) -> None:
        since = state.since.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        published = {"state": state.name, "since": since} | ({"reason": state.reason} if state.reason else {})
        self._sender.set_state("microphone", msgspec.json.encode(published))
        level = logging.WARNING if state.name == "lost" else logging.INFO
        reason = f": {state.reason}" if state.reason else ""
        self._events(f"microphone-{state.name}", f"microphone {state.name}{reason}", level=level, reason=state.reason)

    def _on_store_event(self, event: StoreEvent) -> None:
        self._events(event.event, event.message, level=logging.ERROR, **event.fields)

    def _on_sender_event(self, event: str, **fields: object) -> None:
        facts = {key: value for key, value in fields.items() if key != "problem"}
        told = [str(fields["problem"])] if "problem" in fields else []
        told += [", ".join(f"{key} {value}" for key, value in facts.items())] if facts else []
        level = logging.getLevelNamesMapping()[EVENTS[event].upper()]
        self._events(event, f"{event.replace('-', ' ')}: {'; '.join(told)}", level=level, **fields)
