"""The sender: one thread that owns everything of MQTT, from connecting to the last acknowledgement."""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from device.daemon.erasures import ErasurePublisher
from device.daemon.publisher import RequestPublisher
from device.daemon.remote import RemoteCommands
from device.daemon.states import States
from device.daemon.worker import Worker
from device.edges.mqtt import Answered, Arrived, Interrupt, Lost, NotConnectedError, Subscribed, connect
from device.errors import ConfigurationError
from device.sending.reconnect import Reconnect, Trouble
from device.sending.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.edges.mqtt import Connection, Incoming, LinkSettings
    from device.edges.store import Store
    from device.message.commands import Command
    from device.message.envelope import Message
    from device.message.tag import Tag

TICK_S = 1.0  # how often a connection is looked after
EVENTS_HELD = 64  # events wait only while the thread is busy; then the oldest go

EVENTS = {
    "broker-connected": "info",
    "broker-unavailable": "warning",
    "broker-lost": "warning",
    "id-taken": "error",
    "broker-cannot-tell": "warning",
    "broker-misreports": "warning",
    "sent": "info",
    "not-sent": "warning",
    "set-aside": "warning",
    "dropped": "warning",
    "erasure-sent": "info",
    "erasure-waits": "warning",
    "state-refused": "warning",
    "states-not-kept": "warning",
    "commands-refused": "warning",
    "commands-unheard": "warning",
    "command-ignored": "warning",
    "command-failed": "error",
    "store-busy": "error",
}
"""What ``on_event`` may be called with, and how grave it is."""


class Sender:
    """Publishes what waits in the outbox, and the device's states; hands on commands.

    Its public methods may be called by any thread. ``on_command`` and ``on_event`` are called in the sender's own
    thread, ``on_event`` never within a database transaction. The thread begins in ``start`` and ends by ``stop``.

    Args:
        outbox: used by the sender's thread only.
        link: the broker and how to publish.
        envelope: makes the message of a request.
        on_command: executes a remote command.
        on_event: takes an event's name, one of ``EVENTS``, and its fields.

    Attributes:
        worker: its thread.
    """

    def __init__(
        self,
        outbox: Store,
        link: LinkSettings,
        envelope: Callable[[Tag, bytes], Message],
        on_command: Callable[[Command], None],
        on_event: Callable[..., None],
    ) -> None:
        self._link = link
        self._on_event = on_event
        self._requests = RequestPublisher(outbox, link, envelope, self._report)
        self._erasures = ErasurePublisher(outbox.history, link, self._report)
        self._commands = RemoteCommands(link, on_command, self._report)
        self._states = States(link.status_topic, self._report)
        self._reconnect = Reconnect(link.protocol)
        self._repeats = Repeats()
        self.worker = Worker("sender", self._send)
        self._interrupt = Interrupt()

        self._lock = threading.Lock()  # guards what follows: written by any thread, read by the sender's
        self._events: deque[bytes] = deque(maxlen=EVENTS_HELD)
        self._outbox_changed = True  # something was stored or changed since the outbox was looked at
        self._at_once = False  # somebody asked to send now
        self._stop_at = math.inf

        # The connection's own state; the sender's thread only.
        self._connection: Connection | None = None
        self._connected = False
        self._lost: Lost | None = None
        self._began_at = 0.0
        self._leaving = False  # nobody may ask for anything any more
        self._trouble_reported = True  # so that a broker that only ever accepts is not reported each time
        self._confirmed_bytes = 0  # that the other side's machine had, when it was looked last
        self._progress_at = 0.0  # when these were last seen to grow, or nothing was under way

    # For any thread.

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the connection and it is in use."""
        return self._connected

    def start(self) -> None:
        """Begin to connect and to send."""
        self.worker.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Let what is under way be acknowledged, say that the device is offline, and end the thread.

        Args:
            timeout_s: how long that may take; then the connection is cut, and the broker publishes the last will.

        Returns:
            Whether the thread has ended; it cannot while the system looks up the broker's name.
        """
        with self._lock:
            self._stop_at = time.monotonic() + timeout_s
        self._interrupt.set()
        if not self.worker.join_started(timeout_s + 1.0):
            return False
        self._interrupt.close()
        return True

    def notify(self) -> None:
        """Something was stored, or what waits has changed: look at once."""
        with self._lock:
            known, self._outbox_changed = self._outbox_changed, True
        if not known:
            self._interrupt.set()

    def send_now(self) -> None:
        """Send what waits now: connect without a pause, and try again what is waiting for its time."""
        with self._lock:
            self._at_once = self._outbox_changed = True
        self._interrupt.set()

    def drained(self) -> bool:
        """Say whether nothing waits and nothing is under way."""
        with self._lock:
            idle = self._requests.flight is None and self._erasures.idle
            return not self._outbox_changed and self._requests.empty and idle

    def set_state(self, level: str, payload: bytes) -> None:
        """Publish a retained state below the device's topic, now and with every new connection; the last value wins."""
        self.set_topic(f"{self._link.base_topic}/{level}", payload)

    def set_topic(self, topic: str, payload: bytes) -> None:
        """Publish a state elsewhere, likewise."""
        if self._states.set(topic, payload):
            self._interrupt.set()

    def tell_again(self) -> None:
        """Publish every state once more."""
        self._states.again()
        self._interrupt.set()

    def event(self, payload: bytes) -> None:
        """Publish an event once, unacknowledged; without a connection it is dropped."""
        if self._connected:
            with self._lock:
                self._events.append(payload)
            self._interrupt.set()

    # The sender's thread.

    def _send(self) -> None:
        try:
            while not self._stopping():
                pause_s = self._session()
                if pause_s:
                    self._pause(pause_s)
        finally:
            self._connected = False
            if self._connection is not None:  # closed already unless an error got us here
                self._connection.close(say_goodbye=False)

    def _stopping(self) -> bool:
        return self._stop_at < math.inf

    def _session(self) -> float:
        """Live through one connection, from opening to its end, and return the pause after it."""
        try:
            connection = connect(self._link, self._reconnect, interrupt=self._interrupt, stopping=self._stopping)
        except NotConnectedError as error:
            self._unavailable(str(error))
            return error.pause_s
        except ConfigurationError as error:
            self._unavailable(str(error))
            return self._reconnect.pause_s(Trouble.OTHER, random.random())  # noqa: S311 - no secret
        if connection is None:
            return 0.0
        self._begin(connection)
        self._serve(connection)
        return self._end(connection)

    def _begin(self, connection: Connection) -> None:
        link = self._link
        self._connection, self._lost = connection, None
        self._began_at = time.monotonic()
        self._confirmed_bytes = -1  # of another connection
        self._requests.connected(time.monotonic())
        self._erasures.changed()
        with self._lock:
            self._events.clear()
        self._connected = True
        self._repeats.over("broker-unavailable")
        if self._trouble_reported:
            self._trouble_reported = False
            self._report("broker-connected", host=link.host, port=link.port, protocol=connection.protocol)
        if connection.protocol != "5":
            problem = "with MQTT 3.1.1 a broker cannot say that it dropped a message; requests may be lost there unseen"
            self._report("broker-cannot-tell", repeats=("broker-cannot-tell",), problem=problem)
        if link.announce:
            self._states.begin(retain=self._reconnect.retain and connection.accepted.retains)
            self._commands.begin(connection, time.monotonic())

    def _serve(self, connection: Connection) -> None:
        """Use the connection until it is lost, or until the stop is done."""
        tick_at = 0.0
        while self._lost is None:
            now = time.monotonic()
            if now >= tick_at:
                tick_at = now + min(TICK_S, self._link.ack_timeout_s / 2)
                connection.keep_alive()
                self._check_progress(connection, now)
                self._requests.tick(connection, now)
                if self._link.announce:
                    self._commands.tick(connection, now)
            if self._stopping() and self._stopped(connection, now):
                return
            self._publish(connection, now)
            until = min(tick_at, self._stop_at, self._commands.next_at())
            if not self._under_way():
                until = min(until, self._requests.look_at, self._erasures.look_at)
            connection.step(max(0.0, until - now))
            for incoming in connection.take():
                self._handle(connection, incoming)
            self._commands.execute_due(connection, now)

    def _under_way(self) -> bool:
        flying = self._requests.flight is not None or self._erasures.flight is not None
        return flying or self._states.under_way

    def _publish(self, connection: Connection, now: float) -> None:
        """Put under way what is next: events, then one state, else one erasure notice, else one request."""
        with self._lock:
            events = list(self._events)
            self._events.clear()
            self._take_changes()
        for payload in events:
            connection.publish(self._link.event_topic, payload, qos=0)
        if self._under_way():
            return
        if not self._states.publish(connection) and not self._stopping() and not self._erasures.send(connection, now):
            self._requests.send(connection, now)
        if self._under_way():
            self._progress_at = now

    def _take_changes(self) -> None:
        """To be called with the lock held: else ``drained`` could miss what was stored in between."""
        if self._outbox_changed:
            self._outbox_changed = False
            self._requests.changed()
            self._erasures.changed()
        if self._at_once and self._connected:
            self._at_once = False
            self._requests.connected(time.monotonic())  # as then, everything is due

    def _handle(self, connection: Connection, incoming: Incoming) -> None:
        if isinstance(incoming, Lost):
            self._lost = incoming
        elif self._requests.take(connection, incoming, time.monotonic()):
            if isinstance(incoming, Answered) and incoming.reason == 0:
                self._reconnect.settled()
        elif isinstance(incoming, Answered):
            if not self._erasures.answered(incoming, time.monotonic()):
                self._states.answered(incoming)
        elif isinstance(incoming, Arrived):
            self._commands.arrived(incoming)
            connection.acknowledge(incoming)
        elif isinstance(incoming, Subscribed) and any(incoming.refused):
            problem = f"{self._link.address} refused the subscription to commands: {max(incoming.refused).lower()}"
            self._report("commands-refused", repeats=("commands-refused",), problem=problem)

    def _check_progress(self, connection: Connection, now: float) -> None:
        """Give a connection up on which nothing moves any more while something is under way.

        What the other side's machine confirms, without a word from the broker, is progress too: a long request on a
        slow link takes its time.
        """
        confirmed_bytes = connection.confirmed_bytes()
        if confirmed_bytes != self._confirmed_bytes or not (self._under_way() or connection.unsent()):
            self._confirmed_bytes, self._progress_at = confirmed_bytes, now
        elif now >= self._progress_at + self._link.ack_timeout_s:
            problem = f"{self._link.address}: no acknowledgement within {self._link.ack_timeout_s:g} s"
            self._lost = Lost(Trouble.OTHER, problem)

    def _stopped(self, connection: Connection, now: float) -> bool:
        """Say whether stopping is done; on the way, wait for what is under way, then publish ``offline``.

        Of ``offline`` no answer is awaited: what the broker's machine has it reads before the goodbye.
        """
        if now >= self._stop_at:
            return True
        if self._link.announce and not self._leaving:
            self._leaving = True
            self._commands.end(connection)
        if self._link.announce and self._states.left():
            return not connection.unsent()
        if self._under_way():
            return False
        if self._link.announce:
            self._states.leave()
        return not self._link.announce

    def _end(self, connection: Connection) -> float:
        """Leave a connection that is over, and return the pause before the next one.

        With nothing under way the connection is left in order; else the broker publishes the last will.
        """
        self._connected = False
        lost, busy = self._lost, self._under_way()
        problem = lost.problem if lost is not None else "stopped before the broker acknowledged it"
        left = self._states.left() if self._link.announce else not self._under_way()
        connection.close(say_goodbye=lost is None and left)
        self._commands.execute_rest()
        self._requests.lost(problem, time.monotonic())
        self._erasures.lost()
        self._reconnect.ended()
        if lost is None:
            return 0.0
        self._states.lost(lost.trouble)
        if lost.trouble is Trouble.OVERSIZE:
            self._commands.oversized(time.monotonic())
        # What was under way may be why it was cut.
        trouble = Trouble.OTHER if lost.trouble is Trouble.CUT and busy else lost.trouble
        lasted_s = time.monotonic() - self._began_at
        pause_s = self._reconnect.pause_s(trouble, random.random(), lasted_s)  # noqa: S311 - no secret
        self._say_lost(lost)
        return pause_s

    def _say_lost(self, lost: Lost) -> None:
        link = self._link
        if self._reconnect.taken:
            problem = (
                f"{link.address} ends each connection soon, as it does where another client has the same id,"
                f" {link.client_id}: is a second device configured like this one? Give each its own [device] id"
            )
            self._report("id-taken", repeats=("id-taken",), problem=problem)
        else:
            self._report("broker-lost", repeats=("broker-lost", lost.problem), problem=str(lost))

    def _pause(self, pause_s: float) -> None:
        """Wait before the next attempt, knowing meanwhile whether anything waits."""
        until = time.monotonic() + pause_s
        while not self._stopping():
            now = time.monotonic()
            with self._lock:
                self._take_changes()
                at_once, self._at_once = self._at_once, False
            if now >= self._requests.look_at:
                self._requests.look(now)
            self._erasures.look(now)
            if now >= until or at_once:
                return
            self._interrupt.wait(max(0.0, min(until, self._requests.look_at) - now))

    def _unavailable(self, problem: str) -> None:
        self._report("broker-unavailable", repeats=("broker-unavailable", problem), problem=problem)

    def _report(self, name: str, *, repeats: tuple[str, ...] | None = None, **fields: object) -> None:
        """Report an event; one that repeats is reported once, then now and then with how often it happened."""
        if repeats is not None:
            count = self._repeats.count(repeats, time.monotonic())
            if not count:
                return
            if count > 1:
                fields["times"] = count
        self._trouble_reported |= name in ("broker-unavailable", "broker-lost")
        self._on_event(name, **fields)
