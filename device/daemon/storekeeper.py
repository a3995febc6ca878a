"""The thread that may wait for the disk, so that neither the microphone nor the watchdog ever does."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING

from device.daemon.worker import Worker
from device.errors import StoreBusyError
from device.events import say_dropped
from device.sending.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.daemon.recorder import Recorder
    from device.daemon.sender import Sender
    from device.edges.microphone import Microphone
    from device.edges.store import Store
    from device.events import Events
    from device.message.review import ReviewState

TICK_S = 0.25  # how soon a mute, or a choice made by another process, is seen
HOUSEKEEPING_S = 30.0
READ_AGAIN_S = 2.0
STOP_S = 25.0  # how long what is in memory may take to get to the disk; the unit's TimeoutStopSec is longer


class StoreKeeper:
    """Stores what the listener hands over, acts on what other processes change in the database, and keeps house.

    What the disk cannot take or give now is tried again.

    Args:
        store: the database.
        recorder: has the requests to store.
        sender: is woken by what changes, and publishes the review choice.
        events: says what happens.
        microphone: to be muted and unmuted; None where recordings are heard.
        publish_review: called with the review choice whenever it may have changed.
        on_change: called whenever anything may have changed in the database.
        look: called a few times a second; what of it the disk refuses is done later.

    Attributes:
        worker: its thread.
    """

    def __init__(
        self,
        store: Store,
        recorder: Recorder,
        sender: Sender,
        events: Events,
        microphone: Microphone | None,
        *,
        publish_review: Callable[[ReviewState], None],
        on_change: Callable[[], None] = lambda: None,
        look: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._sender = sender
        self._events = events
        self._microphone = microphone
        self._publish_review = publish_review
        self._on_change = on_change
        self._look = look
        self._repeats = Repeats()
        self._stopping = False
        self._seen_change: tuple[int, int] | None = None
        self._seen_asked: int | None = None
        self._read_again_at = math.inf  # the review choice, where it could not be read; on the monotonic clock
        self._kept_house_at = time.monotonic()
        self.worker = Worker("storekeeper", self._keep)

    def start(self) -> None:
        """Keep house once, before anything is sent with a time that can be set right; then go on in the thread."""
        self._patiently(self._keep_house)
        self.worker.start()

    def stop(self) -> None:
        """Store what was handed over, as far as the disk takes it in time, and end the thread."""
        self._stopping = True
        self._recorder.handed_over.set()
        self.worker.join_started(STOP_S)
        self._recorder.give_up()

    def _keep(self) -> None:
        while not self._stopping:
            self._recorder.handed_over.wait(TICK_S)
            self._recorder.handed_over.clear()
            self._recorder.store_held()
            self._patiently(self._see)
            if time.monotonic() - self._kept_house_at >= HOUSEKEEPING_S:
                self._kept_house_at = time.monotonic()
                self._patiently(self._keep_house)
        self._recorder.store_held(now=True)

    def _patiently(self, action: Callable[[], None]) -> None:
        """Do what the disk may refuse for now; it is done again soon in any case."""
        try:
            action()
        except StoreBusyError as error:
            if self._repeats.count(("store-busy", str(error)), time.monotonic()):
                self._events("store-busy", str(error), level=logging.ERROR)
        else:
            self._repeats.over("store-busy")

    def _see(self) -> None:
        self._see_changes()
        self._look()

    def _see_changes(self) -> None:
        """Act on what another process changed in the database; a choice that could not be read is read again."""
        change = self._store.change_counter()
        now = time.monotonic()
        if change == self._seen_change and now < self._read_again_at:
            return
        review = self._store.review_state()
        self._read_again_at = now + READ_AGAIN_S if review.choice == "unreadable" else math.inf
        self._publish_review(review)
        self._on_change()
        asked = self._store.asked_to_send()
        if self._microphone is not None:
            muted = self._store.muted().muted
            if muted != (self._microphone.state.name == "muted"):
                (self._microphone.mute if muted else self._microphone.unmute)()
        if asked != self._seen_asked and self._seen_asked is not None:
            self._sender.send_now()
        elif change != self._seen_change:
            self._sender.notify()
        self._seen_asked = asked
        self._seen_change = change  # last: where the disk gave an error on the way, all of it is done again

    def _keep_house(self) -> None:
        say_dropped(self._events, self._store.expire())
        corrected = self._store.correct_times()
        if corrected:
            self._events(
                "clock-set", f"the clock was set: corrected the times of {corrected} requests", count=corrected
            )
