"""The composition root of the daemon: builds and starts everything in order, and stops it in the reverse order."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

import msgspec

from device import __version__, build, signals
from device.daemon.control import Control
from device.daemon.execute import execute
from device.daemon.listener import Listener
from device.daemon.masking import Masking
from device.daemon.recorder import Recorder
from device.daemon.sender import EVENTS, Sender
from device.daemon.storekeeper import StoreKeeper
from device.daemon.supervisor import Supervisor, Watchdog
from device.edges import memory, state_disk, systemd
from device.edges.clock import SystemClock
from device.edges.lock import DaemonLock
from device.errors import MicrophoneUnavailableError, StoreError
from device.events import Events, say_sender, say_store
from device.hearing.pipeline import Pipeline
from device.hearing.sound import SILENT_DBFS, level_dbfs
from device.hearing.tuning import listens_for
from device.message.commands import LEVELS, WAKE
from device.message.states import MicrophoneShown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from device.config.settings import Settings
    from device.daemon.home_assistant import HomeAssistant
    from device.daemon.listener import Ask
    from device.daemon.tuner import Tuner
    from device.edges.microphone import Microphone, MicrophoneState
    from device.edges.mqtt import LinkSettings
    from device.edges.store import Store
    from device.edges.wav import AudioFile
    from device.hearing.wake import WakeScorer
    from device.message.commands import Command
    from device.message.review import ReviewState

DRAIN_TICK_S = 0.02
STORE_S = 2.0  # a request on its way to the disk is soon there, and counted once
LOCK_TIMEOUT_S = 5.0
STATUS_UNAVAILABLE = 69


class App:
    """The daemon.

    Threads: the main thread supervises and feeds the watchdog; the listener's runs the pipeline and hands requests
    over; the storekeeper's has the database to itself but for the sender's, which owns the MQTT client; the microphone
    has one of its own. An exception in any of them ends the process with a status other than 0.

    Args:
        settings: the configuration.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._events = Events()
        self._supervisor = Supervisor()
        self._asked: SimpleQueue[Ask] = SimpleQueue()
        self._masking = Masking()
        self._interrupt: Callable[[], None] = lambda: None
        self._home: HomeAssistant | None = None
        self._tuner: Tuner | None = None

    def run(self, inputs: Sequence[Path] = (), *, realtime: bool = True, drain_timeout_s: float = 30.0) -> int:
        """Listen until stopped, or until the inputs are read and sent; return the exit status.

        Args:
            inputs: recordings to hear instead of the microphone.
            realtime: the recordings come at a microphone's pace; else as fast as can be.
            drain_timeout_s: how long to wait for the broker after the last recording.

        Raises:
            RecorderError: it could not start, or a thread failed.
        """
        supervisor = self._supervisor
        signals.stop_in_order(supervisor.stop)
        with ExitStack() as stack:
            store, sender = self._open(stack)
            microphone = None if inputs else self._open_microphone(stack, store, sender)
            self._masking.mark = microphone.mark if microphone else self._ask
            self._start_control(stack, microphone)
            memory.release_code()  # before the models' library, which is the largest
            scorer = build.build_scorer(self._settings)
            recorder = Recorder(store, self._settings.device.id, self._events, sender.notify)
            keeper = self._build_keeper(store, recorder, sender, microphone)
            stack.callback(keeper.stop)
            listener = self._build_listener(scorer, recorder)
            stack.callback(listener.stop)
            keeper.start()
            sender.start()
            self._say_started(scorer.words)
            if microphone is None:
                listener.start(partial(listener.recordings, inputs, self._read, realtime=realtime))
            else:
                # Stopped before the microphone is closed: the end of an open request is the shutdown, not a loss.
                listener.start(partial(listener.microphone, microphone))
            systemd.notify("READY=1")
            memory.release_code()  # what only the start needed
            supervisor.wait_until(listener.worker.ended.is_set, meanwhile=Watchdog(microphone).feed)
            systemd.notify("STOPPING=1")
            if inputs and not supervisor.stopping:
                status = self._drain(store, recorder, sender, drain_timeout_s)
                return 1 if listener.unreadable else status
        return 0

    def _start_hooks(self, stack: ExitStack) -> None:
        """Have the user's programs run from now on, if there are any."""
        commands = {hook: its for hook, its in self._settings.hooks.commands.items() if hook != "on_answer"}
        if not commands:
            return
        hooks = build.start_hooks(self._settings, commands, self._events, mask=self._masking.sound)
        for worker in hooks.workers:
            self._supervisor.watch(worker)
        stack.callback(hooks.close)
        self._events.hook = hooks.take

    def _start_control(self, stack: ExitStack, microphone: Microphone | None) -> None:
        """Let programs on this machine ask for something at once; without that, everything else goes on.

        A button may be pressed while the models are loaded: it waits among what is heard meanwhile.
        """
        press = partial(_press, microphone, self._asked)
        control = Control(
            build.state_dir(self._settings), press=press, masking=self._masking, status=partial(_status, microphone)
        )
        try:
            control.start()
        except OSError as error:
            problem = f"`wakeword-recorder listen` will not work: {build.state_dir(self._settings)}: {error.strerror}"
            self._events("control-unavailable", problem, level=logging.WARNING)
            return
        self._interrupt = control.interrupt
        self._supervisor.watch(control.worker)
        stack.callback(control.stop)

    def _say_started(self, words: Sequence[str]) -> None:
        if self._tuner and self._tuner.tuning:
            words = [word for word in words if listens_for(self._tuner.tuning, word)]
        message = f"wakeword-recorder {__version__} listens for {', '.join(words)}"
        self._events("started", message, version=__version__, words=list(words))

    def _drain(self, store: Store, recorder: Recorder, sender: Sender, timeout_s: float) -> int:
        """Wait until all is stored and sent; return the exit status."""
        sent = self._supervisor.wait_until(
            lambda: not recorder.held and sender.drained(), timeout_s=timeout_s, tick_s=DRAIN_TICK_S
        )
        if not sent:
            self._supervisor.wait_until(lambda: not recorder.held, timeout_s=STORE_S, tick_s=DRAIN_TICK_S)
        return 0 if sent else say_kept(self._events, store, self._settings.mqtt.host, held=recorder.held)

    def _open(self, stack: ExitStack) -> tuple[Store, Sender]:
        """Open what outlives a request, in the order of the way back: the last opened is closed first."""
        self._start_hooks(stack)
        lock = DaemonLock(build.state_dir(self._settings))
        stack.callback(lock.release)
        store = build.open_store(self._settings, report=partial(say_store, self._events), keep_trying=True)
        stack.enter_context(store)
        lock.take(LOCK_TIMEOUT_S)
        for concern in state_disk.concerns(build.state_dir(self._settings)):
            self._events("state-folder", concern, level=logging.WARNING)
        link = build.link_settings(self._settings)
        sender = Sender(
            store,
            link,
            build.build_envelope(self._settings),
            on_command=partial(self._execute, store, link),
            on_event=partial(say_sender, self._events, EVENTS),
        )
        if self._settings.wake.allow_remote_changes:
            self._tune(store, sender)
        if self._settings.homeassistant.discovery:
            self._tell_home_assistant(store, sender)
        self._supervisor.watch(sender.worker)
        stack.callback(sender.stop)
        self._events.publish = sender.event
        _publish_review(sender, store.review_state())
        if key := build.public_key(self._settings):
            sender.set_state("key", key)
        return store, sender

    def _tune(self, store: Store, sender: Sender) -> None:
        """Have what was, and will be, changed over MQTT of the wake words count."""
        from device.daemon.tuner import Tuner  # most devices let nobody

        self._tuner = Tuner(
            build.configured_thresholds(self._settings),
            partial(build.tuning_that_counts, self._settings, store),
            partial(build.retuning, self._settings),
            sender,
            self._events,
        )
        self._tuner.look()

    def _tell_home_assistant(self, store: Store, sender: Sender) -> None:
        """Have Home Assistant told of this device, and how it is."""
        from device.daemon.home_assistant import HomeAssistant  # most devices tell nobody
        from device.message import discovery

        self._home = HomeAssistant(sender, store, SystemClock())
        self._events.note = self._home.note
        recorder = build.recorder(self._settings)
        topic = discovery.topic(self._settings.homeassistant.prefix, recorder.topic_prefix, recorder.id)
        sender.set_topic(topic, discovery.discovery(recorder))

    def _execute(self, store: Store, link: LinkSettings, command: Command) -> None:
        """Carry out a command, in the sender's thread."""
        if self._home is not None and command.level not in (*LEVELS, WAKE):
            self._home.execute(command.action)
        else:
            execute(store, self._events, link, command)

    def _open_microphone(self, stack: ExitStack, store: Store, sender: Sender) -> Microphone:
        """Open it while the models are loaded: PortAudio takes as long as they do; what is heard meanwhile waits."""
        from device.edges.microphone import Microphone

        wanted = self._settings.microphone
        muted = store.muted().muted
        microphone = Microphone(wanted.name, wanted.channel, muted=muted, on_state=partial(self._on_microphone, sender))
        microphone.start()
        stack.callback(microphone.close)
        return microphone

    def _build_keeper(
        self, store: Store, recorder: Recorder, sender: Sender, microphone: Microphone | None
    ) -> StoreKeeper:
        keeper = StoreKeeper(
            store, recorder, sender, self._events, microphone,
            publish_review=partial(_publish_review, sender),
            on_change=self._tuner.look if self._tuner else lambda: None,
            look=self._home.look if self._home else lambda: None,
        )  # fmt: skip
        self._supervisor.watch(keeper.worker)
        return keeper

    def _build_listener(self, scorer: WakeScorer, recorder: Recorder) -> Listener:
        gate = build.build_gate() if self._settings.wake.gate else None
        pipeline = build.build_pipeline(self._settings, scorer, gate)
        listener = Listener(pipeline, recorder, self._events, self._asked, due=self._due, on_wake=self._interrupt)
        self._supervisor.watch(listener.worker)
        return listener

    def _due(self) -> list[Ask]:
        return [*self._masking.due(), *(self._tuner.due() if self._tuner else ())]

    def _ask(self, action: Ask) -> bool:
        self._asked.put(action)
        return True

    def _read(self, path: Path) -> AudioFile:
        from device.edges.wav import AudioFile

        return AudioFile(path, self._settings.microphone.channel)

    def _on_microphone(self, sender: Sender, state: MicrophoneState) -> None:
        since = state.since.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        shown = MicrophoneShown(state=state.name, since=since, reason=state.reason)
        sender.set_state("microphone", msgspec.json.encode(shown))
        level = logging.WARNING if state.name == "lost" else logging.INFO
        reason = f": {state.reason}" if state.reason else ""
        self._events(f"microphone-{state.name}", f"microphone {state.name}{reason}", level=level, reason=state.reason)


def _press(microphone: Microphone | None, asked: SimpleQueue[Ask]) -> None:
    """Have a request listened to now.

    Raises:
        MicrophoneUnavailableError: the microphone is muted or lost.
    """
    if microphone is None:
        asked.put(Pipeline.press)
    elif not microphone.mark(Pipeline.press):
        if microphone.state.name == "muted":
            raise MicrophoneUnavailableError("the microphone is muted", hint="`wakeword-recorder microphone unmute`")
        raise MicrophoneUnavailableError(f"the microphone is not heard: {microphone.state.reason or 'not open yet'}")


def _status(microphone: Microphone | None) -> dict[str, object]:
    """Return how the microphone is; recordings in its place are listened to, too."""
    if microphone is None:
        return {"microphone": "listening", "reason": "", "level_dbfs": None}
    state = microphone.state
    heard = microphone.heard if state.name == "listening" else None
    level = None if heard is None else round(max(level_dbfs(heard), SILENT_DBFS), 1)
    return {"microphone": state.name, "reason": state.reason, "level_dbfs": level}


def say_kept(events: Events, store: Store, host: str, *, held: int = 0, why: str = "") -> int:
    """Say how many requests are kept for another time, if any; return the exit status for it.

    Args:
        events: says it.
        store: has them.
        host: the broker's.
        held: how many more are in memory, since the disk does not take them.
        why: what keeps them.
    """
    try:
        waiting: int | None = store.count() + held
    except StoreError:
        waiting = None
    if waiting == 0:
        return 0
    message = f"{'some' if waiting is None else waiting} waiting for {host}; kept for the next run"
    events("kept", message + (f": {why}" if why else ""), level=logging.WARNING, count=waiting)
    return STATUS_UNAVAILABLE


def _publish_review(sender: Sender, review: ReviewState) -> None:
    sender.set_state("review", msgspec.json.encode(review))
