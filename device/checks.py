"""What `check` tries, each part for real; every row says what is so and, where it is wrong, what to do."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from device import build
from device.core.frames import RATE_HZ
from device.core.reconnect import Trouble
from device.edges.lock import DaemonLock
from device.edges.mqtt import Answered, Connected, Connection, Lost, Wakeup
from device.errors import BrokerUnavailableError, MicrophoneUnavailableError, RecorderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from device.config import Settings
    from device.core.frames import Samples
    from device.core.reconnect import Protocol
    from device.edges.mqtt import LinkSettings
    from device.edges.store import Store

LISTEN_S = 1.0
ANSWER_S = 5.0
SILENT_DBFS = -90.0  # quieter than any microphone's own noise: a muted or dead input
NOBODY_SUBSCRIBED = 16


@dataclass(frozen=True, slots=True)
class Row:
    """One part's result: its name, whether it works, and what was found; ``status`` is what its failure ends with."""

    name: str
    ok: bool
    found: str
    status: int = 0


def run(settings: Settings, open_store: Callable[[Settings], Store]) -> Iterator[Row]:
    """Try everything that `run` needs, one after the other, whatever fails on the way."""
    yield Row("configuration", ok=True, found=str(settings.path or "the built-in defaults"))
    try:
        store = open_store(settings)
    except RecorderError as error:
        yield Row("state folder", ok=False, found=str(error), status=error.exit_status)
        return  # without it nobody knows whether the microphone may be opened
    with store:
        daemon = DaemonLock(build.state_dir(settings)).holder()
        yield _row("state folder", partial(_state, settings, store, daemon))
        yield _row("models", partial(_models, settings))
        yield _row("microphone", partial(_microphone, settings, store, running=daemon is not None))
        yield _row("broker", partial(_broker, settings))
        yield _row("clock", _clock)
        yield _row("review", partial(_review, store))


def _row(name: str, test: Callable[[], str]) -> Row:
    try:
        return Row(name, ok=True, found=test())
    except RecorderError as error:
        return Row(name, ok=False, found=str(error).replace("\n", "; "), status=error.exit_status)


def _state(settings: Settings, store: Store, daemon: int | None) -> str:
    running = f", in use by the daemon (process {daemon})" if daemon is not None else ""
    return f"{build.state_dir(settings)}, {store.count()} waiting for the broker{running}"


def _models(settings: Settings) -> str:
    began = time.monotonic()
    scorer = build.build_scorer(settings)
    loaded_s = time.monotonic() - began
    return f"{', '.join(scorer.words)} ({settings.wake.engine} engine, loaded in {loaded_s:.2f} s)"


def _microphone(settings: Settings, store: Store, *, running: bool) -> str:
    """Open the microphone and listen for a second; a muted one stays closed."""
    if store.muted().muted:
        return "muted, so it was not opened; `wakeword-recorder microphone unmute` opens it"
    from device.edges.microphone import Block, Microphone

    wanted = settings.microphone
    lost: list[str] = []
    blocks: list[Samples] = []
    deadline = time.monotonic() + 2 * ANSWER_S
    with Microphone(
        wanted.name, wanted.channel, on_state=lambda state: lost.append(state.reason) if state.name == "lost" else None
    ) as microphone:
        while sum(map(len, blocks)) < LISTEN_S * RATE_HZ:
            match microphone.read(0.1):
                case Block(samples):
                    blocks.append(samples)
            if lost or time.monotonic() > deadline:
                if running:
                    return "not tried: the running daemon holds it, or its log says why it does not"
                raise MicrophoneUnavailableError(lost[0] if lost else "the microphone gives no samples")
        opened = microphone.stream_format
    audio = np.concatenate(blocks).astype(np.float64)
    level = 20 * math.log10(max(float(np.sqrt(np.mean(audio**2))), 1e-3) / 32768)
    if level < SILENT_DBFS:
        raise MicrophoneUnavailableError(
            f"{opened.device if opened else ''} gives only silence ({level:.0f} dBFS)",
            hint="is it muted by a switch or in alsamixer, or is it another channel ([microphone] channel)?",
        )
    form = f", {opened.rate_hz} Hz, {opened.channels} channel{'s' * (opened.channels > 1)}" if opened else ""
    return f"{microphone.source_name.removeprefix('mic:')}{form}, level {level:.0f} dBFS"


def _broker(settings: Settings) -> str:
    """Connect, publish, and wait for the acknowledgement."""
    link = build.link_settings(settings, role="check")
    protocols: tuple[Protocol, ...] = ("5", "3.1.1") if link.protocol == "auto" else (link.protocol,)
    for protocol in protocols:
        answer = _exchange(link, protocol)
        if isinstance(answer, Answered):
            return _told(link, protocol, answer)
        if answer.trouble not in (Trouble.VERSION, Trouble.CLOSED) or protocol == protocols[-1]:
            raise BrokerUnavailableError(answer.problem, hint=answer.hint)
    raise AssertionError("there is always a protocol to try")


def _told(link: LinkSettings, protocol: Protocol, answer: Answered) -> str:
    topic = f"{link.base_topic}/event"
    if answer.reason not in (0, NOBODY_SUBSCRIBED):
        raise BrokerUnavailableError(
            f"{link.address} refused a message on {topic}: {answer.text.lower()}",
            hint="its access list must let this login write there",
        )
    if protocol == "5":
        return f"{link.address}, MQTT 5, published and acknowledged"
    return (
        f"{link.address}, MQTT 3.1.1, published and acknowledged; warning: in 3.1.1 a broker cannot say that it dropped"
        " or refused a message"
    )


def _exchange(link: LinkSettings, protocol: Protocol) -> Answered | Lost:
    connection, wakeup = Connection(link, protocol), Wakeup()
    connection.open()
    deadline = time.monotonic() + ANSWER_S
    try:
        while (left_s := deadline - time.monotonic()) > 0:
            for happening in connection.take():
                if isinstance(happening, Connected):
                    connection.publish(f"{link.base_topic}/event", b'{"event":"check"}', qos=1)
                elif isinstance(happening, Answered | Lost):
                    return happening
            connection.step(left_s, wakeup)
    finally:
        connection.close(say_goodbye=True)
        wakeup.close()
    return Lost(Trouble.OTHER, f"{link.address} did not answer within {ANSWER_S:g} s", "is it an MQTT port?")


def _clock() -> str:
    from device.core.moment import rfc3339
    from device.edges.clock import SystemClock

    now = SystemClock().now()
    synced = "synchronised" if now.synced else "not synchronised yet: requests say so, and are corrected once it is"
    return f"{rfc3339(now.wall_ns)}, {synced}"


def _review(store: Store) -> str:
    review = store.review()
    if review.choice == "unreadable":
        raise RecorderError(
            "the stored choice cannot be read, so requests are opted out", hint="choose: review opt-out"
        )
    return f"{'opted out' if review.opt_out else 'opted in'} ({review.choice}); this marks recordings, it stops none"
