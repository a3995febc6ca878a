"""Requests on their way to the disk: handed over at once, kept while it takes none, bounded, the oldest lost first."""

from __future__ import annotations

import threading
import time

import pytest
from support.stores import database_of, open_store, pcm_of, request_of, take

from device.daemon.recorder import MAX_HELD, Recorder
from device.errors import StoreBusyError
from device.events import Events

SOURCE = "mic:USB"


class Said(Events):
    """Events, kept."""

    def __init__(self):
        super().__init__()
        self.all = []

    def __call__(self, event, message, **fields):
        self.all.append((event, fields))

    def named(self, name):
        return [fields for event, fields in self.all if event == name]


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path) as opened:
        yield opened


@pytest.fixture
def recorder(store):
    stored = []
    said = Said()
    recorder = Recorder(store, "kitchen", said, lambda: stored.append(recorder.held))
    recorder.notified, recorder.said = stored, said
    return recorder


def test_handing_over_does_not_wait_for_the_disk(tmp_path, store, recorder):
    with database_of(tmp_path):  # as while a sync is not answered
        storing = threading.Thread(target=recorder.store_held)
        recorder.take(request_of(1), SOURCE, 0)
        storing.start()
        began = time.monotonic()
        recorder.take(request_of(2), SOURCE, 0)
        assert time.monotonic() - began < 0.5
        assert recorder.handed_over.is_set()
        assert storing.is_alive()
        assert recorder.held == 2
    storing.join(10)
    recorder.store_held()
    assert recorder.held == 0
    assert [each.duration_s for each in store.waiting()] == [0.2, 0.2]


def test_the_sender_is_notified_before_the_recorder_says_that_it_has_nothing_left(recorder):
    recorder.take(request_of(1), SOURCE, 0)
    recorder.store_held()
    assert recorder.notified == [1]
    assert recorder.held == 0


def test_each_request_wakes_the_sender_once_it_is_committed_and_one_that_the_disk_refuses_does_not(
    tmp_path, store, monkeypatch
):
    woken = []
    put = store.put

    def refuse(*_, **__):
        raise StoreBusyError("disk full")

    with open_store(tmp_path) as other:
        recorder = Recorder(store, "kitchen", Said(), lambda: woken.append(other.count()))
        recorder.take(request_of(1), SOURCE, 0)
        monkeypatch.setattr(store, "put", refuse)
        recorder.store_held(now=True)
        assert woken == []
        monkeypatch.setattr(store, "put", put)
        recorder.take(request_of(2), SOURCE, 0)
        recorder.store_held(now=True)
    assert woken == [1, 2]


@pytest.mark.parametrize("storing", [False, True])
def test_beyond_the_bound_the_oldest_that_is_not_under_way_is_lost_and_said(
    tmp_path, store, recorder, storing, monkeypatch
):
    put, under_way = store.put, threading.Event()
    monkeypatch.setattr(store, "put", lambda *all_, **facts: (under_way.set(), put(*all_, **facts))[1])
    with database_of(tmp_path):
        thread = threading.Thread(target=recorder.store_held)
        recorder.take(request_of(0), SOURCE, 0)
        if storing:
            thread.start()
            assert under_way.wait(10)
        for seed in range(1, MAX_HELD + 2):
            recorder.take(request_of(seed), SOURCE, 0)
        assert [fields["count"] for fields in recorder.said.named("lost")] == [1, 1]
    if storing:
        thread.join(10)
    recorder.store_held()
    lost = {1, 2} if storing else {0, 1}
    expected = [pcm_of(seed) for seed in range(MAX_HELD + 2) if seed not in lost]
    got = []
    while claimed := take(store):
        store.acknowledge(claimed.tag.id)
        got.append(claimed.pcm)
    assert got == expected


def test_what_cannot_be_stored_by_a_mistake_of_ours_is_said_and_the_next_one_is_stored(store, recorder):
    recorder.take(request_of(1, ended_by="whim"), SOURCE, 0)
    recorder.take(request_of(2), SOURCE, 0)
    recorder.store_held()
    assert recorder.held == 0
    assert [fields["count"] for fields in recorder.said.named("lost")] == [1]
    assert take(store).pcm == pcm_of(2)


def test_at_the_end_it_says_how_many_the_disk_did_not_take(recorder):
    for seed in range(3):
        recorder.take(request_of(seed), SOURCE, 0)
    recorder.give_up()
    recorder.give_up()
    assert [fields["count"] for fields in recorder.said.named("lost")] == [3]
