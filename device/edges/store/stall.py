"""Whether the disk answers: says when an operation on it takes long, and when that is over."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from device.edges.store.results import StoreEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STALLED_S = 3.0  # a flash card that cleans up takes ten seconds now and then; a healthy one a tenth
LOOK_S = 1.0


class StallWatch:
    """Watches one operation at a time, from a thread of its own that begins with the first one.

    Args:
        report: takes events; called in the watch's thread, or within the operation that ended.
    """

    def __init__(self, report: Callable[[StoreEvent], None]) -> None:
        self._report = report
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._lock = threading.Lock()  # guards what follows
        self._since: float | None = None  # when the operation under way began, on the monotonic clock
        self._reported = False

    @contextmanager
    def over(self) -> Iterator[None]:
        """Watch what is done in the block."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name="stall-watch", daemon=True)
            self._thread.start()
        self.begin()
        try:
            yield
        finally:
            self._end()

    def begin(self) -> None:
        """Note that an operation begins, or that one of many steps is done and the next begins."""
        with self._lock:
            self._since = time.monotonic()

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _end(self) -> None:
        with self._lock:
            lasted_s = time.monotonic() - (self._since or 0.0)
            self._since = None
            reported, self._reported = self._reported, False
        if reported:
            message = f"the state folder's disk answers again, after {lasted_s:.1f} s"
            self._report(StoreEvent("disk-answers", message, {"stalled_s": round(lasted_s, 1)}, level=logging.WARNING))

    def _look(self) -> None:
        while not self._closed.wait(LOOK_S):
            with self._lock:
                stalled = self._since is not None and time.monotonic() - self._since >= STALLED_S
                news, self._reported = stalled and not self._reported, self._reported or stalled
            if news:
                message = f"the state folder's disk has not answered for {STALLED_S:g} s; waiting for it"
                self._report(StoreEvent("disk-stalled", message))
