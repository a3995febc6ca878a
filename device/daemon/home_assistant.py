"""What Home Assistant gets to know beyond the states that everybody does: the discovery, and how this device is."""

from __future__ import annotations

import logging
import math
import random
import time
from typing import TYPE_CHECKING

import msgspec

from device.message.commands import Action
from device.message.health import Health, Problem
from device.message.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device.daemon.sender import Sender
    from device.edges.store import Store
    from device.message.timestamps import Clock

LOOK_S = 5.0  # how often the state `health` may change, unless somebody asks for it
CPU_S = 60.0  # over how long the processor's share is measured
LONGEST_DELAY_S = 10.0  # many devices tell Home Assistant of themselves when it has started: not all at once
_MOST_CHARACTERS = 255  # of a state in Home Assistant


class HomeAssistant:
    """Watches what happens and tells it; `look` is for one thread, the others for any.

    Args:
        sender: publishes states.
        store: counts the requests that wait.
        clock: this machine's.
    """

    def __init__(self, sender: Sender, store: Store, clock: Clock) -> None:
        self._sender = sender
        self._store = store
        self._clock = clock
        self._last_request_at: str | None = None
        self._checked_at: str | None = None
        self._problem: Problem | None = None
        self._look_at_s = 0.0  # on the monotonic clock, as all that follow
        self._again_at_s = math.inf
        self._cpu_percent: float | None = None
        self._cpu_since = time.monotonic(), time.process_time()

    def note(self, event: str, level: int, fields: Mapping[str, object]) -> None:
        """Take note of an event."""
        if event == "stored":
            self._last_request_at = self._now()
        if level >= logging.WARNING:
            why = fields.get("problem") or fields.get("reason")
            text = event.replace("-", " ") + (f": {why}" if why else "")
            self._problem = Problem(event=event, text=text[:_MOST_CHARACTERS], at=self._now())

    def execute(self, action: Action) -> None:
        """Do what is asked for from afar: have the health looked at now, or all told anew, a while after a birth."""
        if action is Action.CHECK:
            self._checked_at = self._now()
            self._look_at_s = 0.0
        elif self._again_at_s == math.inf:
            self._again_at_s = time.monotonic() + random.uniform(0, LONGEST_DELAY_S)  # noqa: S311 - no secret

    def look(self) -> None:
        """Tell what is due; to be called a few times a second.

        Raises:
            StoreBusyError: the disk does not answer now.
        """
        now_s = time.monotonic()
        if now_s >= self._again_at_s:
            self._again_at_s = math.inf
            self._sender.tell_again()
        if now_s < self._look_at_s:
            return
        self._look_at_s = now_s + LOOK_S
        self._measure(now_s)
        health = Health(
            waiting=self._store.count(),
            last_request_at=self._last_request_at,
            problem=self._problem,
            cpu_percent=self._cpu_percent,
            checked_at=self._checked_at,
        )
        self._sender.set_state("health", msgspec.json.encode(health))

    def _measure(self, now_s: float) -> None:
        began_s, used_s = self._cpu_since
        if now_s >= began_s + CPU_S:
            spent_s = time.process_time()
            self._cpu_percent = round(100 * (spent_s - used_s) / (now_s - began_s), 1)
            self._cpu_since = now_s, spent_s

    def _now(self) -> str:
        return rfc3339(self._clock.now().wall_ns)
