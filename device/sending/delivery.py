"""Which waiting request is tried next, and what the result of an attempt means for it.

One refused message never blocks another: it waits by itself while the others go. Where two different messages in a
row are refused on a topic, the topic looks closed (access list, quota, nobody subscribed): it is probed at a steady
pace with the message tried longest ago, until one gets through. What is stored meanwhile does not wait behind those: it
is tried once, at once. The same choice holds after two lost connections in a row, since a message may be what ends
them. A message waits longer than a few seconds only on evidence that it is to blame: others got through since it failed
last. Without that evidence the broker is to blame, and recovery must be quick; but where nobody is subscribed nothing
is urgent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

PROBE_S = 5.0  # the slowest pace at which a closed topic, or a message nobody else speaks against, is tried
NOBODY_S = 60.0  # the same where nobody is subscribed: a broker that is wrong about that delivers each attempt
ALONE_S = 60.0  # the longest wait of a message that fails while others get through


class SendResult(Enum):
    """How one attempt to publish ended."""

    ACKNOWLEDGED = auto()  # the broker took it
    REFUSED = auto()  # the broker answered that it did not
    NOBODY = auto()  # the broker answered that nobody is subscribed
    LOST = auto()  # the connection ended, or no answer came in time, with this one in flight
    TOO_LARGE = auto()  # over the broker's maximum packet size, so it was not sent


class Disposition(NamedTuple):
    """What becomes of the message: done, tried again not before ``retry_at``, or set aside until a new connection."""

    done: bool
    retry_at: float  # seconds of the caller's monotonic clock; infinite when set aside


@dataclass(slots=True)
class _Tried:
    """A message that was tried and did not get through."""

    order: int  # of its last attempt, among all attempts
    retry_at: float = -math.inf
    failures: int = 0
    alone: int = 0  # failures since whose predecessor others got through
    lost: bool = False  # the last failure took the connection with it


@dataclass(slots=True)
class _Topic:
    """One of the two topics: opted-out requests and reviewable ones."""

    succeeded: int = -1  # the order of the last attempt that got through
    refused: str | None = None  # the last message refused, with no success since
    probes: int = 0  # refusals since it looks closed; 0: it looks open
    probe_at: float = -math.inf
    waiting: set[str] | None = None  # since it looks closed: what waited then; None: not known yet

    def open(self) -> None:
        self.refused, self.probes, self.probe_at, self.waiting = None, 0, -math.inf, None


@dataclass(slots=True)
class Scan:
    """One look through what waits, oldest first; called with each candidate until it accepts one.

    Attributes:
        next_at: when the first of those passed over comes due; infinite if none will by time alone.
        probe: where none was accepted, the one to claim instead: it is due, and was tried longest ago.
        seen: the ids looked at.
    """

    delivery: Delivery
    now: float
    next_at: float = math.inf
    probe: str | None = None
    seen: set[str] = field(default_factory=set)
    _probe_order: float = math.inf

    def __call__(self, id: str, opt_out: bool) -> bool:  # noqa: A002 - the id of the tag
        """Say whether this message is the one to try now."""
        self.seen.add(id)
        tried, due_at, rotating = self.delivery.look(id, opt_out=opt_out)
        if due_at > self.now:
            self.next_at = min(self.next_at, due_at)
            return False
        if rotating and tried is not None:
            if tried < self._probe_order:
                self.probe, self._probe_order = id, tried
            return False
        return True


class Delivery:
    """What is known of the messages that were tried, of the two topics and of the link. Time is passed in."""

    def __init__(self) -> None:
        self._tried: dict[str, _Tried] = {}
        self._topics = {False: _Topic(), True: _Topic()}
        self._attempts = 0
        self._succeeded = -1  # the order of the last attempt that got through
        self._losses = 0  # in a row, with no success between

    def __len__(self) -> int:
        """How many messages are remembered: those tried in vain."""
        return len(self._tried)

    def connected(self, now: float) -> None:
        """Start anew with a new connection: topics count as open, refused and oversized messages are due.

        A message that took the connection with it keeps its wait: the new connection may be its doing.
        """
        for topic in self._topics.values():
            topic.open()
        for tried in self._tried.values():
            if not tried.lost:
                tried.retry_at = now

    def look(self, id: str, *, opt_out: bool) -> tuple[int | None, float, bool]:  # noqa: A002
        """Return the order of a message's last attempt, when it is due, and whether those tried take turns."""
        topic = self._topics[opt_out]
        tried = self._tried.get(id)
        rotating = topic.probes > 0 or self._losses > 1
        if tried is None and topic.waiting is not None and id not in topic.waiting:
            return None, -math.inf, rotating
        if tried is None:
            return None, topic.probe_at, rotating
        return tried.order, max(topic.probe_at, tried.retry_at), rotating

    def scan(self, now: float) -> Scan:
        """Begin a look through what waits."""
        return Scan(self, now)

    def finish(self, scan: Scan) -> None:
        """End a scan that saw everything: what it did not see no longer waits, and is forgotten."""
        for gone in self._tried.keys() - scan.seen:
            del self._tried[gone]
        for topic in self._topics.values():
            if topic.probes and topic.waiting is None:
                topic.waiting = scan.seen

    def record(self, id: str, *, opt_out: bool, result: SendResult, now: float) -> Disposition:  # noqa: A002
        """Note how an attempt ended.

        Args:
            id: the message's.
            opt_out: which topic it went to.
            result: what came of it.
            now: seconds of a monotonic clock.
        """
        order = self._attempts
        self._attempts += 1
        topic = self._topics[opt_out]
        if result is SendResult.ACKNOWLEDGED:
            self._tried.pop(id, None)
            self._succeeded = topic.succeeded = order
            self._losses = 0
            topic.open()
            return Disposition(done=True, retry_at=now)
        tried = self._tried.setdefault(id, _Tried(order))
        if result is SendResult.TOO_LARGE:
            tried.order, tried.retry_at, tried.lost = order, math.inf, False
            return Disposition(done=False, retry_at=math.inf)
        tried.lost = result is SendResult.LOST
        if (self._succeeded if tried.lost else topic.succeeded) > tried.order:
            tried.alone += 1
        tried.order = order
        tried.failures += 1
        slowest_s = NOBODY_S if result is SendResult.NOBODY else PROBE_S
        if tried.lost:
            self._losses += 1
        else:
            self._refused(id, topic, now, slowest_s)
        tried.retry_at = now + self._wait_s(tried, slowest_s)
        return Disposition(done=False, retry_at=max(topic.probe_at, tried.retry_at))

    @staticmethod
    def _refused(id: str, topic: _Topic, now: float, slowest_s: float) -> None:  # noqa: A002
        if topic.probes or topic.refused not in (None, id):
            topic.probe_at = now + min(2.0 ** min(topic.probes, 10), slowest_s)
            topic.probes += 1
        topic.refused = id

    @staticmethod
    def _wait_s(tried: _Tried, slowest_s: float) -> float:
        if tried.alone:
            return min(2.0 ** min(tried.alone, 10), ALONE_S)
        if tried.lost:
            return 0.0  # connecting anew has its own pace
        return min(2.0 ** min(tried.failures - 1, 10), slowest_s)
