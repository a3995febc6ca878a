"""What was sent is remembered without its sound, for some days, and what left as reviewable can be withdrawn."""

import json
import sqlite3

import msgspec
import pytest
from support.stores import JumpingClock, bytes_of, database_of, drain, open_store, pcm_of, put, take, take_back

from device.edges.store.folder import DATABASE

DAYS = 30


@pytest.fixture
def clock():
    return JumpingClock()


@pytest.fixture
def store(tmp_path, clock):
    with open_store(tmp_path, history_days=DAYS, clock=clock) as store:
        yield store


def send(store, *seeds):
    """Have requests sent, oldest first; return their ids."""
    for seed in seeds:
        put(store, seed)
    ids = [claimed.tag.id for claimed in drain(store)]
    store.flush()
    return ids


def listed(store):
    return {entry.id: entry for entry in store.history.entries()}


def test_what_the_broker_has_is_remembered_without_its_sound(store, tmp_path, clock):
    reviewable = send(store, 1)
    store.choose(True)
    clock.pass_s(60)
    private = send(store, 2)
    entries = store.history.entries()
    assert [(entry.id, entry.opt_out) for entry in entries] == [(*private, True), (*reviewable, False)]
    assert (entries[1].wake_word, entries[1].duration_s) == ("hey_jarvis", 0.2)
    assert (entries[1].captured_at, entries[1].sent_at) == ("2026-11-22T20:43:20.152Z", "2026-11-22T20:43:21.652Z")
    assert pcm_of(1) not in bytes_of(tmp_path)


def test_what_waits_or_was_deleted_is_not_in_it(store):
    put(store, 1)
    put(store, 2)
    assert listed(store) == {}
    store.delete()
    assert listed(store) == {}


def test_without_a_history_nothing_of_what_was_sent_stays(tmp_path, clock):
    with open_store(tmp_path, history_days=0, clock=clock) as store:
        put(store, 1)
        store.choose(True)  # a row of what may have left as reviewable
        send(store, 2)
        assert listed(store) == {}
        with database_of(tmp_path) as db:
            assert db.execute("SELECT count(*) FROM sent").fetchone() == (0,)


def test_it_is_forgotten_after_its_days_and_not_before_the_clock_is_set(store, clock):
    old = send(store, 1)
    clock.pass_s((DAYS - 1) * 86_400)
    new = send(store, 2)
    clock.pass_s(86_400)
    clock.set(synced=False)
    store.expire()
    assert set(listed(store)) == {*old, *new}
    clock.set(synced=True)
    store.expire()
    assert set(listed(store)) == set(new)


def test_what_was_sent_before_the_clock_was_set_is_not_taken_for_old(store, clock):
    now_ns = clock.moment.wall_ns
    clock.set(wall_ns=0, synced=False)
    ids = send(store, 1)
    clock.set(wall_ns=now_ns, synced=True)
    store.expire()
    assert set(listed(store)) == set(ids)
    clock.pass_s(DAYS * 86_400)
    store.expire()
    assert listed(store) == {}


def test_only_the_newest_of_very_many_are_kept(store, monkeypatch):
    monkeypatch.setattr("device.edges.store.sent.MOST", 3)
    ids = send(store, *range(5))
    store.expire()
    assert set(listed(store)) == set(ids[-3:])


def test_an_opt_out_that_withdraws_asks_to_erase_what_left_as_reviewable_and_nothing_else(store):
    reviewable = send(store, 1, 2)
    store.choose(True)
    private = send(store, 3)
    assert store.history.to_erase(10) == []
    chosen = store.choose(True, withdraw=True)
    assert (chosen.changed, chosen.withdrawn) == (False, 2)
    assert store.history.to_erase(10) == sorted(reviewable)
    assert {each: listed(store)[each].erasure for each in (*reviewable, *private)} == {
        reviewable[0]: "asked", reviewable[1]: "asked", private[0]: None,
    }  # fmt: skip


def test_a_request_under_way_as_reviewable_while_it_is_withdrawn_is_erased_too(store):
    put(store, 1)
    claimed = take(store)  # published now, and not acknowledged yet
    assert not claimed.tag.review.opt_out
    assert store.choose(True, withdraw=True).withdrawn == 1
    assert store.history.to_erase(10) == [claimed.tag.id]
    store.acknowledge(claimed.tag.id)
    store.flush()
    assert listed(store)[claimed.tag.id].opt_out is False


def test_a_request_that_left_as_reviewable_before_a_crash_and_again_as_opted_out_is_withdrawn_later(store):
    put(store, 1)
    take(store)
    store.choose(True)  # the broker's word for it never came
    (again,) = drain(store)
    store.flush()
    assert again.tag.review.opt_out
    assert store.choose(True, withdraw=True).withdrawn == 1
    assert store.history.to_erase(10) == [again.tag.id]


def test_what_is_withdrawn_is_asked_for_once_and_told_once(store):
    (request_id,) = send(store, 1)
    store.choose(True, withdraw=True)
    assert store.choose(True, withdraw=True).withdrawn == 0
    store.history.note_erased([request_id])
    assert store.history.to_erase(10) == []
    assert listed(store)[request_id].erasure == "told"
    assert store.history.withdraw([request_id]) == 0


def test_a_single_request_can_be_withdrawn_however_it_left(store):
    send(store, 1)
    store.choose(True)
    (private,) = send(store, 2)
    assert store.history.withdraw([private]) == 1
    assert store.history.to_erase(10) == [private]


def test_the_state_says_since_when_it_is_withdrawn_until_the_choice_changes(store, clock):
    assert json.loads(state_of(store)).get("withdrawn_at") is None
    store.choose(True)
    clock.pass_s(10)
    store.choose(True, withdraw=True)
    assert json.loads(state_of(store))["withdrawn_at"] == "2026-11-22T20:43:31.652Z"
    store.choose(False)
    assert "withdrawn_at" not in json.loads(state_of(store))


def state_of(store):
    return msgspec.json.encode(store.review_state())


def test_clearing_forgets_all_but_what_is_still_to_be_told(store):
    reviewable = send(store, 1)
    store.choose(True, withdraw=True)
    send(store, 2)
    assert store.history.clear() == 1
    assert set(listed(store)) == set(reviewable)
    assert store.history.to_erase(10) == reviewable


def test_a_withdrawal_outlives_a_damaged_database(tmp_path, clock):
    with open_store(tmp_path, history_days=DAYS, clock=clock) as store:
        ids = send(store, 1, 2)
        store.choose(True, withdraw=True)
    with sqlite3.connect(tmp_path / DATABASE) as db:
        page = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'review'").fetchone()[0]
    db.close()
    with (tmp_path / DATABASE).open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    with open_store(tmp_path, history_days=DAYS, clock=clock) as store:
        assert store.review().choice == "unreadable"
        assert store.history.to_erase(10) == ids
        assert set(listed(store)) == set(ids)


def test_a_database_of_before_has_an_empty_history(tmp_path, clock):
    with open_store(tmp_path, clock=clock) as store:
        put(store, 1)
    with sqlite3.connect(tmp_path / DATABASE) as db:
        take_back(db, 4)
    db.close()
    with open_store(tmp_path, history_days=DAYS, clock=clock) as store:
        assert listed(store) == {}
        assert len(drain(store)) == 1
        store.flush()
        assert len(listed(store)) == 1
