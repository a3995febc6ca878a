"""The one thread that may wait for the disk: it stores, sees what others changed, and goes on after errors."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from support.stores import database_of, open_store, put, request_of

from device.daemon.recorder import Recorder
from device.daemon.storekeeper import StoreKeeper
from device.errors import StoreBusyError
from device.events import Events
from device.message.review import unreadable
from device.message.timestamps import NS_PER_S


class Sender:
    """What is asked of the sender, kept."""

    def __init__(self):
        self.asked = []

    def notify(self):
        self.asked.append("notify")

    def send_now(self):
        self.asked.append("send now")


class Microphone:
    """A microphone that is muted and unmuted."""

    def __init__(self):
        self.state = SimpleNamespace(name="listening")

    def mute(self):
        self.state = SimpleNamespace(name="muted")

    def unmute(self):
        self.state = SimpleNamespace(name="listening")


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path) as opened:
        yield opened


@pytest.fixture
def command(tmp_path):
    """Another process's view of the same folder."""
    with open_store(tmp_path) as opened:
        yield opened


@pytest.fixture
def keeper(store):
    sender, microphone, reviews, failed = Sender(), Microphone(), [], []
    recorder = Recorder(store, "kitchen", Events(), sender.notify)
    keeper = StoreKeeper(store, recorder, sender, Events(), microphone, publish_review=reviews.append)
    keeper.worker.on_end = lambda: failed.append(True)
    keeper.seen = SimpleNamespace(sender=sender, microphone=microphone, reviews=reviews, failed=failed)
    keeper.recorder = recorder
    keeper.start()
    until(lambda: reviews)
    yield keeper
    keeper.stop()


def until(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def refusing(monkeypatch, store, name, times):
    """Have a call of the store fail so often, as on a disk with read errors."""
    call, left = getattr(store, name), [times]

    def fails(*arguments):
        if left[0]:
            left[0] -= 1
            raise StoreBusyError("the disk cannot be read")
        return call(*arguments)

    monkeypatch.setattr(store, name, fails)


def test_what_is_handed_over_is_stored_at_once_and_the_sender_told(keeper, store):
    keeper.recorder.take(request_of(1), "mic:USB", 0)
    until(lambda: store.count() == 1)
    until(lambda: "notify" in keeper.seen.sender.asked)


def test_a_mute_by_another_process_reaches_the_microphone_also_after_read_errors(keeper, store, command, monkeypatch):
    refusing(monkeypatch, store, "muted", 3)
    command.set_muted(True)
    until(lambda: keeper.seen.microphone.state.name == "muted")
    command.set_muted(False)
    until(lambda: keeper.seen.microphone.state.name == "listening")
    assert keeper.worker.failure is None


def test_a_choice_that_could_not_be_read_for_a_while_is_published_again_once_it_can_be(
    keeper, store, command, monkeypatch
):
    review, unread = store.review, [unreadable()]
    monkeypatch.setattr(store, "review", lambda: unread.pop() if unread else review())
    command.choose(True)
    until(lambda: keeper.seen.reviews[-1].choice == "user")
    assert "unreadable" in [review.choice for review in keeper.seen.reviews]


def test_who_asks_to_send_is_told_to_the_sender_and_who_changes_something_else_is_not(keeper, command):
    command.choose(True)
    until(lambda: keeper.seen.sender.asked)
    assert set(keeper.seen.sender.asked) == {"notify"}
    for times in (1, 2):
        command.ask_to_send()
        until(lambda times=times: keeper.seen.sender.asked.count("send now") == times)


def test_what_was_handed_over_before_the_stop_is_stored_by_it(keeper, store):
    for seed in range(5):
        keeper.recorder.take(request_of(seed), "mic:USB", 0)
    keeper.stop()
    assert store.count() == 5


def test_an_error_that_nothing_expects_ends_the_thread_and_is_kept(keeper, store, monkeypatch):
    def broken(*_, **__):
        raise ValueError("a mistake")

    monkeypatch.setattr(store, "put", broken)
    keeper.recorder.take(request_of(1), "mic:USB", 0)
    until(lambda: keeper.seen.failed)
    assert isinstance(keeper.worker.failure, ValueError)


def test_what_is_too_old_is_dropped_while_nothing_else_happens(tmp_path, monkeypatch, store, keeper):
    monkeypatch.setattr("device.daemon.storekeeper.HOUSEKEEPING_S", 0.0)
    put(store, 1)
    with database_of(tmp_path) as db:
        db.execute("UPDATE request SET boot_ns = boot_ns - ?", (8 * 86_400 * NS_PER_S,))
    until(lambda: store.counters().get("dropped_age") == 1)
