"""Hooks: programs of the user's that run when something happens, each kind in a thread of its own.

Whoever says an event never waits for a hook. Nor does one kind wait for another: a chime sounds in time, however long
what runs after each sent request takes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from device.daemon.worker import Worker
from device.edges import program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from device.events import Events
    from device.sending.repeats import Repeats

EVENTS = {
    "on_wake": "wake",
    "on_stored": "stored",
    "on_sent": "sent",
    "on_no_speech": "no-speech",
    "on_mic_lost": "microphone-lost",
    "on_answer": "answer",
}
"""The event that each hook runs at."""

MOST_WAITING = 16  # events of a kind; then the oldest goes, which a chime or a light is least about


def say_problem(events: Events, repeats: Repeats, hook: str, problem: str) -> None:
    """Say what went wrong with a hook: once, then now and then with how often."""
    if times := repeats.count((hook, problem), time.monotonic()):
        facts = {"times": times} if times > 1 else {}
        events("hook-failed", f"[hooks] {hook}: {problem}", level=logging.WARNING, hook=hook, problem=problem, **facts)


class Hooks:
    """Runs the programs; may be used by any thread.

    Args:
        commands: the programs and their arguments, by hook; an empty one runs nothing.
        folder: where they start.
        timeout_s: how long each may take.
        on_problem: takes a hook's name and what went wrong, in one line; called in the hook's thread.
        on_start: called whenever a program has been started, in the hook's thread.

    Attributes:
        workers: its threads, one for each hook.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        *,
        folder: str,
        timeout_s: float,
        on_problem: Callable[[str, str], None],
        on_start: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._timeout_s = timeout_s
        self._on_problem = on_problem
        self._on_start = on_start
        self._changed = threading.Condition()  # guards the two that follow
        self._waiting: dict[str, deque[bytes]] = {}
        self._close_at_s: float | None = None  # on the monotonic clock; until then what waits is still run
        self.workers: list[Worker] = []
        for hook, command in commands.items():
            if command:
                self._waiting[EVENTS[hook]] = deque()
                self.workers.append(Worker(f"hook {hook}", partial(self._run, hook, command)))
        for worker in self.workers:
            worker.start()

    def take(self, event: str, payload: bytes) -> None:
        """Run the hook of an event, if it has one, the payload being its standard input; returns at once."""
        if event not in self._waiting:
            return
        with self._changed:
            waiting = self._waiting[event]
            waiting.append(payload.rstrip() + b"\n")
            lost = len(waiting) > MOST_WAITING
            if lost:
                waiting.popleft()
            self._changed.notify_all()
        if lost:
            hook = next(hook for hook, its in EVENTS.items() if its == event)
            self._on_problem(hook, f"{MOST_WAITING} events behind; the oldest is left out")

    def close(self) -> None:
        """Let what waits be run as far as the time limit of one hook goes, then end what runs."""
        with self._changed:
            self._close_at_s = time.monotonic() + self._timeout_s
            self._changed.notify_all()
        for worker in self.workers:
            worker.join(max(self._close_at_s - time.monotonic(), 0) + 1.0)

    def _run(self, hook: str, command: Sequence[str]) -> None:
        while (payload := self._next(EVENTS[hook])) is not None:
            problem = program.run(
                command, payload, folder=self._folder, timeout_s=self._timeout_s, on_start=self._on_start,
                given_up=self._given_up,
            )  # fmt: skip
            if problem:
                self._on_problem(hook, problem)

    def _next(self, event: str) -> bytes | None:
        """Wait for an event; None at the end."""
        with self._changed:
            waiting = self._waiting[event]
            self._changed.wait_for(lambda: waiting or self._close_at_s is not None)
            return waiting.popleft() if waiting and not self._given_up() else None

    def _given_up(self) -> bool:
        return self._close_at_s is not None and time.monotonic() >= self._close_at_s
