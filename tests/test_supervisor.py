"""The supervisor: whatever ends a thread ends the wait at once, and is raised with the thread's name."""

from __future__ import annotations

import threading
import time

import pytest

from device.daemon.supervisor import Supervisor
from device.daemon.worker import Worker
from device.errors import MicrophoneUnavailableError, RecorderError


def failing(error: Exception, go_on: threading.Event) -> Worker:
    def work() -> None:
        go_on.wait(10)
        raise error

    return Worker("listener", work)


@pytest.mark.parametrize("watched_first", [True, False])
def test_an_error_that_nothing_expects_ends_the_wait_at_once_and_names_the_thread(watched_first):
    supervisor, go_on = Supervisor(), threading.Event()
    worker = failing(ZeroDivisionError("by nothing"), go_on)
    if watched_first:
        supervisor.watch(worker)
    worker.start()
    threading.Timer(0.1, go_on.set).start()
    if not watched_first:
        assert worker.ended.wait(10)
        supervisor.watch(worker)
    began = time.monotonic()
    with pytest.raises(RecorderError, match="the listener failed: ZeroDivisionError") as caught:
        supervisor.wait_until(lambda: False, tick_s=30)
    assert "mistake of the program" in caught.value.hint
    assert time.monotonic() - began < 10


def test_an_error_of_ours_is_raised_as_it_is():
    supervisor, go_on = Supervisor(), threading.Event()
    worker = failing(MicrophoneUnavailableError("it is gone"), go_on)
    supervisor.watch(worker)
    worker.start()
    go_on.set()
    with pytest.raises(MicrophoneUnavailableError, match="it is gone"):
        supervisor.wait_until(lambda: False, tick_s=30)


def test_a_failure_is_known_before_the_end_is():
    """Else who waits for the end could take it for an orderly one."""
    go_on = threading.Event()
    go_on.set()
    worker = failing(ValueError("x"), go_on)
    known = []
    worker.on_end = lambda: known.append((worker.failure is not None, worker.ended.is_set()))
    worker.run()
    assert known == [(True, True)]


def test_a_worker_that_never_began_is_not_waited_for():
    assert Worker("sender", lambda: None).join_started(0)
