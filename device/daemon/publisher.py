"""Carries requests from the outbox to a connection, one at a time, and what the broker answered back to the outbox."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from device.daemon.subscriber_probe import Credibility, SubscriberProbe
from device.edges.mqtt import NOBODY_SUBSCRIBED, Answered
from device.errors import RecorderError, StoreError
from device.message.size import remedy as size_remedy
from device.sending.delivery import Delivery, SendResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.edges.mqtt import Connection, Incoming, LinkSettings
    from device.edges.store import Claimed, Store
    from device.message.envelope import Message
    from device.message.tag import Tag

DOUBTS = 8  # requests sent while the broker's word is tested that nobody is subscribed
STORE_PAUSE_S = 1.0  # before the outbox is asked again when it could not answer


@dataclass(slots=True)
class Flight:
    """A request handed to the socket and not answered yet."""

    mid: int
    id: str
    opt_out: bool
    topic: str


class RequestPublisher:
    """Owned by the sender's thread. It outlives connections: what was tried in vain is remembered.

    Attributes:
        flight: the request under way.
        look_at: when to look into the outbox again unless something changes there; infinite: not by time alone.
        empty: nothing waited when it was looked last.
    """

    def __init__(
        self,
        outbox: Store,
        link: LinkSettings,
        envelope: Callable[[Tag, bytes], Message],
        report: Callable[..., None],
    ) -> None:
        self._outbox = outbox
        self._link = link
        self._envelope = envelope
        self._report = report
        self._delivery = Delivery()
        self._probe = SubscriberProbe(link.event_topic)
        self._doubted: dict[str, Flight] = {}  # by id, while the broker's word about them is tested
        self._to_acknowledge: list[str] = []  # taken by the broker, but the outbox could not note it yet
        self._unflushed = False
        self.flight: Flight | None = None
        self.look_at = -math.inf
        self.empty = False

    def changed(self) -> None:
        """Look again at once: something was stored or changed."""
        self.empty = False
        self.look_at = -math.inf

    def connected(self, now: float) -> None:
        """Start anew with a new connection."""
        self._probe = SubscriberProbe(self._link.event_topic)
        self._delivery.connected(now)
        self.look_at = -math.inf

    def look(self, now: float) -> None:
        """Without a connection: find out whether anything waits."""
        self.look_at = math.inf
        try:
            self._acknowledge_all()
            self.empty = not self._outbox.count()
        except StoreError as error:
            self._trouble(error, now)

    def send(self, connection: Connection, now: float) -> None:
        """Put the next request under way, if one is due, else set ``look_at``."""
        if now < self.look_at:
            return
        if len(self._doubted) >= DOUBTS:
            self.look_at = math.inf  # until it is known
            return
        try:
            self._acknowledge_all()
            scan = self._delivery.scan(now)
            if self._claim(connection, lambda id, opt_out: scan(id, opt_out) and id not in self._doubted, now):  # noqa: A006
                return
            if scan.probe is not None and scan.probe not in self._doubted:
                probe = scan.probe
                if not self._claim(connection, lambda id, _: id == probe, now):  # noqa: A006
                    self.look_at = -math.inf  # it went meanwhile
                return
            self._delivery.finish(scan)
            self._flush()
            self.look_at = scan.next_at
            self.empty = not scan.seen
        except StoreError as error:
            self._trouble(error, now)

    def take(self, connection: Connection, incoming: Incoming, now: float) -> bool:
        """Act on the broker's answer to the request under way, or to a question about it; false if it is neither."""
        if isinstance(incoming, Answered) and self.flight is not None and incoming.mid == self.flight.mid:
            flight, self.flight = self.flight, None
            self._answered(connection, flight, incoming, now)
            return True
        if not self._probe.take(connection, incoming):
            return False
        self._settle_doubts(now)
        return True

    def tick(self, connection: Connection, now: float) -> None:
        """Wait no longer for an answer that does not come; to be called about once a second."""
        self._probe.tick(connection, now)
        self._settle_doubts(now)

    def _answered(self, connection: Connection, flight: Flight, answer: Answered, now: float) -> None:
        if answer.reason == 0 or (answer.reason == NOBODY_SUBSCRIBED and self._probe.verdict is Credibility.LIE):
            self._delivered(flight, now, "sent", {})
        elif answer.reason != NOBODY_SUBSCRIBED:
            problem = f"refused: {answer.text.lower()} ({answer.reason})"
            self._failed(flight.id, flight.opt_out, SendResult.REFUSED, problem, now)
        elif self._link.no_subscriber == "drop":
            self._delivered(flight, now, "dropped", {"reason": "nobody is subscribed"})
        else:
            self._doubted[flight.id] = flight
            self._probe.ask(connection, now)
            self._settle_doubts(now)

    def _settle_doubts(self, now: float) -> None:
        """Once it is known whether the broker can be believed: what it said nobody is subscribed to."""
        if self._probe.verdict is Credibility.ASKED or not self._doubted:
            return
        doubted, self._doubted = self._doubted, {}
        lie = self._probe.verdict is Credibility.LIE
        if lie:
            problem = "the broker answers that nobody is subscribed where somebody is: taken for delivered from now on"
            self._report("broker-misreports", repeats=("broker-misreports",), problem=problem)
        for flight in doubted.values():
            if lie:
                self._delivered(flight, now, "sent", {})
            else:
                problem = f"nobody is subscribed to {flight.topic}; kept, tried again"
                self._failed(flight.id, flight.opt_out, SendResult.NOBODY, problem, now)

    def _delivered(self, flight: Flight, now: float, event: str, facts: dict[str, str]) -> None:
        self._delivery.record(flight.id, opt_out=flight.opt_out, result=SendResult.ACKNOWLEDGED, now=now)
        self._report(event, id=flight.id, **facts)
        self._to_acknowledge.append(flight.id)
        self.look_at = -math.inf

    def lost(self, problem: str, now: float) -> None:
        """The connection is gone: make lasting what the broker took; what is under way has to be sent again."""
        self._probe.verdict = Credibility.UNKNOWN
        self._settle_doubts(now)
        if self.flight is not None:
            flight, self.flight = self.flight, None
            self._failed(flight.id, flight.opt_out, SendResult.LOST, problem, now)
        try:
            self._flush()
        except StoreError as error:
            self._trouble(error, now)

    def _flush(self) -> None:
        self._acknowledge_all()
        if self._unflushed:
            self._outbox.flush()
            self._unflushed = False

    def _acknowledge_all(self) -> None:
        """Note in the outbox what the broker took, before anything is claimed: else it would be sent again."""
        while self._to_acknowledge:
            self._outbox.acknowledge(self._to_acknowledge[-1])
            self._to_acknowledge.pop()
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
            self._failed(tag.id, tag.review.opt_out, SendResult.TOO_LARGE, failure, now)
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
            remedy = size_remedy(limit, flac=message.content_type == "audio/flac")
            return f"{size} bytes, more than the broker's maximum of {limit}; {remedy}"
        mid = connection.publish(message.topic, message.payload, qos=1, properties=properties)
        self.flight = Flight(mid, tag.id, tag.review.opt_out, message.topic)
        return None

    def _failed(self, id: str, opt_out: bool, result: SendResult, problem: str, now: float) -> None:  # noqa: A002
        verdict = self._delivery.record(id, opt_out=opt_out, result=result, now=now)
        too_large = result is SendResult.TOO_LARGE
        name = "set-aside" if verdict.retry_at == math.inf else "not-sent"
        self._report(name, repeats=(name, id if too_large else "", problem), id=id, problem=problem)
        self.look_at = -math.inf
        try:
            self._outbox.refused(id, problem)
        except StoreError as error:
            self._trouble(error, now)  # only a note for people is missing

    def _trouble(self, error: StoreError, now: float) -> None:
        if not error.retry:
            raise error
        self._report("store-busy", repeats=("store-busy",), problem=str(error))
        self.look_at = now + STORE_PAUSE_S
