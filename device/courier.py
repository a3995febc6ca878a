"""Carries requests from the outbox to a connection, one at a time, and what the broker answered back to the outbox."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from device.core.delivery import Delivery, Outcome
from device.errors import RecorderError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from device.core.tag import Tag
    from device.edges.mqtt import Connection, LinkSettings

NO_SUBSCRIBER = 16
STORE_PAUSE_S = 1.0  # before the outbox is asked again when it could not answer


class Message(Protocol):
    """What the envelope makes of a request; see ``device.core.envelope.Message``."""

    @property
    def topic(self) -> str:
        """Where to; its last level says the tag's review decision."""

    @property
    def payload(self) -> bytes:
        """One whole audio file."""

    @property
    def content_type(self) -> str:
        """Of the payload."""

    @property
    def user_properties(self) -> Sequence[tuple[str, str]]:
        """What MQTT 5 repeats of the tag."""


class Claimed(Protocol):
    """A request read for sending: its tag is the one that counts now, and no other process can change it meanwhile."""

    @property
    def tag(self) -> Tag:
        """As it will be published."""

    @property
    def pcm(self) -> bytes:
        """16-bit little-endian samples."""


class Outbox(Protocol):
    """The store, as far as sending needs it. All calls come from the sender's thread."""

    def claim(self, wanted: Callable[[str, bool], bool]) -> AbstractContextManager[Claimed | None]:
        """Offer what waits, oldest first, as id and opt-out, until one is wanted; hold the write lock in the block."""

    def acknowledge(self, id: str) -> None:  # noqa: A002
        """Delete a request that the broker took; no matter whether it is still there."""

    def refused(self, id: str, problem: str) -> None:  # noqa: A002
        """Note that an attempt failed."""

    def flush(self) -> None:
        """Make what was acknowledged so far lasting."""

    def count(self) -> int:
        """Return how many requests wait."""


@dataclass(slots=True)
class Flight:
    """A request handed to the socket and not answered yet."""

    mid: int
    id: str
    opt_out: bool


class Courier:
    """Owned by the sender's thread. It outlives connections: what was tried in vain is remembered.

    Attributes:
        flight: the request under way.
        wake_at: when to look into the outbox again unless something changes there; infinite: not by time alone.
        empty: nothing waited when it was looked last.
    """

    def __init__(
        self,
        outbox: Outbox,
        link: LinkSettings,
        envelope: Callable[[Tag, bytes], Message],
        report: Callable[..., None],
    ) -> None:
        self._outbox = outbox
        self._link = link
        self._envelope = envelope
        self._report = report
        self._delivery = Delivery()
        self._owed: str | None = None  # taken by the broker, but the outbox could not note it yet
        self._unflushed = False
        self.flight: Flight | None = None
        self.wake_at = -math.inf
        self.empty = False

    def changed(self) -> None:
        """Look again at once: something was stored or changed."""
        self.empty = False
        self.wake_at = -math.inf

    def connected(self, now: float) -> None:
        """Start anew with a new connection."""
        self._delivery.connected(now)
        self.wake_at = -math.inf

    def look(self, now: float) -> None:
        """Without a connection: find out whether anything waits."""
        self.wake_at = math.inf
        try:
            self._settle()
            self.empty = not self._outbox.count()
        except StoreError as error:
            self._trouble(error, now)

    def send(self, connection: Connection, now: float) -> None:
        """Put the next request under way, if one is due, else set ``wake_at``."""
        try:
            self._settle()
            scan = self._delivery.scan(now)
            if self._claim(connection, scan, now):
                return
            if scan.probe is not None:
                probe = scan.probe
                if not self._claim(connection, lambda id, _: id == probe, now):  # noqa: A006
                    self.wake_at = -math.inf  # it went meanwhile
                return
            self._delivery.finish(scan)
            self._flush()
            self.wake_at = scan.wake_at
            self.empty = not scan.seen
        except StoreError as error:
            self._trouble(error, now)

    def answered(self, reason: int, text: str, now: float) -> None:
        """Act on the broker's answer to the request under way."""
        if (flight := self.flight) is None:
            return
        self.flight = None
        dropped = reason == NO_SUBSCRIBER and self._link.no_subscriber == "drop"
        if reason and not dropped:
            self._failed(flight.id, flight.opt_out, Outcome.REFUSED, f"refused: {text.lower()} ({reason})", now)
            return
        self._delivery.record(flight.id, opt_out=flight.opt_out, outcome=Outcome.ACKNOWLEDGED, now=now)
        if dropped:
            self._report("dropped", id=flight.id, reason="nobody is subscribed")
        else:
            self._report("sent", id=flight.id)
        self._owed = flight.id
        self.wake_at = -math.inf

    def lost(self, problem: str, now: float) -> None:
        """The connection is gone: make lasting what the broker took; what is under way has to be sent again."""
        if self.flight is not None:
            flight, self.flight = self.flight, None
            self._failed(flight.id, flight.opt_out, Outcome.LOST, problem, now)
        try:
            self._flush()
        except StoreError as error:
            self._trouble(error, now)

    def _flush(self) -> None:
        self._settle()
        if self._unflushed:
            self._outbox.flush()
            self._unflushed = False

    def _settle(self) -> None:
        """Pay what is owed before anything is claimed, else the same request would be sent again."""
        if self._owed is not None:
            self._outbox.acknowledge(self._owed)
            self._owed = None
            self._unflushed = True

    def _claim(self, connection: Connection, wanted: Callable[[str, bool], bool], now: float) -> bool:
        """Claim and publish one request; true if one was found, whether or not it could be sent."""
        with self._outbox.claim(wanted) as claimed:
            if claimed is None:
                return False
            tag = claimed.tag
            failure = self._publish(connection, claimed)
        self.empty = False
        if failure is not None:
            self._failed(tag.id, tag.review.opt_out, Outcome.TOO_LARGE, failure, now)
        return True

    def _publish(self, connection: Connection, claimed: Claimed) -> str | None:
        """Hand a request to the socket; where it cannot be sent on this connection, return why."""
        tag = claimed.tag
        try:
            message = self._envelope(tag, claimed.pcm)
        except RecorderError as error:
            return str(error)
        properties = connection.properties(
            content_type=message.content_type, user_properties=message.user_properties, expiry_s=self._link.expiry_s
        )
        limit = connection.accepted.max_packet_bytes
        if limit is not None and (size := connection.packet_bytes(message.topic, message.payload, properties)) > limit:
            return f"{size} bytes, more than the broker's maximum of {limit}"
        mid = connection.publish(message.topic, message.payload, qos=1, properties=properties)
        self.flight = Flight(mid, tag.id, tag.review.opt_out)
        return None

    def _failed(self, id: str, opt_out: bool, outcome: Outcome, problem: str, now: float) -> None:  # noqa: A002
        verdict = self._delivery.record(id, opt_out=opt_out, outcome=outcome, now=now)
        name = "set-aside" if verdict.retry_at == math.inf else "not-sent"
        self._report(name, repeats=(name, id if outcome is Outcome.TOO_LARGE else "", problem), id=id, problem=problem)
        self.wake_at = -math.inf
        try:
            self._outbox.refused(id, problem)
        except StoreError as error:
            self._trouble(error, now)  # only a note for people is missing

    def _trouble(self, error: StoreError, now: float) -> None:
        if not error.retry:
            raise error
        self._report("store-busy", repeats=("store-busy",), problem=str(error))
        self.wake_at = now + STORE_PAUSE_S
