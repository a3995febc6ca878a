"""Tells the broker what is to be erased: a notice at a time, before any request, until it is acknowledged."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from device.edges.mqtt import NOBODY_SUBSCRIBED
from device.errors import StoreError
from device.message.erasure import LEVEL, MOST_IDS, erasure_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.edges.mqtt import Answered, Connection, LinkSettings
    from device.edges.store import History

RETRY_S = 60.0  # after a refusal, or where nobody is subscribed


class ErasurePublisher:
    """Owned by the sender's thread.

    Args:
        history: has what is to be erased.
        link: the broker.
        report: takes an event, its ``repeats=`` and its fields.

    Attributes:
        flight: the number of the notice under way, and its ids; None: none is.
        look_at: when to look again unless something changes; infinite: not by time alone.
    """

    def __init__(self, history: History, link: LinkSettings, report: Callable[..., None]) -> None:
        self._history = history
        self._link = link
        self._report = report
        self.flight: tuple[int, list[str]] | None = None
        self.look_at = -math.inf

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, and nothing is to be told but what has to wait."""
        return self.flight is None and self.look_at > -math.inf

    def changed(self) -> None:
        """Look again at once: something changed in the database, or the connection is a new one."""
        self.look_at = -math.inf

    def look(self, now: float) -> None:
        """Without a connection: find out whether anything is to be told."""
        try:
            if now >= self.look_at and not self._history.to_erase():
                self.look_at = math.inf
        except StoreError as error:
            self._wait(str(error), now)

    def send(self, connection: Connection, now: float) -> bool:
        """Put the next notice under way; false if there is none, or it is not due."""
        if now < self.look_at:
            return False
        try:
            ids = self._history.to_erase(MOST_IDS)
        except StoreError as error:
            self._wait(str(error), now)
            return False
        if not ids:
            self.look_at = math.inf
            return False
        mid = connection.publish(f"{self._link.base_topic}/{LEVEL}", erasure_json(ids), qos=1)
        self.flight = (mid, ids)
        return True

    def answered(self, answer: Answered, now: float) -> bool:
        """Take the broker's answer; false if it is to something else."""
        if self.flight is None or answer.mid != self.flight[0]:
            return False
        ids, self.flight = self.flight[1], None
        nobody = answer.reason == NOBODY_SUBSCRIBED
        if answer.refused or (nobody and self._link.no_subscriber == "keep"):
            self._wait("nobody is subscribed to it" if nobody else f"refused: {answer.text.lower()}", now)
            return True
        try:
            self._history.note_erased(ids)
        except StoreError as error:
            self._wait(str(error), now)  # told once more, which changes nothing
            return True
        self._report("erasure-sent", count=len(ids))
        self.changed()
        return True

    def lost(self) -> None:
        """The connection is gone: what was under way has to be sent again."""
        self.flight = None
        self.changed()

    def _wait(self, problem: str, now: float) -> None:
        self.look_at = now + RETRY_S
        self._report("erasure-waits", repeats=("erasure-waits", problem), problem=problem)
