"""A disk that does not answer is said once after a few seconds, and once more when it is over."""

import threading
import time

import pytest

from device.edges.store import stall
from device.edges.store.stall import StallWatch


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(stall, "STALLED_S", 0.1)
    monkeypatch.setattr(stall, "LOOK_S", 0.01)


@pytest.fixture
def watched(quick):
    events, before = [], set(threading.enumerate())
    watch = StallWatch(events.append)
    yield watch, events
    watch.close()
    assert set(threading.enumerate()) == before


def until(holds):
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_long_operation_is_said_while_it_lasts_and_when_it_is_over(watched):
    watch, events = watched
    for _ in range(2):
        events.clear()
        with watch.over():
            until(lambda: events)
            assert [event.event for event in events] == ["disk-stalled"]
            time.sleep(0.05)
        assert [event.event for event in events] == ["disk-stalled", "disk-answers"]
        assert events[-1].fields["stalled_s"] >= 0.1


def test_many_short_operations_and_steps_of_a_long_one_are_not_said(watched):
    watch, events = watched
    until_s = time.monotonic() + 0.4
    while time.monotonic() < until_s:
        with watch.over():
            time.sleep(0.001)
    with watch.over():
        for _ in range(40):
            time.sleep(0.01)
            watch.begin()
    assert events == []
