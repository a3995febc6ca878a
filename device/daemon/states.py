"""The device's states on MQTT: the last value of each is published after a change and with every new connection.

Where the broker keeps no retained messages they are published all the same, for whoever is subscribed then. A broker
may say so, or just end the connection; so a state that ended two connections in a row is tried without being kept, and
one that ended four is left out for a connection, since requests are waiting behind it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from device.edges.mqtt import RETAIN_NOT_SUPPORTED
from device.sending.reconnect import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.edges.mqtt import Answered, Connection

_UNRETAINED, _LEFT_OUT = 2, 4  # so many connections in a row that a state ended


class States:
    """Set by any thread, published by the sender's.

    Args:
        status_topic: of the state that is told last.
        report: takes an event, its ``repeats=`` and its fields; called in the sender's thread.
    """

    def __init__(self, status_topic: str, report: Callable[..., None]) -> None:
        self._status = status_topic
        self._report = report
        self._lock = threading.Lock()  # guards the two that follow
        self._values: dict[str, bytes] = {}
        self._changed: dict[str, None] = {}  # what to publish, in the order it changed

        # The sender's thread only.
        self._retain = True
        self._ended = 0  # connections in a row that ended with a state under way and none answered
        self._answered = False
        self._flight: tuple[int, str] | None = None  # number and topic of the state under way

    # For any thread.

    def set(self, topic: str, payload: bytes) -> bool:
        """Note a state; false if it is the same as before."""
        with self._lock:
            if self._values.get(topic) == payload:
                return False
            self._values[topic] = payload
            self._changed[topic] = None
        return True

    def again(self) -> None:
        """Have every state told once more, ``online`` last, for somebody who has just come."""
        with self._lock:
            if self._values.get(self._status) == b"online" and self._ended < _LEFT_OUT:
                self._changed |= dict.fromkeys(sorted(self._values, key=self._status.__eq__))

    # The sender's thread.

    @property
    def under_way(self) -> bool:
        """Whether an answer is awaited."""
        return self._flight is not None

    def begin(self, *, retain: bool) -> None:
        """Start anew with a new connection: every state is to be published, ``online`` last.

        So who sees ``online`` can rely on the others.

        Args:
            retain: whether the broker can keep them, as far as it said.
        """
        self._flight, self._answered = None, False
        self._retain = retain and self._ended < _UNRETAINED
        with self._lock:
            self._values.pop(self._status, None)
            self._values[self._status] = b"online"
            self._changed = dict.fromkeys(self._values) if self._ended < _LEFT_OUT else {}
        if self._ended >= _LEFT_OUT:
            self._degraded("ended each connection at a state: none is published this time")
        elif retain and not self._retain:
            self._degraded("ended each connection at a state: they are published without being kept")
        elif not retain:
            self._degraded("keeps no retained messages: states reach only who is subscribed when they are published")

    def publish(self, connection: Connection) -> bool:
        """Put the next state under way; false if there is none to publish."""
        with self._lock:
            topic = next(iter(self._changed), None)
            if topic is None:
                return False
            del self._changed[topic]
            payload = self._values[topic]
        mid = connection.publish(topic, payload, qos=1, retain=self._retain)
        self._flight = (mid, topic)
        return True

    def answered(self, answer: Answered) -> bool:
        """Take the broker's answer; false if it is to something else."""
        if self._flight is None or answer.mid != self._flight[0]:
            return False
        topic, self._flight = self._flight[1], None
        self._answered = True
        # Tried without being kept, a state may be kept again next time; a single failure shows then that it may not.
        self._ended = 0 if self._retain else min(self._ended, _UNRETAINED - 1)
        if answer.reason == RETAIN_NOT_SUPPORTED and self._retain:
            self._retain = False
            with self._lock:
                self._changed.setdefault(topic, None)
            self._degraded("keeps no retained messages: states reach only who is subscribed when they are published")
        elif answer.refused:  # 16, nobody is subscribed, is no matter: it is kept for who comes
            problem = f"the broker refused it: {answer.text.lower()}"
            state = topic.removeprefix(self._status.removesuffix("status"))
            self._report("state-refused", repeats=("state-refused", state), state=state, problem=problem)
        return True

    def leave(self) -> None:
        """Have ``offline`` published, and nothing else any more."""
        with self._lock:
            self._values[self._status] = b"offline"
            self._changed = {self._status: None}

    def left(self) -> bool:
        """Whether ``offline`` was published."""
        with self._lock:
            return self._values.get(self._status) == b"offline" and not self._changed

    def lost(self, trouble: Trouble) -> None:
        """Note that the connection was lost."""
        if trouble is Trouble.OVERSIZE:
            return  # no state is to blame for what arrives
        if self._ended >= _LEFT_OUT:
            self._ended = _LEFT_OUT - 1  # next time they are tried once more
        elif self._flight is not None and not self._answered:
            self._ended += 1

    def _degraded(self, problem: str) -> None:
        self._report("states-not-kept", repeats=("states-not-kept",), problem=f"the broker {problem}")
