"""The sender: one thread that owns everything of MQTT, from connecting to the last acknowledgement."""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from device.core import commands
from device.core.reconnect import Reconnect, Trouble
from device.core.repeats import Repeats
from device.courier import Courier
from device.edges.mqtt import CONNECT_TIMEOUT_S, Answered, Connected, Connection, Lost, Received, Subscribed, Wakeup
from device.errors import BrokerUnavailableError, ConfigurationError, RecorderError

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.core.commands import Command
    from device.core.tag import Tag
    from device.courier import Message, Outbox
    from device.edges.mqtt import Happening, LinkSettings

TICK_S = 1.0  # how often an idle connection is looked after
EVENTS_HELD = 64  # events wait only while the thread is busy; then the oldest go

EVENTS = {
    "broker-connected": "info",
    "broker-unavailable": "warning",
    "broker-lost": "warning",
    "broker-cannot-tell": "warning",
    "sent": "info",
    "not-sent": "warning",
    "set-aside": "warning",
    "dropped": "warning",
    "state-refused": "warning",
    "commands-refused": "warning",
    "command-ignored": "warning",
    "command-failed": "error",
    "store-busy": "error",
}
"""What ``on_event`` may be called with, and how grave it is."""


class Sender:
    """Publishes what waits in the outbox, and the device's states; hands on commands.

    Its public methods may be called by any thread. ``on_command`` and ``on_event`` are called in the sender's own
    thread, ``on_event`` never within a database transaction. The thread begins in ``start`` and ends by ``stop``, or
    by an error that nothing expects, which is then in ``failure``.

    Args:
        outbox: used by the sender's thread only.
        link: the broker and how to publish.
        envelope: makes the message of a request.
        on_command: obeys a remote command.
        on_event: takes an event's name, one of ``EVENTS``, and its fields.
    """

    def __init__(
        self,
        outbox: Outbox,
        link: LinkSettings,
        envelope: Callable[[Tag, bytes], Message],
        on_command: Callable[[Command], None],
        on_event: Callable[..., None],
    ) -> None:
        self._link = link
        self._on_command = on_command
        self._on_event = on_event
        self._courier = Courier(outbox, link, envelope, self._report)
        self._reconnect = Reconnect(link.protocol)
        self._repeats = Repeats()
        self._thread = threading.Thread(target=self._main, name="sender", daemon=True)
        self._wakeup = Wakeup()
        self._failure: BaseException | None = None

        self._lock = threading.Lock()  # guards what follows: written by any thread, read by the sender's
        self._states: dict[str, bytes] = {}
        self._changed: dict[str, None] = {}  # the levels to publish, in the order they changed
        self._events: deque[bytes] = deque(maxlen=EVENTS_HELD)
        self._news = True  # something was stored or changed since the outbox was looked at
        self._stop_at = math.inf

        # The connection's own state; the sender's thread only.
        self._connection: Connection | None = None
        self._connected = False
        self._lost: Lost | None = None
        self._state_flight: tuple[int, str] | None = None  # number and level of the state under way
        self._trouble_told = True  # so that a broker that only ever accepts is not told of each time
        self._progress_at = 0.0  # when bytes of what is under way were last seen to move

    # For any thread.

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the connection and it is in use."""
        return self._connected

    @property
    def failure(self) -> BaseException | None:
        """The error that ended the thread, for the supervisor to end the process."""
        return self._failure

    def start(self) -> None:
        """Begin to connect and to send."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Let what is under way be acknowledged, say that the device is offline, and end the thread.

        Args:
            timeout_s: how long that may take; then the connection is cut, and the broker publishes the last will.

        Returns:
            Whether the thread has ended; it cannot while the system looks up the broker's name.
        """
        with self._lock:
            self._stop_at = time.monotonic() + timeout_s
        self._wakeup.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s + 1.0)
        if self._thread.is_alive():
            return False
        self._wakeup.close()
        return True

    def notify(self) -> None:
        """Tell that something was stored, or that what waits has changed."""
        with self._lock:
            known, self._news = self._news, True
        if not known:
            self._wakeup.set()

    def drained(self) -> bool:
        """Say whether nothing waits and nothing is under way."""
        with self._lock:
            return not self._news and self._courier.empty and self._courier.flight is None

    def set_state(self, level: str, payload: bytes) -> None:
        """Publish a retained state below the device's topic, now and with every new connection; the last value wins."""
        with self._lock:
            if self._states.get(level) == payload:
                return
            self._states[level] = payload
            self._changed[level] = None
        self._wakeup.set()

    def event(self, payload: bytes) -> None:
        """Publish an event once, unacknowledged; without a connection it is dropped."""
        if self._connected:
            with self._lock:
                self._events.append(payload)
            self._wakeup.set()

    # The sender's thread.

    def _main(self) -> None:
        try:
            while self._stop_at == math.inf:
                trouble = self._session()
                if self._stop_at == math.inf:
                    self._pause(self._reconnect.pause_s(trouble, random.random()))  # noqa: S311 - no secret
        except BaseException as error:  # noqa: BLE001 - the supervisor reads it and ends the process
            self._failure = error
        finally:
            self._connected = False
            if self._connection is not None:  # closed already unless an error got us here
                self._connection.close(say_goodbye=False)

    def _session(self) -> Trouble:
        """Live through one connection, from opening to its end, and return what ended it."""
        link = self._link
        will = (f"{link.base_topic}/status", b"offline") if link.announce else None
        connection = self._connection = Connection(link, self._reconnect.protocol, will=will)
        self._lost = None
        try:
            connection.open()
        except (BrokerUnavailableError, ConfigurationError) as error:
            self._unavailable(str(error))
            return Trouble.OTHER
        accepted = self._await_answer(connection)
        if accepted is None:
            return self._lost.trouble if self._lost is not None else Trouble.OTHER
        if not self._reconnect.connected():
            connection.close(say_goodbye=True)
            return self._session()  # at once, as the check that it is; it cannot come here again
        self._begin(connection, accepted)
        self._serve(connection)
        return self._end(connection)

    def _await_answer(self, connection: Connection) -> Connected | None:
        deadline = time.monotonic() + CONNECT_TIMEOUT_S
        while self._stop_at == math.inf:
            for happening in connection.take():
                if isinstance(happening, Connected):
                    return happening
                if isinstance(happening, Lost):
                    self._lost = happening
                    if happening.trouble is not Trouble.VERSION:
                        self._unavailable(f"{happening.problem}; {happening.hint}".rstrip("; "))
                    connection.close(say_goodbye=False)
                    return None
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                problem = f"{self._link.address}: accepts connections but gives no MQTT answer"
                self._unavailable(f"{problem} within {CONNECT_TIMEOUT_S:g} s; is it an MQTT port? [mqtt] port and tls")
                self._lost = Lost(Trouble.CLOSED, problem)  # amqtt meets MQTT 5 with a last will so
                break
            connection.step(remaining_s, self._wakeup)
        connection.close(say_goodbye=False)
        return None

    def _begin(self, connection: Connection, accepted: Connected) -> None:
        link = self._link
        self._courier.connected(accepted.max_packet_bytes, time.monotonic())
        self._state_flight = None
        with self._lock:
            # Last, so that who sees "online" can rely on the other states.
            self._states.pop("status", None)
            self._states["status"] = b"online"
            self._changed = dict.fromkeys(self._states) if link.announce else {}
            self._events.clear()
        self._connected = True
        self._repeats.over("broker-unavailable")
        if self._trouble_told:
            self._trouble_told = False
            self._report("broker-connected", host=link.host, port=link.port, protocol=connection.protocol)
        if connection.protocol != "5":
            problem = "with MQTT 3.1.1 a broker cannot say that it dropped a message; requests may be lost there unseen"
            self._report("broker-cannot-tell", repeats=("broker-cannot-tell",), problem=problem)
        if link.announce:
            connection.subscribe([f"{link.base_topic}/{level}" for level in commands.LEVELS])

    def _serve(self, connection: Connection) -> None:
        """Use the connection until it is lost, or until the stop is done."""
        tick_at = 0.0
        while self._lost is None:
            now = time.monotonic()
            if now >= tick_at:
                tick_at = now + TICK_S
                connection.keep_alive()
            if self._stop_at < math.inf and self._stopped(now):
                return
            self._publish(connection, now)
            self._courier.read_ahead(connection, now)
            connection.step(self._wait_s(now, tick_at), self._wakeup)
            for happening in connection.take():
                self._handle(happening)
            self._check_progress(connection)

    def _wait_s(self, now: float, tick_at: float) -> float:
        until = min(tick_at, self._stop_at)
        if self._under_way():
            until = min(until, self._progress_at + self._link.ack_timeout_s)
        else:
            until = min(until, self._courier.wake_at)
        return max(0.0, until - now)

    def _under_way(self) -> bool:
        return self._courier.flight is not None or self._state_flight is not None

    def _publish(self, connection: Connection, now: float) -> None:
        """Put under way what is next: events, then one state, else one request."""
        stopping = self._stop_at < math.inf
        with self._lock:
            events = list(self._events)
            self._events.clear()
            self._take_news()
        for payload in events:
            connection.publish(f"{self._link.base_topic}/event", payload, qos=0)
        if self._under_way():
            return
        with self._lock:
            level = next(iter(self._changed), None)
            if level is not None:
                del self._changed[level]
                payload = self._states[level]
        if level is not None:
            mid = connection.publish(f"{self._link.base_topic}/{level}", payload, qos=1, retain=True)
            self._state_flight = (mid, level)
        elif not stopping and now >= self._courier.wake_at:
            self._courier.send(connection, now)
        if self._under_way():
            connection.moved()
            self._progress_at = now

    def _take_news(self) -> None:
        """To be called with the lock held: else ``drained`` could miss what was stored in between."""
        if self._news:
            self._news = False
            self._courier.changed()

    def _handle(self, happening: Happening) -> None:
        now = time.monotonic()
        if isinstance(happening, Answered):
            self._answered(happening, now)
        elif isinstance(happening, Received):
            self._received(happening)
        elif isinstance(happening, Lost):
            self._lost = happening
        elif isinstance(happening, Subscribed) and happening.refused:
            self._report("commands-refused", repeats=("commands-refused",), problem=happening.refused[0])

    def _answered(self, answer: Answered, now: float) -> None:
        flight = self._courier.flight
        if flight is not None and answer.mid == flight.mid:
            if answer.reason == 0:
                self._reconnect.settled()
            self._courier.answered(answer.reason, answer.text, now)
        elif self._state_flight is not None and answer.mid == self._state_flight[0]:
            level, self._state_flight = self._state_flight[1], None
            # Nobody being subscribed to a retained state is no matter: it is kept for who comes.
            if answer.reason >= 128:
                problem = f"the broker refused it: {answer.text.lower()}"
                self._report("state-refused", repeats=("state-refused", level), state=level, problem=problem)

    def _received(self, message: Received) -> None:
        level = message.topic.removeprefix(f"{self._link.base_topic}/")
        command = commands.parse(
            level,
            message.payload,
            retained=message.retained,
            allow_remote_opt_in=self._link.allow_remote_opt_in,
        )
        if isinstance(command, commands.Ignored):
            self._report("command-ignored", repeats=("command-ignored", command.problem), problem=command.problem)
            return
        try:
            self._on_command(command)
        except RecorderError as error:
            self._report("command-failed", command=command.value, problem=str(error))

    def _check_progress(self, connection: Connection) -> None:
        """Give a connection up on which nothing moves any more while something is under way."""
        now = time.monotonic()
        if not self._under_way() or now < self._progress_at + min(TICK_S, self._link.ack_timeout_s):
            return
        if connection.moved():
            self._progress_at = now
        elif now >= self._progress_at + self._link.ack_timeout_s:
            problem = f"{self._link.address}: no acknowledgement within {self._link.ack_timeout_s:g} s"
            self._lost = Lost(Trouble.OTHER, problem)

    def _stopped(self, now: float) -> bool:
        """Say whether stopping is done; on the way, wait for what is under way, then publish ``offline``."""
        if now >= self._stop_at:
            return True
        if self._under_way():
            return False
        if not self._link.announce or self._states["status"] == b"offline":
            return True
        with self._lock:
            self._states["status"] = b"offline"
            self._changed = {"status": None}
        return False

    def _end(self, connection: Connection) -> Trouble:
        """Leave a connection that is over; with nothing under way it was left in order, else the last will tells."""
        self._connected = False
        lost = self._lost
        now = time.monotonic()
        problem = lost.problem if lost is not None else "stopped before the broker acknowledged it"
        connection.close(say_goodbye=lost is None and not self._under_way())
        self._courier.lost(problem, now)
        self._reconnect.ended()
        if lost is None:
            return Trouble.OTHER
        self._report("broker-lost", repeats=("broker-lost", problem), problem=f"{problem}; {lost.hint}".rstrip("; "))
        return lost.trouble

    def _pause(self, pause_s: float) -> None:
        """Wait before the next attempt, knowing meanwhile whether anything waits."""
        until = time.monotonic() + pause_s
        while self._stop_at == math.inf:
            now = time.monotonic()
            with self._lock:
                self._take_news()
            if now >= self._courier.wake_at:
                self._courier.look(now)
            if now >= until:
                return
            self._wakeup.wait(max(0.0, min(until, self._courier.wake_at) - now))

    def _unavailable(self, problem: str) -> None:
        self._report("broker-unavailable", repeats=("broker-unavailable", problem), problem=problem)

    def _report(self, name: str, *, repeats: tuple[str, ...] | None = None, **fields: object) -> None:
        """Tell an event; one that repeats is told once, then now and then with how often it happened."""
        if repeats is not None:
            count = self._repeats.count(repeats, time.monotonic())
            if not count:
                return
            if count > 1:
                fields["times"] = count
        self._trouble_told |= name in ("broker-unavailable", "broker-lost")
        self._on_event(name, **fields)
