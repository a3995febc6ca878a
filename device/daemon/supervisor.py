"""What the main thread does: watch the other threads and feed the watchdog, waiting for neither disk nor broker."""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import TYPE_CHECKING

from device.edges import systemd
from device.errors import RecorderError

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.daemon.worker import Worker
    from device.edges.microphone import Microphone

TICK_S = 0.25


class Supervisor:
    """Waits until something holds, until ``stop`` is called, or until a thread fails.

    Attributes:
        stopping: whether ``stop`` was called.
    """

    def __init__(self) -> None:
        self.stopping = False
        self._workers: list[Worker] = []
        self._look_again = threading.Event()

    def stop(self) -> None:
        """Have the waiting end; for signal handlers and other threads."""
        self.stopping = True
        self._look_again.set()

    def watch(self, worker: Worker) -> None:
        """Raise this thread's failure from now on, at once when it ends."""
        self._workers.append(worker)
        worker.on_end = self._look_again.set

    def wait_until(
        self,
        done: Callable[[], bool],
        *,
        timeout_s: float = math.inf,
        tick_s: float = TICK_S,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> bool:
        """Wait until ``done`` holds; it is looked at, and ``meanwhile`` called, at every tick.

        Returns:
            Whether it holds; false if the time is up or ``stop`` was called.

        Raises:
            RecorderError: a thread failed.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self._raise_failures()
            if done():
                return True
            if self.stopping or time.monotonic() > deadline:
                return False
            meanwhile()
            self._look_again.wait(tick_s)
            self._look_again.clear()

    def _raise_failures(self) -> None:
        for worker in self._workers:
            failure, name = worker.failure, worker.name
            if isinstance(failure, RecorderError):
                raise failure
            if failure is not None:
                logging.getLogger("wakeword-recorder").error("the %s failed", name, exc_info=failure)
                raise RecorderError(f"the {name} failed: {failure!r}", hint="this is a mistake of the program")


class Watchdog:
    """Feeds systemd's watchdog while frames advance, or while the microphone is muted on purpose.

    Args:
        microphone: None where recordings are heard.
    """

    def __init__(self, microphone: Microphone | None) -> None:
        self._microphone = microphone
        self._interval_s = systemd.watchdog_interval_s()
        self._fed_at = 0.0
        self._blocks_fed = 0

    def feed(self) -> None:
        """Feed it if it is due and deserved."""
        now = time.monotonic()
        if self._interval_s and now - self._fed_at >= self._interval_s / 4 and self._hears():
            self._fed_at = now
            systemd.notify("WATCHDOG=1")

    def _hears(self) -> bool:
        if self._microphone is None or self._microphone.state.name == "muted":
            return True
        advanced = self._microphone.blocks_delivered > self._blocks_fed
        self._blocks_fed = self._microphone.blocks_delivered
        return advanced
