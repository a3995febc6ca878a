"""What a command that runs for long says of its work: events, and problems once, then now and then."""

from __future__ import annotations

import logging
import time

from device.sending.repeats import Repeats

log = logging.getLogger("wakeword-recorder")


class Saying:
    """Says things; used by one thread."""

    def __init__(self) -> None:
        self._repeats = Repeats()

    def __call__(self, event: str, message: str, *, level: int = logging.INFO, **fields: object) -> None:
        """Say an event in one line; ``fields`` is what a program may want to know of it."""
        log.log(level, "%s", message, extra={"fields": {"event": event, **fields}})

    def problem(self, about: str, event: str, problem: str) -> None:
        """Say what is wrong unless it was said lately; ``about`` is what ``over`` ends."""
        if times := self._repeats.count((about, problem), time.monotonic()):
            self(event, f"{problem} ({times} times)" if times > 1 else problem, level=logging.WARNING)

    def over(self, about: str) -> None:
        """Note that all is well: the next problem is news."""
        self._repeats.over(about)
