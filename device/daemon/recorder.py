"""From a captured request to the outbox: it waits in memory until the disk has taken it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from device.errors import StoreBusyError, UnstorableError
from device.events import say_dropped
from device.hearing.frames import RATE_HZ
from device.sending.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.edges.store import Store, Stored
    from device.events import Events
    from device.hearing.request import Request

MAX_HELD = 16  # requests in memory while the disk takes none: at most 15 s each by default, 8 MB
RETRY_S = 0.25


@dataclass(frozen=True, slots=True)
class _Held:
    request: Request
    source: str
    spoken_at_s: float  # on the monotonic clock


class Recorder:
    """A bounded queue between who hears requests and who stores them; full, it loses the oldest and says so.

    One thread hands over and never waits for the disk; another stores.

    Args:
        store: the outbox.
        device: this device's id.
        events: says what was stored, dropped or could not be stored.
        on_stored: called after each committed request, to notify the sender.

    Attributes:
        handed_over: set when a request was handed over; who stores waits for it and clears it.
    """

    def __init__(self, store: Store, device: str, events: Events, on_stored: Callable[[], None]) -> None:
        self._store = store
        self._device = device
        self._events = events
        self._on_stored = on_stored
        self._repeats = Repeats()
        self.handed_over = threading.Event()
        self._retry_at_s = 0.0  # on the monotonic clock
        self._lock = threading.Lock()  # guards what follows
        self._held: deque[_Held] = deque()
        self._storing: _Held | None = None  # the first of them, while the disk has it

    @property
    def held(self) -> int:
        """How many were handed over and are not stored yet; 0: all are, and the sender knows of them."""
        return len(self._held)

    def take(self, request: Request, source: str, position: int) -> None:
        """Take a request over; returns at once.

        Args:
            request: what was captured.
            source: the stream's name, as the tag has it.
            position: how far the stream is now; the difference says how long ago speech began.
        """
        spoken_at_s = time.monotonic() - max(position - request.speech_sample, 0) / RATE_HZ
        lost = None
        with self._lock:
            self._held.append(_Held(request, source, spoken_at_s))
            if len(self._held) > MAX_HELD:
                oldest = 0 if self._storing is None else 1
                lost = self._held[oldest]
                del self._held[oldest]
        if lost is not None:
            self._events(
                "lost",
                f"lost a request of {len(lost.request.pcm) / RATE_HZ:.1f} s: the disk has taken nothing for "
                f"{MAX_HELD} requests; free space in the state folder",
                level=logging.ERROR,
                count=1,
            )
        self.handed_over.set()

    def store_held(self, *, now: bool = False) -> None:
        """Store what waits, oldest first, until the disk refuses, and then not again for a moment unless ``now``."""
        if not now and time.monotonic() < self._retry_at_s:
            return
        while True:
            with self._lock:
                held = self._storing = self._held[0] if self._held else None
            if held is None:
                return
            try:
                self._store_one(held)
            except StoreBusyError as error:
                self._retry_at_s = time.monotonic() + RETRY_S
                self._say_failed(str(error))
                return
            else:
                with self._lock:
                    self._held.popleft()
            finally:
                self._storing = None

    def give_up(self) -> None:
        """At the end: say what is lost with the process because the disk did not take it."""
        with self._lock:
            lost, self._held = list(self._held), deque()
        if lost:
            lost_s = sum(len(held.request.pcm) for held in lost) / RATE_HZ
            self._events(
                "lost",
                f"lost {len(lost)} requests of {lost_s:.1f} s: stopped while the disk takes nothing; "
                "free space in the state folder",
                level=logging.ERROR,
                count=len(lost),
            )

    def _store_one(self, held: _Held) -> None:
        age_s = time.monotonic() - held.spoken_at_s
        try:
            stored = self._store.put(held.request, device=self._device, source=held.source, age_s=age_s)
        except UnstorableError as error:
            message = f"lost a request of {len(held.request.pcm) / RATE_HZ:.1f} s: {error}"
            self._events("lost", message, level=logging.ERROR, count=1)
            return
        self._repeats.over("store-failed")
        self._say_stored(stored)
        self._on_stored()

    def _say_stored(self, stored: Stored) -> None:
        tag = stored.tag
        self._events(
            "stored",
            f"stored {tag.duration_s:.1f} s after {tag.wake_word!r}, "
            f"{'opted out of review' if tag.review.opt_out else 'reviewable'} ({tag.id})",
            id=tag.id,
            wake_word=tag.wake_word,
            duration_s=tag.duration_s,
            ended_by=tag.ended_by,
            source=tag.source,
            start_sample=tag.start_sample,
            end_sample=tag.end_sample,
            opt_out=tag.review.opt_out,
        )
        say_dropped(self._events, stored.dropped)

    def _say_failed(self, problem: str) -> None:
        """Say it for each request more that is held, and else now and then: it is tried four times a second."""
        held = len(self._held)
        if self._repeats.count(("store-failed", problem, str(held)), time.monotonic()):
            self._events("store-failed", f"{problem}; kept in memory: {held}", level=logging.ERROR, held=held)
