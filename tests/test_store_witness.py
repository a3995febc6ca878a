"""A choice or a mute outlives the loss of SQLite's log, of the database, and an older copy of either."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from support.stores import drain, make_version_1, open_store, put

from device.edges.store.folder import DATABASE, RESERVE
from device.errors import StoreBusyError
from device.message.review import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COUNT = 20
LOG = f"{DATABASE}-wal"


def witnesses(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("chosen-*"))


def killed_with_a_log(folder: Path, crashed: Path) -> None:
    """Opt out after an opt-in while a reader keeps the log from being emptied; what a kill then leaves is a copy."""
    with open_store(folder) as store:
        store.choose(False)
        for seed in range(COUNT):
            put(store, seed)
        store.flush()
        with closing(sqlite3.connect(folder / DATABASE)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM review").fetchall()
            assert store.choose(True).retagged == COUNT
            store.set_muted(True)
            shutil.copytree(folder, crashed)
    assert (crashed / LOG).stat().st_size > 0


def fails_closed(folder: Path) -> list[str]:
    """Open a folder whose database is older than the last choice; returns the events."""
    events: list = []
    with open_store(folder, report=events.append) as store:
        assert store.review() == unreadable()
        assert all(each.review.opt_out for each in store.waiting())
        assert put(store, 99).tag.review == unreadable()
        store.choose(False)
        assert not store.review().opt_out
        assert store.review().revision > 2
        assert all(claimed.tag.review.opt_out for claimed in drain(store))
        assert not put(store, 98).tag.review.opt_out
        assert witnesses(folder) == [f"chosen-{store.review().revision}-reviewable"]
    with open_store(folder, report=events.append) as store:
        assert store.review().choice == "user"
    return [event.event for event in events]


def flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 0x10
    file.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda log: log.unlink(),
        lambda log: flip(log, 40),
        lambda log: flip(log, log.stat().st_size // 2),
        lambda log: os.truncate(log, log.stat().st_size // 3),
    ],
    ids=["gone", "first frame", "middle", "cut"],
)
def test_an_opt_out_and_a_mute_outlive_the_loss_of_the_log(tmp_path, damage: Callable[[Path], None]):
    killed_with_a_log(tmp_path / "state", tmp_path / "crashed")
    damage(tmp_path / "crashed" / LOG)
    with open_store(tmp_path / "crashed") as store:
        assert store.muted().muted
    assert fails_closed(tmp_path / "crashed") == ["review-unreadable"]


def test_whichever_byte_of_the_log_is_flipped_nothing_is_loosened(tmp_path):
    killed_with_a_log(tmp_path / "state", tmp_path / "crashed")
    size = (tmp_path / "crashed" / LOG).stat().st_size
    for number in range(40):
        folder = tmp_path / f"flipped-{number}"
        shutil.copytree(tmp_path / "crashed", folder, ignore=shutil.ignore_patterns(RESERVE))
        flip(folder / LOG, random.Random(number).randrange(size))
        with open_store(folder) as store:
            assert store.review().opt_out
            assert store.muted().muted
            assert all(claimed.tag.review.opt_out for claimed in drain(store))
        shutil.rmtree(folder)


@pytest.mark.parametrize("default_opt_out", [False, True])
def test_a_deleted_database_is_no_first_start_once_somebody_chose(tmp_path, default_opt_out):
    with open_store(tmp_path) as store:
        store.choose(True)
        store.choose(False)
    for file in tmp_path.glob(f"{DATABASE}*"):
        file.unlink()
    with open_store(tmp_path, default_opt_out=default_opt_out) as store:
        assert store.review() == unreadable()
    fails_closed(tmp_path)


def test_a_deleted_database_is_a_first_start_while_nobody_chose(tmp_path):
    with open_store(tmp_path) as store:
        put(store)
    (tmp_path / DATABASE).unlink()
    with open_store(tmp_path) as store:
        assert store.review().choice == "default"


@pytest.mark.parametrize("what", ["the database", "the whole folder"])
def test_an_older_copy_over_the_newer_folder_loosens_nothing(tmp_path, what):
    state, backup = tmp_path / "state", tmp_path / "backup"
    with open_store(state) as store:
        store.choose(False)
        for seed in range(COUNT):
            put(store, seed)
    shutil.copytree(state, backup)
    with open_store(state) as store:
        store.choose(True)
        store.choose(False)  # the same sense as in the copy: only the revision tells
        store.set_muted(True)
    if what == "the database":
        shutil.copy(backup / DATABASE, state)
    else:
        shutil.copytree(backup, state, dirs_exist_ok=True)
    with open_store(state) as store:
        assert store.muted().muted
    assert fails_closed(state) == ["review-unreadable"]


@pytest.mark.parametrize(
    "name", ["", "chosen-", "chosen-2-", "chosen-2-maybe", "chosen--2-reviewable", "chosen-0-reviewable"]
)
def test_a_witness_that_is_gone_or_makes_no_sense_is_an_opt_out_until_somebody_chooses(tmp_path, name):
    with open_store(tmp_path) as store:
        store.choose(True)
        store.choose(False)
        put(store)
    witness = tmp_path / "chosen-2-reviewable"
    if name:
        witness.rename(tmp_path / name)
    else:
        witness.unlink()
    assert fails_closed(tmp_path) == ["review-unreadable"]


def test_of_two_witnesses_of_one_revision_the_opt_out_counts(tmp_path):
    with open_store(tmp_path) as store:
        store.choose(False)
        (tmp_path / "chosen-1-opted-out").touch()
        assert store.review().opt_out
        assert store.choose(False).review.revision == 2
        assert not store.review().opt_out


def test_a_choice_of_an_earlier_version_of_the_program_gets_its_witness(tmp_path):
    with open_store(tmp_path) as store:
        store.choose(True)
        before = store.choose(False).review
    make_version_1(tmp_path / DATABASE)
    assert witnesses(tmp_path) == []
    with open_store(tmp_path) as store:
        assert store.review() == before
    assert witnesses(tmp_path) == ["chosen-2-reviewable"]


def test_an_older_copy_of_an_earlier_version_s_database_gets_none(tmp_path):
    with open_store(tmp_path / "state") as store:
        store.choose(False)
    shutil.copytree(tmp_path / "state", tmp_path / "backup")
    make_version_1(tmp_path / "backup" / DATABASE)
    with open_store(tmp_path / "state") as store:
        store.choose(True)
    shutil.copytree(tmp_path / "backup", tmp_path / "state", dirs_exist_ok=True)
    with open_store(tmp_path / "state") as store:
        assert store.review() == unreadable()


def test_who_reads_while_another_chooses_never_finds_it_unreadable(tmp_path):
    events: list = []
    with open_store(tmp_path, report=events.append) as reader, open_store(tmp_path) as chooser:
        chooser.choose(True)

        enough = threading.Event()
        choices = [False]

        def choose() -> None:
            while not enough.is_set():
                choices.append(not choices[-1])
                chooser.choose(choices[-1])
                time.sleep(0.005)  # nobody chooses without any pause, which would keep others from the database

        choosing = threading.Thread(target=choose)
        choosing.start()
        reads = 0
        try:
            while reads < 200 or len(choices) < 60:
                assert reader.review().choice == "user"
                reads += 1
        finally:
            enough.set()
            choosing.join()
    assert events == []


def test_processes_that_choose_at_once_leave_one_choice_and_its_witness(tmp_path):
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=choose_often, args=(tmp_path, seed)) for seed in range(3)]
    for process in others:
        process.start()
    for process in others:
        process.join()
        assert process.exitcode == 0
    with open_store(tmp_path) as store:
        review = store.review()
    assert review.choice == "user"
    assert witnesses(tmp_path) == [f"chosen-{review.revision}-{'opted-out' if review.opt_out else 'reviewable'}"]


def choose_often(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    with open_store(folder) as store:
        for _ in range(15):
            store.choose(chance.random() < 0.5)


def test_unmuting_that_a_crash_interrupted_leaves_a_mute_that_outlives_the_database(tmp_path):
    with open_store(tmp_path) as store:
        store.set_muted(True)
    (tmp_path / "muted").unlink()  # what unmuting does first
    with open_store(tmp_path) as store:
        assert store.muted().muted
    (tmp_path / DATABASE).write_bytes(b"rubbish")
    with open_store(tmp_path) as store:
        assert store.muted().muted
        store.set_muted(False)
        assert not store.muted().muted


def test_unmuting_is_seen_by_a_process_that_asks_only_after_changes(tmp_path):
    """Also where the mute is recorded beside the database alone."""
    with open_store(tmp_path) as daemon, open_store(tmp_path) as command:
        (tmp_path / "muted").touch()
        assert daemon.muted().muted
        before = daemon.change_counter()
        command.set_muted(False)
        assert daemon.change_counter() != before
        assert not daemon.muted().muted


# Disks


@pytest.fixture
def disk(tmp_path) -> Iterator[Callable[[str], Path]]:
    """Mount a small disk with these options; returns a state folder on it."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk to fill")
    folder = tmp_path / "disk"
    folder.mkdir()

    def mounted(options: str) -> Path:
        arguments = ["mount", "-t", "tmpfs", "-o", f"mode=700,{options}", "tmpfs", folder]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"this machine does not let root mount: {done.stderr.strip()}")
        return folder / "state"

    yield mounted
    subprocess.run(["umount", "-l", folder], check=False)


def fill(folder: Path) -> None:
    """Leave no room on the disk, not even the reserve."""
    (folder / RESERVE).unlink(missing_ok=True)
    with (folder.parent / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def test_an_opt_in_that_a_full_disk_refuses_leaves_the_choice_as_it_was(disk):
    folder = disk("size=16m")
    with open_store(folder) as store:
        before = store.choose(True).review
        fill(folder)
        with pytest.raises(StoreBusyError):
            store.choose(False)
        assert store.review() == before
        assert witnesses(folder) == ["chosen-1-opted-out"]


def test_an_opt_out_that_a_full_disk_refuses_counts_all_the_same(disk):
    folder = disk("size=16m")
    with open_store(folder) as store:
        store.choose(False)
        fill(folder)
        with pytest.raises(StoreBusyError):
            store.choose(True)
        assert store.review() == unreadable()


@pytest.mark.parametrize("tighten", [lambda store: store.choose(True), lambda store: store.set_muted(True)])
def test_a_disk_without_room_for_one_more_file_keeps_nobody_from_opting_out_or_muting(disk, tighten):
    folder = disk("size=32m,nr_inodes=40")
    with open_store(folder) as store:
        assert not store.review().opt_out
        with pytest.raises(OSError, match="No space"):  # noqa: PT012 (which of them is the last cannot be known)
            for number in range(100):
                (folder.parent / f"other-{number}").touch()
        tighten(store)
        assert store.review().choice == "user" or store.muted().muted
