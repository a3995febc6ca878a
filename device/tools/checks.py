"""What `check` tries, each part for real; every row says what is so and, where it is wrong, what to do."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from device import build
from device.edges import state_disk
from device.edges.lock import DaemonLock
from device.errors import MicrophoneUnavailableError, RecorderError, StateFolderError
from device.hearing.frames import RATE_HZ
from device.hearing.sound import SILENT_DBFS, Sound
from device.hearing.tuning import UNCHANGED
from device.tools.check_broker import check_broker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from device.config.settings import Settings
    from device.edges.microphone import StreamFormat
    from device.edges.store import Store
    from device.hearing.tuning import Tuning

LISTEN_S = 1.0
MICROPHONE_S = 10.0  # how long opening it and listening may take


@dataclass(frozen=True, slots=True)
class Row:
    """One part's result: its name, whether it works, and what was found; ``status`` is what its failure ends with."""

    name: str
    ok: bool
    found: str
    status: int = 0


def run(settings: Settings) -> Iterator[Row]:
    """Try everything that `run` needs, one after the other, whatever fails on the way."""
    yield Row("configuration", ok=True, found=str(settings.path or "the built-in defaults"))
    try:
        store = build.open_store(settings)
    except RecorderError as error:
        yield Row("state folder", ok=False, found=str(error), status=error.exit_status)
        return  # without it nobody knows whether the microphone may be opened
    with store:
        daemon = DaemonLock(build.state_dir(settings)).holder()
        yield _row("state folder", partial(_state, settings, store, daemon))
        yield _row("models", partial(_models, settings, store))
        yield _row("microphone", partial(_microphone, settings, store, running=daemon is not None))
        yield _row("broker", partial(check_broker, settings, running=daemon is not None))
        yield _row("clock", _clock)
        if settings.hooks.commands:
            yield _row("hooks", partial(_hooks, settings))
        yield _row("review", partial(_review, store))
        if settings.review.sign:
            yield _row("signature", partial(_signature, settings))


def _row(name: str, test: Callable[[], str]) -> Row:
    try:
        return Row(name, ok=True, found=test())
    except RecorderError as error:
        return Row(name, ok=False, found=str(error).replace("\n", "; "), status=error.exit_status)


def _state(settings: Settings, store: Store, daemon: str | None) -> str:
    if concerns := state_disk.concerns(build.state_dir(settings)):
        raise StateFolderError("; ".join(concerns))
    running = f", in use by the daemon ({daemon})" if daemon is not None else ""
    damaged = "".join(f"; warning: {file}, see `wakeword-recorder outbox list`" for file in store.damaged())
    return f"{build.state_dir(settings)}, {store.count()} waiting for the broker{running}{damaged}"


def _models(settings: Settings, store: Store) -> str:
    began = time.monotonic()
    scorer = build.build_scorer(settings)
    loaded_s = time.monotonic() - began
    tuning = build.tuning_that_counts(settings, store)
    return f"{', '.join(scorer.words)} ({settings.wake.engine} engine, loaded in {loaded_s:.2f} s)" + (
        "" if tuning == UNCHANGED else f"; {_said(tuning)}, over MQTT; `wakeword-recorder wake reset` undoes it"
    )


def _said(tuning: Tuning) -> str:
    said = [f"only {tuning.word} is listened for"] if tuning.word else []
    said += [f"the threshold of {word} is {score:g}" for word, score in tuning.thresholds.items()]
    return ", ".join(said)


def _microphone(settings: Settings, store: Store, *, running: bool) -> str:
    """Open the microphone and listen for a second; a muted one stays closed."""
    if store.muted().muted:
        return "muted, so it was not opened; `wakeword-recorder microphone unmute` opens it"
    try:
        return _heard(settings)
    except MicrophoneUnavailableError:
        if running:
            return "not tried: the running daemon holds it, or its log says why it does not"
        raise


def _heard(settings: Settings) -> str:
    """Listen for a second and say what was heard.

    Raises:
        MicrophoneUnavailableError: there is no such microphone, or nobody could be heard by it.
    """
    from device.edges.microphone import Block, Microphone

    wanted = settings.microphone
    sound, heard = Sound(), 0
    deadline = time.monotonic() + MICROPHONE_S
    with Microphone(wanted.name, wanted.channel, once=True) as microphone:
        while heard < LISTEN_S * RATE_HZ:
            match microphone.read(0.1):
                case Block(samples):
                    sound.add(samples)
                    heard += len(samples)
            if time.monotonic() > deadline:
                raise MicrophoneUnavailableError("the microphone gives no samples")
        state, opened = microphone.state, microphone.stream_format
        assert opened is not None  # noqa: S101 - it gave samples
    if state.name == "lost":
        raise MicrophoneUnavailableError(state.reason)
    level = sound.level_dbfs()
    if level < SILENT_DBFS:
        raise MicrophoneUnavailableError(
            f'"{opened.device}" gives only silence{" (digital silence)" * math.isinf(level)}',
            hint="is it muted by a switch or in alsamixer, or is it another channel ([microphone] channel)? "
            "a headset that lets only speech through must hear some",
        )
    warnings = "".join(f"; warning: {line}" for line in [*microphone.warnings, *sound.remarks()])
    name = microphone.source_name.removeprefix("mic:")
    return f"{name}{_form(opened)}, level {level:.0f} dBFS{warnings}"


def _form(opened: StreamFormat) -> str:
    source = f' ("{opened.source}")' if opened.source else ""
    return f"{source}, {opened.rate_hz} Hz, {opened.channels} channel{'s' * (opened.channels > 1)}"


def _hooks(settings: Settings) -> str:
    """Look whether the hooks' programs are there; what they do only a person can judge."""
    import shutil

    commands = settings.hooks.commands
    missing = [f"{hook}: {command[0]}" for hook, command in commands.items() if shutil.which(command[0]) is None]
    if missing:
        raise RecorderError(f"no such program: {', '.join(missing)}", hint="install it, or write its whole path")
    return ", ".join(f"{hook}: {command[0]}" for hook, command in commands.items())


def _clock() -> str:
    from device.edges.clock import SystemClock
    from device.message.timestamps import rfc3339

    now = SystemClock().now()
    synced = "synchronised" if now.synced else "not synchronised yet: requests say so, and are corrected once it is"
    return f"{rfc3339(now.wall_ns)}, {synced}"


def _signature(settings: Settings) -> str:
    return f"requests are signed; the public key, for `receive --key`: {(build.public_key(settings) or b'').decode()}"


def _review(store: Store) -> str:
    review = store.review()
    if review.choice == "unreadable":
        raise RecorderError(
            "the stored choice cannot be read, so requests are opted out", hint="choose: review opt-out"
        )
    return f"{'opted out' if review.opt_out else 'opted in'} ({review.choice}); this marks recordings, it stops none"
