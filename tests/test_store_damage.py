"""A damaged database: set aside, what can be proven whole is saved, the choice fails closed, recording goes on."""

from __future__ import annotations

import hashlib
import os
import random
import sqlite3
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.stores import (
    MEMORY,
    Connections,
    JumpingClock,
    bytes_of,
    drain,
    make_version_1,
    open_store,
    pcm_of,
    put,
    read_anew,
    take,
    take_back,
)

from device.edges.store import database as database_module
from device.edges.store import outbox, salvage, schema
from device.edges.store.folder import DATABASE, StateFolder
from device.edges.store.set_aside import SetAside
from device.errors import StoreBusyError
from device.message.review import spelled_out, unreadable, uses
from device.message.tag import AudioFormat

PAGE = 4096
COUNT = 12


@pytest.fixture
def database(tmp_path):
    return filled(tmp_path)


def filled(folder: Path, count: int = COUNT) -> Path:
    """Make a database with requests waiting and the user opted in, all of it in the main file."""
    with open_store(folder) as store:
        store.choose(False)
        for seed in range(count):
            put(store, seed)
        store.refused(store.waiting()[0].id, "not authorised (135)")
    return folder / DATABASE


def overwrite(file: Path, offset: int, data: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(data)


def holds_after_damage(folder: Path, *, saved: int | None = None, count: int = COUNT) -> list[str]:
    """Open what was damaged and check every promise about it; returns the saved ids."""
    sounds = {hashlib.sha256(pcm_of(seed)).hexdigest() for seed in range(count)}
    events: list = []
    with open_store(folder, report=events.append) as store:
        damage = next(event for event in events if event.event == "store-damaged")
        assert [each.name for each in store.damaged()] == (
            [damage.fields["set_aside"]] if damage.fields["set_aside"] else []
        )
        assert store.review() == unreadable()
        assert put(store, 99).tag.review == unreadable()
        ids = [each.id for each in store.waiting()][:-1]
        assert damage.fields["saved"] == len(ids)
        if saved is not None:
            assert len(ids) == saved
        sent = drain(store)
        assert all(claimed.tag.review.opt_out for claimed in sent)
        assert {claimed.tag.audio.sha256 for claimed in sent[:-1]} <= sounds
        assert len({claimed.tag.audio.sha256 for claimed in sent}) == len(sent) == len(ids) + 1
        assert store.choose(False).review.choice == "user"
    with open_store(folder, report=events.append) as store:
        assert store.review().choice == "user"
    assert [event.event for event in events].count("store-damaged") == 1
    assert [event.event for event in events].count("review-unreadable") == 1
    return ids


# Found at the start


def test_a_file_that_is_no_database_is_set_aside(database):
    database.write_bytes(b"this is no database " * 1000)
    holds_after_damage(database.parent, saved=0)


@pytest.mark.parametrize("size", [0, 1, 100, PAGE, PAGE + 1])
def test_a_file_cut_down_to_almost_nothing_is_not_taken_for_a_first_start(database, size):
    os.truncate(database, size)
    holds_after_damage(database.parent, saved=0)


def test_a_database_that_is_gone_while_its_log_is_there_is_not_taken_for_a_first_start(database):
    with Connections() as connections:
        store = open_store(database.parent)
    put(store, 50)
    database.unlink()
    connections.newest.close()
    with open_store(database.parent) as again:
        assert again.review() == unreadable()


def test_a_file_cut_in_half_saves_what_lies_in_the_first_half(tmp_path):
    database = filled(tmp_path, 40)
    os.truncate(database, database.stat().st_size // 2 // PAGE * PAGE)
    ids = holds_after_damage(tmp_path, count=40)
    assert 10 < len(ids) < 40


@pytest.mark.parametrize("damaged", [False, True])
def test_a_database_of_the_first_version_is_brought_up_to_date_or_saved_with_every_fact_of_its_tags(tmp_path, damaged):
    database = filled(tmp_path)
    make_version_1(database)
    if damaged:
        with sqlite3.connect(database) as db:
            db.execute("CREATE TABLE of_another_program (something)")
            db.execute("PRAGMA user_version=0")
        db.close()
    with open_store(tmp_path) as store:
        stored = [put(store, seed, ended_by="max").tag for seed in range(COUNT, COUNT + 2)]
        sent = drain(store)
        assert store.review().choice == ("unreadable" if damaged else "user")
    assert [claimed.pcm for claimed in sent] == [pcm_of(seed) for seed in range(COUNT + 2)]
    for claimed in sent[:COUNT]:
        same = msgspec.structs.replace(
            stored[0], id=claimed.tag.id, ended_by="silence", waited_s=0.0, review=claimed.tag.review,
            audio=AudioFormat(sha256=hashlib.sha256(claimed.pcm).hexdigest()),
        )  # fmt: skip
        assert claimed.tag == same


def test_requests_and_a_choice_from_before_there_were_wordings_get_tags_that_are_true(tmp_path):
    filled(tmp_path, 2)
    with open_store(tmp_path) as store:
        before = store.choose(True).review
        waiting = store.waiting()
    database = tmp_path / DATABASE
    with sqlite3.connect(database) as db:
        take_back(db, 3)
    db.close()
    with open_store(tmp_path) as store:
        assert store.review() == before
        sent = drain(store)
    assert [claimed.tag.review for claimed in sent] == [spelled_out(each.review) for each in waiting]
    assert sent[0].tag.review.use == uses(opt_out=True)


def test_a_lost_first_page_loses_no_request(database):
    overwrite(database, 0, os.urandom(PAGE))
    assert len(holds_after_damage(database.parent, saved=COUNT)) == COUNT


def test_a_lost_first_page_loses_no_request_of_a_database_that_grew_and_shrank(tmp_path):
    with open_store(tmp_path) as store:
        for seed in range(100, 130):
            put(store, seed, samples=40_000)
        drain(store)
    database = filled(tmp_path)
    overwrite(database, 0, bytes(PAGE))
    holds_after_damage(database.parent, saved=COUNT)


def test_a_schema_of_the_future_is_set_aside_and_its_requests_are_saved(database):
    with sqlite3.connect(database) as db:
        db.execute("ALTER TABLE request ADD COLUMN feeling TEXT")
        db.execute("PRAGMA user_version=99")
    db.close()
    holds_after_damage(database.parent, saved=COUNT)


def test_another_programs_database_is_set_aside(database):
    database.unlink()
    with sqlite3.connect(database) as db:
        db.execute("CREATE TABLE review (something INTEGER)")
        db.execute("PRAGMA user_version=1")
    db.close()
    holds_after_damage(database.parent, saved=0)


def test_saved_requests_keep_their_order_attempts_times_and_ids(database):
    with open_store(database.parent) as store:
        before = store.waiting()
    overwrite(database, 0, bytes(PAGE))
    with open_store(database.parent) as store:
        after = store.waiting()
    assert [each.id for each in after] == [each.id for each in before]
    assert [(each.captured_at, each.attempts, each.problem) for each in after] == [
        (each.captured_at, each.attempts, each.problem) for each in before
    ]
    assert after[0].attempts == 1


def test_what_was_opted_out_by_the_user_still_says_so_after_damage(database):
    with open_store(database.parent) as store:
        chosen = store.choose(True).review
    overwrite(database, 0, bytes(PAGE))
    with open_store(database.parent) as store:
        assert {each.review for each in store.waiting()} == {chosen}


def test_counters_outlive_damage_and_count_what_it_took(database):
    overwrite(database, 0, bytes(PAGE))
    with open_store(database.parent) as store:
        assert store.counters() == {"salvaged": COUNT, "stored": COUNT}


@pytest.mark.parametrize("muted", [True, False])
def test_a_mute_outlives_any_damage_to_the_database(database, muted):
    with open_store(database.parent) as store:
        store.set_muted(not muted)
        store.set_muted(muted)
    database.write_bytes(os.urandom(10 * PAGE))
    with open_store(database.parent) as store:
        assert store.muted().muted is muted


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_whatever_pages_are_overwritten_nothing_false_or_reviewable_comes_out(data):
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        overwrite_pages(Path(folder), data)
        nothing_false_comes_out(Path(folder))


def overwrite_pages(folder: Path, data: st.DataObject) -> None:
    database = filled(folder)
    pages = database.stat().st_size // PAGE
    for page in data.draw(st.sets(st.integers(0, pages - 1), min_size=1, max_size=4), label="pages"):
        start = data.draw(st.sampled_from([0, 8, 100, 2000]), label="from")
        kind = data.draw(st.sampled_from(["zeros", "ones", "noise", "another page"]), label="with")
        filling = {
            "zeros": bytes(PAGE),
            "ones": b"\xff" * PAGE,
            "noise": random.Random(page).randbytes(PAGE),
            "another page": database.read_bytes()[(page + 1) % pages * PAGE :][:PAGE],
        }[kind]
        overwrite(database, page * PAGE + start, filling[start:])


def nothing_false_comes_out(folder: Path) -> None:
    sounds = {hashlib.sha256(pcm_of(seed)).hexdigest() for seed in range(COUNT)} | {
        hashlib.sha256(pcm_of(99)).hexdigest()
    }
    events: list = []
    with open_store(folder, report=events.append) as store:
        put(store, 99)
        sent = drain(store)
        assert {claimed.tag.audio.sha256 for claimed in sent} <= sounds
        assert sent[-1].tag.audio.sha256 == hashlib.sha256(pcm_of(99)).hexdigest()
        if any(event.event == "store-damaged" for event in events):
            assert store.review() == unreadable()
        else:  # only what holds nothing now was overwritten
            assert len(sent) == COUNT + 1
            assert store.review().choice == "user"


def test_a_damaged_log_never_brings_an_old_choice_back(tmp_path):
    with Connections() as connections:
        store = open_store(tmp_path)
    store.choose(False)
    put(store, 1)
    store.choose(True)
    log = tmp_path / f"{DATABASE}-wal"
    overwrite(log, 0, os.urandom(max(log.stat().st_size, 32)))
    connections.newest.close()  # and no store: as if the process had been killed
    with open_store(tmp_path) as again:
        assert again.review().opt_out
        assert all(claimed.tag.review.opt_out for claimed in drain(again))


# Found later


def test_damage_found_while_running_is_handled_inside_the_call_that_finds_it(tmp_path):
    events: list = []
    with open_store(tmp_path, report=events.append) as store:
        store.choose(False)
        for seed in range(COUNT):
            put(store, seed)
        store.flush()
        store.acknowledge(take(store).tag.id)
        read_anew(tmp_path)
        database = tmp_path / DATABASE
        for page in range(1, database.stat().st_size // PAGE):
            overwrite(database, page * PAGE, os.urandom(PAGE))
        stored = put(store, 99)
        assert stored.tag.review == unreadable()
        assert [each.id for each in store.waiting()] == [stored.tag.id]
        assert [event.event for event in events] == ["store-damaged", "review-unreadable"]


def test_one_sound_that_rotted_is_noticed_by_its_hash_and_the_others_are_saved(tmp_path):
    events: list = []
    with open_store(tmp_path, report=events.append) as store:
        tags = [put(store, seed).tag for seed in range(3)]
        store.flush()
        read_anew(tmp_path)
        database = tmp_path / DATABASE
        at = database.read_bytes().index(pcm_of(1)[3000:3016])
        overwrite(database, at, b"rotten")
        assert [claimed.tag.id for claimed in drain(store)] == [tags[0].id, tags[2].id]
        assert [event.fields.get("lost") for event in events] == [1, None]


def test_what_the_broker_has_is_not_saved_to_be_sent_again(tmp_path):
    with open_store(tmp_path) as store:
        tags = [put(store, seed).tag for seed in range(3)]
        store.flush()
        store.acknowledge(tags[0].id)
        read_anew(tmp_path)
        overwrite(tmp_path / DATABASE, 0, bytes(PAGE))
        assert [claimed.tag.id for claimed in drain(store)] == [tags[1].id, tags[2].id]


def test_a_database_deleted_under_a_running_store_is_replaced_and_fails_closed(tmp_path):
    with open_store(tmp_path) as store:
        for suffix in ("", "-wal", "-shm"):
            (tmp_path / f"{DATABASE}{suffix}").unlink()
        assert put(store).tag.review == unreadable()
        assert take(store).tag.review.opt_out


@pytest.mark.parametrize("content", [b"", b"rubbish" * 10_000])
def test_a_process_that_had_the_damaged_file_open_goes_on_with_its_successor(tmp_path, content):
    with open_store(tmp_path) as one:
        put(one, 1)
        one.flush()
        before = one.change_counter()
        (tmp_path / DATABASE).write_bytes(content)
        with open_store(tmp_path) as two:
            assert two.review() == unreadable()
            assert one.review() == unreadable()
            assert one.change_counter() != before
            kept = put(one, 2).tag.id
            assert [each.id for each in two.waiting()] == [kept]


def of_the_disk(*_: object) -> None:
    """Fail as SQLite does where a bad sector is read (seen with a shim that gives EIO)."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
    raise error


def test_a_read_error_that_passes_is_no_damage(tmp_path, monkeypatch):
    events: list = []
    with open_store(tmp_path, report=events.append) as store:
        store.choose(False)
        put(store, 1)
        with monkeypatch.context() as patch:
            patch.setattr(outbox, "load_pcm", of_the_disk)
            for _ in range(3):
                with pytest.raises(StoreBusyError, match="cannot be read"):
                    take(store)
        assert take(store).pcm == pcm_of(1)
        assert not take(store).tag.review.opt_out
        assert events == []


def test_read_errors_of_one_place_that_last_cost_no_other_request_and_that_one_comes_once_it_can_be_read(
    tmp_path, monkeypatch
):
    load_pcm, bad = outbox.load_pcm, hashlib.sha256(pcm_of(1)).hexdigest()
    monkeypatch.setattr(database_module, "READ_PATIENCE_S", 0.2)
    monkeypatch.setattr(salvage, "REST_S", 0.3)
    events: list = []
    with open_store(tmp_path, report=events.append) as store:
        ids = [put(store, seed).tag.id for seed in range(3)]

        def load(db, seq, entry):
            return of_the_disk() if entry.tag.audio.sha256 == bad else load_pcm(db, seq, entry)

        with monkeypatch.context() as patch:
            patch.setattr(outbox, "load_pcm", load)
            sent, deadline = [], time.monotonic() + 10
            while len(sent) < 2 and time.monotonic() < deadline:
                with suppress(StoreBusyError):
                    sent.append(take(store).tag.id)
                    store.acknowledge(sent[-1])
            assert sent == [ids[0], ids[2]]
            store.flush()
            assert [(each.waits, each.requests) for each in store.damaged()] == [(True, 1)]
        while not store.count() and time.monotonic() < deadline:
            store.flush()
        assert [claimed.tag.id for claimed in drain(store)] == [ids[1]]
        assert store.damaged() == []
        assert [event.event for event in events if event.event != "review-unreadable"] == [
            "store-damaged",
            "store-salvaged",
        ]
        assert events[0].fields["lost"] == 0


# Setting aside


@pytest.mark.parametrize("how", ["sent", "deleted"])
def test_a_damaged_database_goes_once_all_is_saved_from_it_and_leaves_no_sound(database, how):
    folder = database.parent
    overwrite(database, 0, bytes(PAGE))
    with open_store(folder) as store:
        assert store.count() == COUNT
        assert store.damaged() == []
        if how == "sent":
            assert len(drain(store)) == COUNT
        else:
            store.delete([each.id for each in store.waiting()])
        store.flush()
        for seed in range(COUNT):
            assert pcm_of(seed)[3000:3064] not in bytes_of(folder)
    assert {file.name for file in folder.iterdir()} == {DATABASE, "chosen-1-reviewable", "reserve"}


def test_of_a_damaged_database_only_what_cannot_be_read_is_kept_and_shown_until_the_user_deletes_it(database):
    folder = database.parent
    at = database.read_bytes().index(pcm_of(5)[3000:3016])
    overwrite(database, at, b"rotten")
    overwrite(database, 60, b"\0\0\0\x63")
    events: list = []
    with open_store(folder, report=events.append) as store:
        (kept,) = store.damaged()
        assert events[0].fields["set_aside"] == kept.name
        assert (kept.waits, kept.requests, kept.bytes) == (False, 1, (folder / kept.name).stat().st_size)
        assert len(drain(store)) == COUNT - 1
        store.flush()
        files = bytes_of(folder)
        assert [seed for seed in range(COUNT) if pcm_of(seed)[100:164] in files] == [5]
        assert store.delete_damaged() == 1
        assert store.damaged() == []
        assert pcm_of(5)[100:164] not in bytes_of(folder)


def test_what_cannot_be_read_is_kept_no_longer_than_a_request(tmp_path):
    (tmp_path / DATABASE).write_bytes(b"no database")
    clock, events = JumpingClock(), []
    clock.set(wall_ns=time.time_ns())
    with open_store(tmp_path, clock=clock, max_age_s=100, report=events.append) as store:
        clock.pass_s(90)
        store.expire()
        assert len(store.damaged()) == 1
        clock.pass_s(20)
        clock.set(synced=False)
        store.expire()
        assert len(store.damaged()) == 1
        clock.set(synced=True)
        store.expire()
        assert store.damaged() == []
        assert events[-1].event == "damaged-deleted"


def test_deleting_everything_deletes_what_lies_in_damaged_databases_too(database):
    database.write_bytes(b"no database, but perhaps with sound " * 1000)
    with open_store(database.parent) as store:
        (kept,) = store.damaged()
        assert (kept.waits, kept.requests) == (False, None)
        store.delete()
        assert store.damaged() == []
    assert {file.name for file in database.parent.iterdir()} == {DATABASE, "chosen-1-reviewable", "reserve"}


def test_a_database_that_is_gone_is_saved_from_its_log(tmp_path):
    store = open_store(tmp_path)
    for seed in range(3):
        put(store, seed)
    (tmp_path / DATABASE).unlink()
    with open_store(tmp_path) as again:
        assert again.review() == unreadable()
        assert [claimed.pcm for claimed in drain(again)] == [pcm_of(seed) for seed in range(3)]


def test_a_lost_first_page_of_the_first_version_loses_no_request(database):
    make_version_1(database)
    overwrite(database, 0, bytes(PAGE))
    holds_after_damage(database.parent, saved=COUNT)


def test_an_older_program_s_leftovers_are_kept_for_a_person_and_not_saved_from_again(database):
    folder = database.parent
    make_version_1(database)
    (folder / f"{DATABASE}.damaged-20261001T000000Z").write_bytes(database.read_bytes())
    with open_store(folder) as store:
        assert store.count() == COUNT
        assert [(each.name, each.waits) for each in store.damaged()] == [
            (f"{DATABASE}.unreadable-20261001T000000Z", False)
        ]


def test_the_oldest_damaged_database_comes_first_though_the_clock_was_set_back(tmp_path):
    clock, names = JumpingClock(), []
    folder = StateFolder(tmp_path)
    aside = SetAside(folder)
    for _ in range(12):
        (tmp_path / DATABASE).write_bytes(b"x")
        names.append(aside.put(clock.now().wall_ns))
        clock.pass_s(-3600)
    assert aside.waiting() == names
    folder.close()


def test_only_the_last_two_damaged_databases_are_kept(tmp_path):
    clock = JumpingClock()
    for _ in range(4):
        open_store(tmp_path, clock=clock).close()
        (tmp_path / DATABASE).write_bytes(b"rubbish" * 100)
    open_store(tmp_path, clock=clock).close()
    assert len(list(tmp_path.glob("*.unreadable-*"))) == 2


def test_a_crash_at_any_step_of_the_exchange_is_finished_by_the_next_start(database, monkeypatch):
    """Each file operation of the exchange fails once, as if the process had ended there."""
    folder = database.parent
    overwrite(database, 0, bytes(PAGE))
    rename, steps = Path.rename, 0

    class Ended(BaseException):
        pass

    for stop in range(10):
        steps = 0

        def renamed(self, target, stop=stop):
            nonlocal steps
            steps += 1
            if steps == stop + 1:
                raise Ended
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", renamed)
        try:
            open_store(folder).close()
        except Ended:
            continue
        break
    monkeypatch.undo()
    assert stop >= 1
    with open_store(folder) as store:
        assert store.review() == unreadable()
        assert store.count() == COUNT


# The meaning of errors


def test_a_fault_of_ours_in_sql_is_never_taken_for_damage():
    db = sqlite3.connect(":memory:")
    for statement in ("SELEC 1", "INSERT INTO sqlite_schema VALUES (1)"):
        with pytest.raises(sqlite3.Error) as caught:
            db.execute(statement)
        assert not isinstance(schema.failure_of(caught.value), schema.DamagedError)
