"""The store on a sound disk: choice, mute, outbox, limits, clocks, privacy of the files."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import uuid
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from support.stores import (
    EVENING_NS,
    JumpingClock,
    bytes_of,
    database_of,
    drain,
    fill,
    open_store,
    pcm_of,
    put,
    request_of,
    take,
)

from device.daemon.storekeeper import HOUSEKEEPING_S
from device.edges.store import become_owner_of, upkeep
from device.edges.store.ids import Uuid7
from device.errors import StateFolderError
from device.message.review import Review, spelled_out, unreadable, uses
from device.message.timestamps import NS_PER_S
from device.message.wording import Wording

HOUR_S = 3600


@pytest.fixture
def clock():
    return JumpingClock()


@pytest.fixture
def store(tmp_path, clock):
    with open_store(tmp_path / "state", clock=clock) as opened:
        yield opened


# The review choice


@pytest.mark.parametrize("opt_out", [True, False])
def test_until_the_user_chooses_the_default_counts_and_is_what_the_configuration_says_today(tmp_path, opt_out):
    open_store(tmp_path, default_opt_out=not opt_out).close()
    with open_store(tmp_path, default_opt_out=opt_out) as store:
        assert store.review() == Review(opt_out=opt_out, choice="default", revision=0, changed_at=None)


def test_each_change_is_the_next_revision_with_its_time(store, clock):
    first = store.choose(True).review
    clock.pass_s(10)
    assert first == Review(opt_out=True, choice="user", revision=1, changed_at="2026-11-22T20:43:21.652Z")
    assert store.choose(False).review == Review(
        opt_out=False, choice="user", revision=2, changed_at="2026-11-22T20:43:31.652Z"
    )


def test_the_same_choice_again_changes_nothing(store, clock):
    before = store.choose(True).review
    clock.pass_s(10)
    assert store.choose(True).review == before == store.review()


def test_choosing_what_is_the_default_makes_it_the_users(store):
    assert store.choose(False).review.choice == "user"


def test_a_choice_outlives_the_process_and_a_change_of_the_default(tmp_path):
    with open_store(tmp_path) as store:
        chosen = store.choose(False).review
    with open_store(tmp_path, default_opt_out=True) as store:
        assert store.review() == chosen


def test_opting_out_opts_out_everything_that_waits_and_says_how_much(store):
    kept = [put(store, seed).tag for seed in range(3)]
    chosen = store.choose(True)
    assert chosen.retagged == 3
    assert [each.review for each in store.waiting()] == [chosen.review] * 3
    assert [each.tag.id for each in drain(store)] == [tag.id for tag in kept]


def test_opting_in_again_never_loosens_what_waits(store):
    put(store, 1)
    out = store.choose(True).review
    put(store, 2)
    store.choose(False)
    put(store, 3)
    assert [each.tag.review.opt_out for each in drain(store)] == [True, True, False]
    assert out.revision == 1


def test_what_a_tag_allows_in_standard_words_is_as_strict_as_the_choice_when_it_is_sent(store):
    first, second = put(store, 1), put(store, 2)
    assert first.tag.review.use is second.tag.review.use is UNSET  # what waits holds no second word for the choice
    sent = take(store)
    assert sent.tag.review.use == uses(opt_out=False)
    store.acknowledge(sent.tag.id)
    store.choose(True)
    assert take(store).tag.review.use == uses(opt_out=True)


def test_what_was_read_where_a_choice_was_made_is_stored_with_it_and_its_version_is_in_the_tags(tmp_path):
    shown = Wording(7, "People may listen.")
    with open_store(tmp_path) as store:
        store.choose(False, shown=shown)
        put(store, 1)
        store.choose(True)  # by a command from afar: nobody read anything
        assert store.wording() is None
        assert take(store).tag.review.wording is UNSET  # it is this choice that counts now
        store.choose(False, shown=Wording(8, "Newer."))
        put(store, 2)
    with open_store(tmp_path) as store:
        assert store.wording() == Wording(8, "Newer.")
        assert [claimed.tag.review.wording for claimed in drain(store)] == [UNSET, 8]
        with database_of(tmp_path) as db:
            kept = db.execute("SELECT revision, choice, wording, sentence FROM chosen ORDER BY revision").fetchall()
    assert kept == [
        (1, "reviewable", 7, "People may listen."),
        (2, "opted-out", None, None),
        (3, "reviewable", 8, "Newer."),
    ]


def test_a_request_of_an_earlier_choice_names_the_sentence_of_that_one(tmp_path):
    with open_store(tmp_path) as store:
        store.choose(True, shown=Wording(1, "Nobody."))
        put(store)
        store.choose(False, shown=Wording(2, "People."))
        review = take(store).tag.review
        assert (review.revision, review.wording, review.opt_out) == (1, 1, True)


def test_a_default_that_became_stricter_tightens_what_waits_and_stays_so(tmp_path):
    with open_store(tmp_path, default_opt_out=False) as store:
        put(store)
    with open_store(tmp_path, default_opt_out=True) as store:
        assert take(store).tag.review.opt_out
    with open_store(tmp_path, default_opt_out=False) as store:
        assert take(store).tag.review.opt_out


def test_opting_in_from_a_stricter_default_leaves_what_waits_opted_out(tmp_path):
    with open_store(tmp_path, default_opt_out=False) as store:
        put(store)
    with open_store(tmp_path, default_opt_out=True) as store:
        assert store.choose(False).retagged == 1
        tagged = take(store).tag.review
        assert tagged == spelled_out(Review(opt_out=True, choice="default", revision=0, changed_at=None))


def test_what_is_wanted_is_asked_with_the_tag_as_it_will_be_sent(tmp_path):
    with open_store(tmp_path, default_opt_out=False) as store:
        put(store)
    with open_store(tmp_path, default_opt_out=True) as store:
        with store.claim(lambda request_id, opt_out: not opt_out) as claimed:
            assert claimed is None
        with store.claim(lambda request_id, opt_out: opt_out) as claimed:
            assert claimed is not None


@pytest.mark.parametrize(
    "broken",
    [
        "DELETE FROM review",
        "UPDATE review SET choice = 'reviewablf'",
        "UPDATE review SET choice = 'reviewable', revision = -1",
        "UPDATE review SET choice = 'default', revision = 3",
        "UPDATE review SET choice = 'reviewable', revision = 3, changed_at = NULL",
    ],
)
def test_a_choice_that_makes_no_sense_is_an_opt_out_reported_once(tmp_path, broken):
    events = []
    with open_store(tmp_path, report=events.append) as store:
        with database_of(tmp_path) as db:
            db.execute("PRAGMA ignore_check_constraints=ON")
            db.execute(broken)
        assert store.review() == unreadable()
        assert put(store).tag.review == unreadable()
        assert take(store).tag.review == spelled_out(unreadable())
        assert [event.event for event in events] == ["review-unreadable"]
        assert store.choose(False).review.opt_out is False
        assert put(store).tag.review.opt_out is False
        assert [each.review.opt_out for each in store.waiting()] == [True, False]


# The mute


def test_a_new_store_listens_and_a_mute_outlives_the_process(tmp_path, clock):
    with open_store(tmp_path, clock=clock) as store:
        assert not store.muted().muted
        clock.pass_s(60)
        store.set_muted(True)
    with open_store(tmp_path, clock=clock) as store:
        muted = store.muted()
        assert muted.muted
        assert muted.since == "2026-11-22T20:44:21.652Z"
        clock.pass_s(60)
        store.set_muted(True)
        assert store.muted() == muted
        store.set_muted(False)
        assert not store.muted().muted


def test_a_mute_that_makes_no_sense_counts_as_muted(tmp_path):
    with open_store(tmp_path) as store:
        with database_of(tmp_path) as db:
            db.execute("DELETE FROM microphone")
        assert store.muted().muted
        store.set_muted(False)
        assert not store.muted().muted


# The outbox


def test_a_request_comes_back_with_its_tag_and_every_sample(store):
    stored = put(store, 7, samples=12_345)
    claimed = take(store)
    assert claimed.pcm == pcm_of(7, 12_345)
    assert claimed.attempts == 0
    assert claimed.tag.waited_s == 0
    for name in set(claimed.tag.__struct_fields__) - {"waited_s", "review"}:
        assert getattr(claimed.tag, name) == getattr(stored.tag, name), name
    assert claimed.tag.review == spelled_out(stored.tag.review)
    assert stored.tag.captured_at == "2026-11-22T20:43:20.152Z"
    assert stored.tag.duration_s == 12_345 / 16_000


def test_requests_leave_oldest_first_whatever_the_wall_clock_did(store, clock):
    tags = []
    for jump in (0, -HOUR_S, 2 * HOUR_S, -5 * HOUR_S):
        clock.set(wall_ns=clock.moment.wall_ns + jump * NS_PER_S)
        tags.append(put(store, len(tags)).tag)
    assert [each.tag.id for each in drain(store)] == [tag.id for tag in tags]
    assert sorted(tag.id for tag in tags) == [tag.id for tag in tags]


def test_a_source_that_is_no_text_is_stored_readably(store):
    stored = store.put(request_of(1), device="kitchen", source="file:caf\udce9.wav", age_s=0)
    assert stored.tag.source == "file:caf?.wav"


def test_a_claimed_request_waits_on_until_it_is_acknowledged(store):
    put(store)
    assert take(store) == take(store)
    store.acknowledge(take(store).tag.id)
    assert take(store) is None
    assert store.count() == 0
    assert store.waiting() == []


def test_an_acknowledgement_is_durable_after_flush_and_repeats_the_same_sound_after_a_crash_before(tmp_path):
    first = open_store(tmp_path)
    sent = put(store=first, seed=1).tag.id
    first.acknowledge(sent)
    with open_store(tmp_path) as second:
        assert take(second).tag.id == sent
        assert take(second).pcm == pcm_of(1)
        first.flush()
        assert take(second) is None
        assert second.counters() == {"acknowledged": 1, "stored": 1}
    first.close()


def test_a_refused_request_does_not_block_the_next(store):
    first, second = put(store, 1).tag.id, put(store, 2).tag.id
    store.refused(first, "not authorised (135)")
    with store.claim(lambda request_id, opt_out: request_id != first) as claimed:
        assert claimed.tag.id == second
    waiting = store.waiting()
    assert [(each.id, each.attempts, each.problem) for each in waiting] == [
        (first, 1, "not authorised (135)"),
        (second, 0, ""),
    ]
    assert take(store).attempts == 1


def test_waiting_lists_what_a_person_wants_to_know(store):
    tag = put(store, samples=16_000).tag
    (waiting,) = store.waiting()
    assert (waiting.id, waiting.captured_at, waiting.wake_word) == (tag.id, tag.captured_at, "hey_jarvis")
    assert (waiting.duration_s, waiting.bytes, waiting.review) == (1.0, 32_000, tag.review)


def test_delete_takes_the_named_or_all_and_counts_them(store):
    ids = [put(store, seed).tag.id for seed in range(5)]
    assert store.delete([ids[1], ids[3], "unknown"]) == 2
    assert [each.id for each in store.waiting()] == [ids[0], ids[2], ids[4]]
    assert store.delete() == 3
    assert store.count() == 0
    assert store.counters()["deleted"] == 5


def test_delete_all_leaves_acknowledged_ones_out_of_the_count(store):
    store.acknowledge(put(store, 1).tag.id)
    put(store, 2)
    assert store.delete() == 1


@given(st.lists(st.integers(-(10**9), 2**62)))
def test_ids_are_version_7_and_only_rise_whatever_the_wall_clock_does(wall_times):
    ids = Uuid7()
    made = [ids.make(wall_ns) for wall_ns in wall_times]
    assert made == sorted(set(made))
    assert all((uuid.UUID(each).version, uuid.UUID(each).variant) == (7, uuid.RFC_4122) for each in made)
    if made and wall_times[0] >= 0:
        assert uuid.UUID(made[0]).int >> 80 == wall_times[0] // 1_000_000


# The limits


def test_the_oldest_make_room_and_are_told_and_counted(store_of_size):
    store = store_of_size(3 * 6_400)
    tags = [put(store, seed).tag for seed in range(3)]
    stored = put(store, 3)
    assert [(drop.id, drop.reason, drop.bytes) for drop in stored.dropped] == [(tags[0].id, "size", 6_400)]
    assert (stored.dropped[0].wake_word, stored.dropped[0].captured_at) == ("hey_jarvis", tags[0].captured_at)
    assert [each.id for each in store.waiting()] == [tags[1].id, tags[2].id, stored.tag.id]
    assert store.counters() == {"dropped_size": 1, "stored": 4}


def test_the_newest_is_kept_even_if_it_alone_is_too_large(store_of_size):
    store = store_of_size(1_000)
    assert put(store, 1).dropped == ()
    stored = put(store, 2)
    assert len(stored.dropped) == 1
    assert [each.id for each in store.waiting()] == [stored.tag.id]


def test_what_the_broker_has_already_is_not_dropped_but_acknowledged(store_of_size):
    store = store_of_size(6_400)
    store.acknowledge(put(store, 1).tag.id)
    assert put(store, 2).dropped == ()
    assert store.counters() == {"acknowledged": 1, "stored": 2}


@pytest.fixture
def store_of_size(tmp_path):
    opened = []

    def build(max_bytes):
        opened.append(open_store(tmp_path, max_bytes=max_bytes))
        return opened[-1]

    yield build
    for store in opened:
        store.close()


def test_old_requests_expire_by_the_clock_that_nobody_sets(tmp_path, clock):
    with open_store(tmp_path, clock=clock, max_age_s=HOUR_S) as store:
        old = put(store, 1).tag.id
        clock.set(wall_ns=clock.moment.wall_ns + 100 * HOUR_S * NS_PER_S)
        assert store.expire() == ()
        clock.pass_s(HOUR_S / 2)
        young = put(store, 2).tag.id
        clock.pass_s(HOUR_S / 2 + 1)
        assert [(drop.id, drop.reason) for drop in store.expire()] == [(old, "age")]
        assert [each.id for each in store.waiting()] == [young]
        assert store.counters()["dropped_age"] == 1


@pytest.mark.parametrize(
    ("synced_then", "synced_now", "expires"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
def test_over_a_reboot_wall_time_counts_only_if_both_ends_were_synchronised(
    tmp_path, clock, synced_then, synced_now, expires
):
    with open_store(tmp_path, clock=clock, max_age_s=HOUR_S) as store:
        clock.set(synced=synced_then)
        put(store)
        clock.pass_s(2 * HOUR_S)
        clock.reboot("boot-2", synced=synced_now)
        assert bool(store.expire()) is expires
        clock.pass_s(HOUR_S)  # it is certainly older than this boot
        assert bool(store.expire()) is not expires


def test_more_than_one_transaction_of_old_requests_expires_in_one_call(tmp_path, clock):
    fill(tmp_path, 600, 16, clock=clock)
    with open_store(tmp_path, clock=clock, max_age_s=1) as store:
        clock.pass_s(2)
        assert len(store.expire()) == 600


# The clock


def test_waited_s_counts_by_the_boot_clock_and_is_null_over_a_reboot(store, clock):
    put(store)
    clock.pass_s(2.5)
    clock.set(wall_ns=0)
    assert take(store).tag.waited_s == 2.5
    clock.reboot("boot-2")
    assert take(store).tag.waited_s is None


def test_times_are_set_right_once_the_clock_is_and_only_for_this_boot(store, clock):
    clock.set(wall_ns=EVENING_NS - 86_400 * NS_PER_S, synced=False, boot_id="boot-0")
    put(store, 1)
    clock.set(boot_id="boot-1")
    wrong = put(store, 2, age_s=1.5).tag
    assert not wrong.clock_synced
    assert store.correct_times() == 0
    clock.pass_s(10)
    clock.set(wall_ns=EVENING_NS, synced=True)
    assert store.correct_times() == 1
    assert store.correct_times() == 0
    first, second = drain(store)
    assert not first.tag.clock_synced
    assert second.tag.clock_synced
    assert second.tag.captured_at == "2026-11-22T20:43:10.152Z"
    assert second.tag.waited_s == 10
    assert second.tag.id == wrong.id


# Two users of one folder


def test_another_connections_changes_show_in_the_change_counter_and_ones_own_too(tmp_path):
    with open_store(tmp_path) as one, open_store(tmp_path) as two:
        seen = [one.change_counter()]
        two.choose(True)
        seen.append(one.change_counter())
        one.set_muted(True)
        seen.append(one.change_counter())
        assert len(set(seen)) == 3
        assert one.change_counter() == seen[-1]


def test_an_opt_out_waits_for_a_held_claim_and_the_next_claim_is_opted_out(tmp_path):
    with open_store(tmp_path) as one, open_store(tmp_path) as two:
        put(one)
        returned = threading.Event()
        chooser = threading.Thread(target=lambda: (two.choose(True), returned.set()))
        with one.claim(lambda request_id, opt_out: True) as claimed:
            assert not claimed.tag.review.opt_out
            chooser.start()
            assert not returned.wait(0.3)
        chooser.join(5)
        assert returned.is_set()
        assert take(one).tag.review.opt_out


def test_the_store_may_not_be_called_inside_a_claim_but_to_acknowledge(store):
    put(store)
    with store.claim(lambda request_id, opt_out: True) as claimed:
        with pytest.raises(RuntimeError, match="inside a claim"):
            store.choose(True)
        store.acknowledge(claimed.tag.id)
    assert take(store) is None


def test_threads_share_one_store(store):
    """One thread stores while another sends and a third toggles, as in the daemon."""
    ended = threading.Event()
    stored: list[str] = []
    sent: list[str] = []

    def send():
        while not ended.is_set() or store.count():
            sent.extend(claimed.tag.id for claimed in drain(store))

    def toggle():
        for number in range(20):
            store.choose(number % 2 == 0)

    threads = [threading.Thread(target=send), threading.Thread(target=toggle)]
    for thread in threads:
        thread.start()
    for seed in range(100):
        stored.append(put(store, seed, 160).tag.id)  # noqa: PERF401 (what is stored is stored now)
    ended.set()
    for thread in threads:
        thread.join(30)
    assert sent == stored


def test_an_error_inside_a_claim_leaves_the_store_usable(store):
    put(store)
    with pytest.raises(OSError, match="gone"), store.claim(lambda request_id, opt_out: True):
        raise OSError("gone")
    assert take(store) is not None


def test_what_was_sent_is_deleted_when_the_next_request_is_on_its_way_and_not_before(tmp_path, clock):
    """Deleting takes a sync of the disk: the broker takes that request meanwhile."""
    ids = fill(tmp_path, 17, 160, clock=clock)
    with open_store(tmp_path, clock=clock) as store, closing(sqlite3.connect(tmp_path / "recorder.db")) as reader:

        def rows():
            return reader.execute("SELECT count(*) FROM request").fetchone()[0]

        for request_id in ids[:16]:
            store.acknowledge(request_id)
        with store.claim(lambda request_id, opt_out: True) as claimed:
            assert (claimed.tag.id, rows()) == (ids[16], 17)
        assert rows() == 1


def test_a_claim_writes_nothing(tmp_path):
    with open_store(tmp_path) as store:
        put(store)
        log = tmp_path / "recorder.db-wal"
        before = log.stat().st_size, log.stat().st_mtime_ns
        for _ in range(10):
            take(store)
        assert (log.stat().st_size, log.stat().st_mtime_ns) == before


def test_storing_while_acknowledged_ones_wait_to_be_deleted_leaves_nothing_of_their_sound_behind_the_new(tmp_path):
    """Pages freed and filled again by one transaction would keep old sound behind the end of the new."""
    with open_store(tmp_path) as store:
        put(store, 1, samples=20_000)
        put(store, 9, samples=2_200_000)  # so much that the rest is not simply written anew
        store.acknowledge(take(store).tag.id)
        for seed in range(2, 6):
            put(store, seed, samples=4_160)  # its last page is not full
        store.flush()
        held = bytes_of(tmp_path)
        pcm = pcm_of(1, 20_000)
        assert [start for start in range(0, len(pcm), 32) if pcm[start : start + 32] in held] == []


# Privacy of the files


def test_folder_and_files_are_the_owners_alone(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    with open_store(folder) as store:
        put(store)
        store.set_muted(True)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
        assert files == dict.fromkeys(["recorder.db", "recorder.db-wal", "recorder.db-shm", "muted", "reserve"], 0o600)


def traces(folder: Path, seed: int) -> int:
    """How many 64-byte pieces of a request's sound are anywhere in the files."""
    pcm, held = pcm_of(seed), bytes_of(folder)
    return sum(pcm[start : start + 64] in held for start in range(0, len(pcm), 64))


def test_sent_sound_is_gone_from_database_and_log_as_soon_as_nothing_waits(tmp_path):
    with open_store(tmp_path) as store:
        for seed in range(5):
            put(store, seed)
        assert all(traces(tmp_path, seed) for seed in range(5))
        drain(store)
        assert [traces(tmp_path, seed) for seed in range(5)] == [0] * 5


def test_sent_sound_is_gone_after_flush_while_others_wait(tmp_path):
    with open_store(tmp_path) as store:
        for seed in range(5):
            put(store, seed)
        store.acknowledge(take(store).tag.id)
        store.flush()
        assert traces(tmp_path, 0) == 0
        assert traces(tmp_path, 1) > 0


def test_deleted_sound_is_gone_when_delete_returns(tmp_path):
    with open_store(tmp_path) as store:
        ids = [put(store, seed).tag.id for seed in range(3)]
        store.delete([ids[0]])
        assert [traces(tmp_path, seed) > 0 for seed in range(3)] == [False, True, True]


def test_sent_sound_that_a_killed_process_left_in_the_log_is_gone_after_the_next_start(tmp_path):
    script = (
        "import os, sys; from pathlib import Path; from support.stores import *\n"
        "store = open_store(Path(sys.argv[1])); put(store, 1); waits = put(store, 2).tag.id\n"
        "store.acknowledge(take(store).tag.id); store.refused(waits, 'later'); os._exit(9)"
    )
    assert run_python(script, tmp_path).returncode == 9
    assert traces(tmp_path, 1) > 0
    with open_store(tmp_path):
        assert traces(tmp_path, 1) == 0
        assert traces(tmp_path, 2) > 0


def test_the_file_gives_its_space_back(tmp_path):
    with open_store(tmp_path) as store:
        for seed in range(20):
            put(store, seed, samples=80_000)
        drain(store)
        assert (tmp_path / "recorder.db").stat().st_size < 100_000


# Folders that cannot be used


def test_a_file_in_the_folders_place_is_said_plainly(tmp_path):
    (tmp_path / "state").write_text("")
    with pytest.raises(StateFolderError, match="state: ") as caught:
        open_store(tmp_path / "state")
    assert caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("first", ["absent", "made by its owner"])
def test_a_command_run_as_root_leaves_files_that_the_folders_owner_can_write(tmp_path, first):
    nobody = 65534
    folder = tmp_path / "state"
    folder.mkdir()
    os.chown(folder, nobody, nobody)
    allow_through(tmp_path)
    if first != "absent":
        assert as_user(nobody, "store = open_store(Path(sys.argv[1])); put(store, 1)", folder).returncode == 0
    with open_store(folder) as store:  # even if the command forgot to become the owner
        put(store, 2)
        store.set_muted(True)
        assert {(file.stat().st_uid, file.stat().st_gid) for file in folder.iterdir()} == {(nobody, nobody)}
        done = as_user(nobody, "store = open_store(Path(sys.argv[1])); put(store, 3); store.set_muted(False)", folder)
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_become_owner_of_gives_root_up_for_good(tmp_path):
    nobody = 65534
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", nobody, nobody)
    script = (
        "import os, sys; from pathlib import Path; from device.edges.store import become_owner_of\n"
        "become_owner_of(Path(sys.argv[1]) / 'state'); print(os.getresuid(), os.getresgid(), 0 in os.getgroups())"
    )
    assert run_python(script, tmp_path).stdout.split("\n")[0] == f"{(nobody,) * 3} {(nobody,) * 3} False"


def test_become_owner_of_ones_own_or_a_missing_folder_does_nothing(tmp_path):
    before = os.getresuid(), os.getgroups()
    become_owner_of(tmp_path)
    become_owner_of(tmp_path / "missing")
    assert (os.getresuid(), os.getgroups()) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="root may make a folder of somebody else's")
def test_a_folder_that_may_not_be_written_is_said_plainly(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    allow_through(tmp_path)
    done = as_user(65534, "open_store(Path(sys.argv[1]))", folder)
    assert "StateFolderError: state folder" in done.stderr.splitlines()[-1]


def test_deleted_sound_that_a_reader_kept_in_the_log_is_tidied_once_that_reader_has_ended(tmp_path, monkeypatch):
    """Whoever deleted it has ended before; an idle daemon does no more than look for what is too old."""
    assert upkeep.TIDY_S + HOUSEKEEPING_S < 60
    with open_store(tmp_path) as daemon:
        reader = sqlite3.connect(tmp_path / "recorder.db", isolation_level=None)
        put(daemon, 1)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM request").fetchone()
        with open_store(tmp_path) as command:
            command.delete()
        assert pcm_of(1)[:64] in bytes_of(tmp_path)
        monkeypatch.setattr(upkeep, "TIDY_S", 0.0)
        monkeypatch.setattr(upkeep, "RETRY_S", 0.0)
        daemon.expire()
        assert pcm_of(1)[:64] in bytes_of(tmp_path)
        reader.close()
        daemon.expire()
        assert pcm_of(1)[:64] not in bytes_of(tmp_path)


# Speed


@pytest.mark.long
@pytest.mark.alone
def test_10_000_waiting_requests_open_well_under_2_s_and_are_claimed_at_well_over_2_000_a_second(tmp_path):
    """By this process's own time, so that what else the machine does is no part of it."""
    fill(tmp_path, 10_000, 800, clock=JumpingClock())
    started = time.process_time()
    with open_store(tmp_path) as store:
        opened_s = time.process_time() - started
        started = time.process_time()
        assert len(drain(store)) == 10_000
        drained_s = time.process_time() - started
    assert opened_s < 0.5
    assert drained_s < 10_000 / 2_500


# Helpers


def run_python(script: str, folder: Path, **options: object) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        env={"PYTHONPATH": f"{root}:{root / 'tests'}", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def as_user(user: int, script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script as another user, imports done before the change: that user need not be able to read the project."""
    setup = (
        "import os, sys; from pathlib import Path; from support.stores import *; request_of(0)\n"
        f"os.setgroups([]); os.setgid({user}); os.setuid({user})\n"
    )
    return run_python(setup + script, folder)


def allow_through(folder: Path) -> None:
    """Let other users pass through pytest's private folders to one inside."""
    for parent in folder.parents:
        if parent.owner() == "root" and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    folder.chmod(0o711)


def test_times_are_told_in_utc_with_milliseconds(store):
    told = datetime.fromisoformat(put(store, age_s=0).tag.captured_at)
    assert told == datetime.fromtimestamp(EVENING_NS / NS_PER_S, UTC)


def test_a_folder_that_holds_other_files_is_refused_and_left_as_it_was(tmp_path):
    folder = tmp_path / "lib"
    folder.mkdir(mode=0o755)
    (folder / "dpkg").mkdir()
    with pytest.raises(StateFolderError, match="'dpkg'"):
        open_store(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


# --- the sound of a waiting request, for who wants to hear it ---


def test_a_waiting_request_is_heard_as_it_is_stored_and_as_strict_as_the_choice_now(tmp_path):
    with open_store(tmp_path) as store:
        tag = put(store, 7).tag
        assert store.sound(tag.id) == (tag, pcm_of(7))
        with database_of(tmp_path) as db:
            db.execute("DELETE FROM review")
        assert store.sound(tag.id) == (msgspec.structs.replace(tag, review=unreadable()), pcm_of(7))
        assert store.count() == 1


def test_what_is_sent_or_deleted_or_was_never_there_is_not_heard(tmp_path):
    with open_store(tmp_path) as store:
        sent, deleted = put(store, 1).tag.id, put(store, 2).tag.id
        store.acknowledge(sent)
        assert store.sound(sent) is None  # though it is in the database still
        store.delete([deleted])
        assert [store.sound(request_id) for request_id in (sent, deleted, "")] == [None] * 3
