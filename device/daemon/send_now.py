"""``outbox send``: have the running daemon send what waits, or do it here where none runs."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from device import build, signals
from device.daemon.app import STATUS_UNAVAILABLE, say_kept
from device.daemon.sender import EVENTS, Sender
from device.daemon.supervisor import Supervisor
from device.edges.lock import DaemonLock
from device.events import Events, say_sender

if TYPE_CHECKING:
    from device.config.settings import Settings
    from device.edges.mqtt import LinkSettings
    from device.edges.store import Store

TICK_S = 0.05


def send(settings: Settings, timeout_s: float) -> int:
    """Send what waits, saying what is waited for; return the exit status.

    Args:
        settings: the configuration.
        timeout_s: how long that may take.

    Raises:
        RecorderError: it could not start, or the sender failed.
    """
    supervisor, events = Supervisor(), Events()
    signals.stop_in_order(supervisor.stop)
    deadline = time.monotonic() + timeout_s
    with ExitStack() as stack:
        store = stack.enter_context(build.open_store(settings))
        lock = DaemonLock(build.state_dir(settings))
        if daemon := lock.holder():
            _say(events, store, settings, f"the running daemon ({daemon}) is asked to send them")
            store.ask_to_send()
            supervisor.wait_until(lambda: not _waits(store) or not lock.holder(), timeout_s=timeout_s, tick_s=TICK_S)
            if not _waits(store):
                return 0
        if not lock.holder() and not supervisor.stopping:
            link = build.link_settings(settings, role="outbox")
            _say(events, store, settings, "connecting" if _waits(store) else "nothing to send")
            if _waits(store):
                sender = _start_sender(stack, supervisor, store, settings, link, events)
                left_s = deadline - time.monotonic()
                supervisor.wait_until(partial(_all_sent, store, sender), timeout_s=left_s, tick_s=TICK_S)
        status = say_kept(events, store, settings.mqtt.host, why=_last_problem(store))
        return status or (STATUS_UNAVAILABLE if _waits(store) else 0)


def _waits(store: Store) -> bool:
    """Whether a request waits for the broker, or an erasure notice."""
    return bool(store.count() or store.history.to_erase())


def _say(events: Events, store: Store, settings: Settings, what: str) -> None:
    waiting, mqtt = store.count(), settings.mqtt
    message = f"{waiting} waiting for {mqtt.host}:{mqtt.broker_port}: {what}"
    events("sending", message, count=waiting)


def _start_sender(
    stack: ExitStack, supervisor: Supervisor, store: Store, settings: Settings, link: LinkSettings, events: Events
) -> Sender:
    sender = Sender(
        store,
        link,
        build.build_envelope(settings),
        on_command=lambda _: None,  # it subscribes to none
        on_event=partial(say_sender, events, EVENTS),
    )
    supervisor.watch(sender.worker)
    stack.callback(sender.stop)
    sender.start()
    return sender


def _all_sent(store: Store, sender: Sender) -> bool:
    """Whether nothing waits, nor has been saved from a damaged database meanwhile, since sending made room."""
    if not sender.drained():
        return False
    if store.count():
        sender.notify()
        return False
    return True


def _last_problem(store: Store) -> str:
    problems = [each.problem for each in store.waiting() if each.problem]
    return problems[0] if problems else ""
