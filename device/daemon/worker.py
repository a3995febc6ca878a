"""A thread of the daemon's: whatever ends it is known to the supervisor."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Worker(threading.Thread):
    """Does one piece of work. A daemon, since some of it waits for a disk or a program that may never answer.

    Args:
        name: what it is, for people too.
        work: what it does, until it is told to stop.

    Attributes:
        failure: the error that ended it; None while all is well.
        ended: set when it has ended, whatever the reason, with ``failure`` known.
        on_end: called then.
    """

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self.failure: BaseException | None = None
        self.ended = threading.Event()
        self.on_end: Callable[[], None] = lambda: None

    def run(self) -> None:
        """Work, and keep what goes wrong; the supervisor raises it again."""
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - see above
            self.failure = error
        finally:
            self.ended.set()
            self.on_end()

    def join_started(self, timeout_s: float | None = None) -> bool:
        """Wait for its end, if it has begun; return whether it does not run."""
        if self.is_alive():
            self.join(timeout_s)
        return not self.is_alive()
