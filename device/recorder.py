"""From a captured request to the outbox; what the disk cannot take now waits in memory and is tried again."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from device.core.frames import RATE_HZ
from device.core.repeats import Repeats
from device.errors import StoreBusyError
from device.events import say_dropped

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.core.tag import Request
    from device.edges.store import Store
    from device.events import Events

MAX_HELD = 16  # requests in memory while the disk is full: at most 15 s each by default, 8 MB
RETRY_S = 0.25


@dataclass(frozen=True, slots=True)
class _Held:
    request: Request
    source: str
    spoken_at_s: float  # on the monotonic clock


class Recorder:
    """Stores requests and says so.

    Lock: ``_lock`` guards the deque of held requests; the listener's thread takes requests, the main thread retries.

    Args:
        store: the outbox.
        device: this device's id.
        events: says what was stored, dropped or could not be stored.
        on_stored: called after each committed request, to wake the sender.
    """

    def __init__(self, store: Store, device: str, events: Events, on_stored: Callable[[], None]) -> None:
        self._store = store
        self._device = device
        self._events = events
        self._on_stored = on_stored
        self._held: deque[_Held] = deque()
        self._repeats = Repeats()
        self._retry_at_s = 0.0  # on the monotonic clock
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """How many requests wait in memory for the disk."""
        return len(self._held)

    def take(self, request: Request, source: str, position: int) -> None:
        """Store a request.

        Args:
            request: what was captured.
            source: the stream's name, as the tag has it.
            position: how far the stream is now; the difference tells how long ago speech began.
        """
        spoken_at_s = time.monotonic() - max(position - request.speech_sample, 0) / RATE_HZ
        with self._lock:
            self._held.append(_Held(request, source, spoken_at_s))
            if len(self._held) > MAX_HELD:
                lost = self._held.popleft()
                self._events(
                    "lost",
                    f"lost a request of {len(lost.request.pcm) / RATE_HZ:.1f} s: the disk has taken nothing for "
                    f"{MAX_HELD} requests; free space in the state folder",
                    level=logging.ERROR,
                    count=1,
                )
            self._store_held()

    def retry(self) -> bool:
        """Try again what the disk could not take, now and then; returns whether nothing is left."""
        with self._lock:
            if self._held and time.monotonic() >= self._retry_at_s:
                self._store_held()
            return not self._held

    def close(self) -> None:
        """Try once more to store what is held, and say what is lost with the process if the disk still refuses."""
        with self._lock:
            self._store_held()
            if self._held:
                lost_s = sum(len(held.request.pcm) for held in self._held) / RATE_HZ
                self._events(
                    "lost",
                    f"lost {len(self._held)} requests of {lost_s:.1f} s: stopped while the disk takes nothing; "
                    "free space in the state folder",
                    level=logging.ERROR,
                    count=len(self._held),
                )
                self._held.clear()

    def _store_held(self) -> None:
        """Store what waits, oldest first, until the disk refuses; called with the lock held."""
        while self._held:
            held = self._held[0]
            try:
                age_s = time.monotonic() - held.spoken_at_s
                stored = self._store.put(held.request, device=self._device, source=held.source, age_s=age_s)
            except StoreBusyError as error:
                self._retry_at_s = time.monotonic() + RETRY_S
                self._say_failed(str(error))
                return
            self._repeats.over("store-failed")
            self._held.popleft()
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
            self._on_stored()

    def _say_failed(self, problem: str) -> None:
        """Say it for each request more that is held, and else now and then: it is tried four times a second."""
        held = len(self._held)
        if self._repeats.count(("store-failed", problem, str(held)), time.monotonic()):
            self._events("store-failed", f"{problem}; kept in memory: {held}", level=logging.ERROR, held=held)
