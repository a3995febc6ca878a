"""What a signal that asks the program to end does: unwind a command at once, or have it stop in its own time."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_held = False  # inside `held()`
_came: int | None = None  # what came meanwhile


class Interrupted(BaseException):
    """A signal asked the program to end; whatever is under way is unwound.

    Attributes:
        exit_status: 128 + the signal's number, as a shell has it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number


@contextmanager
def interruptible() -> Iterator[None]:
    """Have SIGINT, SIGTERM and SIGHUP raise Interrupted in the block; one that is ignored (nohup) stays so."""
    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held() -> Iterator[None]:
    """Do the block as a whole: a signal that comes meanwhile raises Interrupted when it is done."""
    global _held, _came  # noqa: PLW0603 - signals are the process's, not an object's
    _held = True
    try:
        yield
    finally:
        _held = False
    if _came is not None:
        number, _came = _came, None
        _interrupt(number, None)


def stop_in_order(stop: Callable[[], None]) -> None:
    """Have SIGINT, SIGTERM and SIGHUP lead to a call of ``stop`` from now on, in a thread of its own.

    For what has threads and locks, which an exception out of nowhere would leave in disorder. SIGHUP comes when a
    terminal or an SSH session breaks off; ignored (nohup), it stays so.
    """
    # A handler runs amid whatever the main thread does. If it set an Event whose lock the main thread holds, as it does
    # for a moment whenever it waits for it, it would wait for itself for ever.
    asked: SimpleQueue[None] = SimpleQueue()  # the one queue whose `put` a handler may call

    def work() -> None:
        while True:
            asked.get()
            stop()

    threading.Thread(target=work, name="signals", daemon=True).start()
    for number in ENDING:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: asked.put(None))


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _came  # noqa: PLW0603
    if _held:
        _came = number
        return
    if _imports(frame):
        os._exit(128 + number)  # an exception there comes out of C code as another one, with a traceback
    for other in ENDING:  # while it unwinds: a second Ctrl-C ends it, a hang-up that comes twice does not
        signal.signal(other, signal.SIG_DFL if other == signal.SIGINT else signal.SIG_IGN)
    sys.unraisablehook = _unraisable
    raise Interrupted(number)


def _unraisable(what: sys.UnraisableHookArgs) -> None:
    """Say nothing of destructors that fail on half-made objects; end where one has swallowed the interruption."""
    if isinstance(what.exc_value, Interrupted):
        os._exit(what.exc_value.exit_status)


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported, at any depth."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
