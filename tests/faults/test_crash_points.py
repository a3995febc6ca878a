"""The process ends at every statement boundary of everything the store does; what comes after keeps the promises."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.ledger import note
from support.stores import MEMORY, JumpingClock, drain, make_version_1, open_store, pcm_of, put, take

from device.edges.store import salvage, schema
from device.edges.store.folder import DATABASE
from device.message.review import Review, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from device.edges.store import Store

pytestmark = pytest.mark.usefixtures("ledger")

WAITING = 3
ENDED_HERE = 77
MAX_STATEMENTS = 400
NEXT_VERSIONS = (
    ("ALTER TABLE request ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'", "CREATE INDEX by_mood ON request (mood)"),
    ("UPDATE request SET mood = 'merry'", "DROP INDEX by_mood"),
)


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: a process that ends loses nothing it wrote, and syncing costs seconds."""
    if MEMORY is None:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def end_at_statement(number: int, folder: Path, work: Callable[[Path], None]) -> bool:
    """Run ``work`` in a child that ends before its statement of this number begins; returns whether it came to that."""
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, ENDED_HERE)
        return status == ENDED_HERE
    try:
        begun = itertools.count(1)

        def count(_: str) -> None:
            if next(begun) == number:
                os._exit(ENDED_HERE)

        connect = schema.connect

        def traced(file: Path, **how: bool) -> sqlite3.Connection:
            db = connect(file, **how)
            db.set_trace_callback(count)
            return db

        schema.connect = traced
        work(folder)
        os._exit(0)
    except BaseException:  # noqa: BLE001 (a child that went on would be a second pytest)
        traceback.print_exc()
        os._exit(1)


def every_end(tmp_path: Path, work: Callable[[Path], None], check: Callable[[Path, bool], None], **made: bool) -> int:
    """End ``work`` at every statement, each time on a fresh copy of the same folder, and check what is left."""
    template = tmp_path / "template"
    prepare(template, **made)
    for number in range(1, MAX_STATEMENTS):
        folder = tmp_path / f"end-{number}"
        shutil.copytree(template, folder, ignore=shutil.ignore_patterns("reserve"))
        ended = end_at_statement(number, folder, work)
        check(folder, ended)
        shutil.rmtree(folder)
        if not ended:
            stored = (number - 1) * WAITING
            note("end at each statement of the store", injected=number - 1, stored=stored, lost=0, mistagged=0)
            return number - 1
    raise AssertionError("the work never came to its end")


def prepare(folder: Path, *, opted_in: bool = True, version_1: bool = False) -> None:
    """Three requests wait, stored under an opt-in of the user's."""
    with open_store(folder) as store:
        if opted_in:
            store.choose(False)
        for seed in range(WAITING):
            put(store, seed)
    if version_1:
        make_version_1(folder / DATABASE)


def whole(folder: Path, *, waiting: set[int], **settings: object) -> tuple[Review, dict[int, Review]]:
    """Open what a crash left: sound, complete, every request with its own sound; returns the choice and the tags."""
    events: list = []
    with open_store(folder, report=events.append, **settings) as store:
        assert events == []
        with sqlite3.connect(folder / DATABASE) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        db.close()
        assert not [file.name for file in folder.iterdir() if "building" in file.name or "ready" in file.name]
        review, tags = store.review(), {}
        for claimed in drain(store):
            tags[next(seed for seed in range(20) if pcm_of(seed) == claimed.pcm)] = claimed.tag.review
            assert not (review.opt_out and not claimed.tag.review.opt_out)
        assert set(tags) == waiting
        assert list(tags) == sorted(tags)
    return review, tags


def opened(folder: Path, work: Callable[[Store], None], **settings: object) -> None:
    """Open a store, work with it, and end without closing it."""
    work(open_store(folder, **settings))


def test_making_a_new_database_leaves_none_or_a_whole_one(tmp_path):
    def check(folder: Path, ended: bool) -> None:
        review, _ = whole(folder, waiting=set())
        assert review == Review(opt_out=False, choice="default", revision=0, changed_at=None)

    def work(folder: Path) -> None:
        (folder / DATABASE).unlink()
        open_store(folder)

    assert every_end(tmp_path, work, check, opted_in=False) > 15


def test_storing_leaves_the_request_with_sound_and_tag_or_nothing_of_it(tmp_path):
    def check(folder: Path, ended: bool) -> None:
        with open_store(folder) as store:
            there = store.count() - WAITING
        assert there in ((0, 1) if ended else (1,))
        _, tags = whole(folder, waiting={0, 1, 2} | ({9} if there else set()))
        assert not any(tag.opt_out for tag in tags.values())

    assert every_end(tmp_path, lambda folder: opened(folder, lambda store: put(store, 9)), check) > 5


def test_making_room_drops_the_oldest_with_the_newest_stored_or_neither(tmp_path):
    def check(folder: Path, ended: bool) -> None:
        with open_store(folder) as store:
            counters = store.counters()
        assert counters in ({"stored": 3}, {"stored": 4, "dropped_size": 2})
        whole(folder, waiting={0, 1, 2} if counters["stored"] == 3 else {2, 9})

    every_end(tmp_path, lambda folder: opened(folder, lambda store: put(store, 9), max_bytes=2 * 6_400), check)


@pytest.mark.parametrize("how", ["flush", "close", "next claim"])
def test_an_acknowledged_request_is_gone_or_waits_whole_to_be_repeated(tmp_path, how):
    def send(store: Store) -> None:
        store.acknowledge(take(store).tag.id)
        if how == "flush":
            store.flush()
        elif how == "close":
            store.close()
        else:
            with store.claim(lambda request_id, opt_out: False):
                pass

    def check(folder: Path, ended: bool) -> None:
        with open_store(folder) as store:
            gone = store.count() == WAITING - 1
            assert store.counters().get("acknowledged", 0) == gone
        assert gone or ended
        whole(folder, waiting={1, 2} if gone else {0, 1, 2})

    assert every_end(tmp_path, lambda folder: opened(folder, send), check) > 5


def test_opting_out_changes_the_choice_and_every_tag_or_nothing(tmp_path):
    def check(folder: Path, ended: bool) -> None:
        with open_store(folder) as store:
            stored = [each.review.opt_out for each in store.waiting()]
        review, _ = whole(folder, waiting={0, 1, 2})
        assert stored == [review.opt_out] * WAITING
        if review != unreadable():  # recorded beside the database, but not in it
            assert review.revision == (2 if review.opt_out else 1)
        assert review.choice == "user" or ended
        assert review.opt_out or ended

    every_end(tmp_path, lambda folder: opened(folder, lambda store: store.choose(True)), check)


def test_opting_in_again_never_loosens_a_tag(tmp_path):
    def work(store: Store) -> None:
        store.choose(True)
        store.choose(False)
        put(store, 9)

    def check(folder: Path, ended: bool) -> None:
        with open_store(folder) as store:
            revision, stored = store.review().revision, [each.review for each in store.waiting()]
        assert all(tag.opt_out for tag in stored[:WAITING]) or revision == 1
        assert not any(tag.opt_out for tag in stored[WAITING:])
        whole(folder, waiting={0, 1, 2} | ({9} if len(stored) > WAITING else set()))

    every_end(tmp_path, lambda folder: opened(folder, work), check)


def test_a_claim_that_tightens_leaves_old_or_tightened_tags(tmp_path):
    def check(folder: Path, ended: bool) -> None:
        _, tags = whole(folder, waiting={0, 1, 2}, default_opt_out=True)
        assert all(tag.opt_out for tag in tags.values())

    work = lambda folder: opened(folder, take, default_opt_out=True)  # noqa: E731
    every_end(tmp_path, work, check, opted_in=False)


def test_muting_and_unmuting_leave_the_old_or_the_new(tmp_path):
    def work(store: Store) -> None:
        store.set_muted(True)
        store.set_muted(False)
        store.set_muted(True)

    def check(folder: Path, ended: bool) -> None:
        with open_store(folder) as store:
            muted = store.muted().muted
        assert muted or ended
        assert not muted or (folder / "muted").exists()
        whole(folder, waiting={0, 1, 2})

    every_end(tmp_path, lambda folder: opened(folder, work), check)


def test_deleting_expiring_and_correcting_times_leave_whole_requests(tmp_path):
    clock = JumpingClock()

    def work(store: Store) -> None:
        store.delete([store.waiting()[0].id])
        store.correct_times()
        clock.pass_s(10)
        store.expire()

    def check(folder: Path, ended: bool) -> None:
        with open_store(folder) as store:
            left = store.count()
        assert left in (0, 2, 3)
        whole(folder, waiting=set(range(WAITING - left, WAITING)))

    every_end(tmp_path, lambda folder: opened(folder, work, clock=clock, max_age_s=5), check)


def test_each_migration_is_done_wholly_or_not_at_all_and_goes_on_at_the_next_start(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        steps, now = schema.MIGRATIONS + NEXT_VERSIONS, len(schema.MIGRATIONS)

        def work(folder: Path) -> None:
            schema.MIGRATIONS = steps
            open_store(folder)

        def check(folder: Path, ended: bool) -> None:
            db = sqlite3.connect(folder / DATABASE)
            version = schema.version(db)
            columns = [row[1] for row in db.execute("PRAGMA table_info(request)")]
            indexes = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE name = 'by_mood'")]
            assert ("mood" in columns) == (version > now)
            assert bool(indexes) == (version == now + 1)
            if version == now + 2:
                assert {row[0] for row in db.execute("SELECT mood FROM request")} == {"merry"}
            db.close()
            with monkeypatch.context() as newer:
                newer.setattr(schema, "MIGRATIONS", steps)
                whole(folder, waiting={0, 1, 2})

        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS)
        assert every_end(tmp_path, work, check) > 15


def test_a_database_of_the_first_version_is_brought_up_to_date_by_whichever_start_comes_to_the_end(tmp_path):
    def check(folder: Path, ended: bool) -> None:
        whole(folder, waiting={0, 1, 2})

    assert every_end(tmp_path, open_store, check, version_1=True) > 20


def test_setting_a_damaged_database_aside_is_begun_anew_or_finished(tmp_path):
    def work(folder: Path) -> None:
        with (folder / DATABASE).open("r+b") as file:
            file.write(bytes(4096))
        open_store(folder)

    def check(folder: Path, ended: bool) -> None:
        with open_store(folder) as store:
            assert store.review() == Review(opt_out=True, choice="unreadable", revision=0, changed_at=None)
            assert store.count() == WAITING
            assert all(each.review.opt_out for each in store.waiting())
        assert not list(folder.glob("*.building*")) + list(folder.glob("*.patched*")) + list(folder.glob("*.ready*"))

    assert every_end(tmp_path, work, check) > 20


def test_what_is_saved_of_a_damaged_database_only_when_there_is_room_is_saved_once_and_whole(tmp_path):
    def work(folder: Path) -> None:
        with (folder / DATABASE).open("r+b") as file:
            file.write(bytes(4096))
        room, salvage.ROOM_BYTES = salvage.ROOM_BYTES, 10**15
        with open_store(folder) as store:
            assert store.count() == 0
            put(store, 9)
        salvage.ROOM_BYTES = room
        open_store(folder)

    def check(folder: Path, ended: bool) -> None:
        with open_store(folder) as store:
            waiting = store.waiting()
            sounds = [claimed.pcm for claimed in drain(store)]
        assert sorted(sounds) == sorted({pcm_of(seed) for seed in range(WAITING)} | (set(sounds) & {pcm_of(9)}))
        assert ended or pcm_of(9) in sounds
        assert all(each.review.opt_out for each in waiting)

    assert every_end(tmp_path, work, check) > 40


def test_what_waits_in_two_damaged_databases_is_saved_once_and_whole(tmp_path):
    def damage(folder: Path) -> None:
        with (folder / DATABASE).open("r+b") as file:
            file.write(bytes(4096))

    def work(folder: Path) -> None:
        damage(folder)
        room, salvage.ROOM_BYTES = salvage.ROOM_BYTES, 10**15
        with open_store(folder) as store:
            put(store, 9)
        damage(folder)
        with open_store(folder) as store:
            assert len(store.damaged()) == 2
            put(store, 10)
        salvage.ROOM_BYTES = room
        open_store(folder)

    def check(folder: Path, ended: bool) -> None:
        with open_store(folder) as store:
            sounds = [claimed.pcm for claimed in drain(store)]
            assert store.damaged() == []
        new = {pcm_of(9), pcm_of(10)}
        assert sorted(sounds) == sorted({pcm_of(seed) for seed in range(WAITING)} | (set(sounds) & new))
        assert ended or new <= set(sounds)
        assert sorted(file.name for file in folder.iterdir()) == ["chosen-1-reviewable", DATABASE, "reserve"]

    assert every_end(tmp_path, work, check) > 80
