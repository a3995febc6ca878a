"""The power is cut after every write of a whole life of the store; what was promised before the cut still holds."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from support.power_cut import Call, Disk, record
from support.stores import MEMORY, drain, open_store, pcm_of

if TYPE_CHECKING:
    from collections.abc import Iterator

LIFE = """
import os, sys
from pathlib import Path
from support.stores import open_store, put, take

def mark(text):
    os.write(2, f"MARK {text}\\n".encode())

def keep(seed):
    put(store, seed)
    mark(f"stored {seed}")

store = open_store(Path(sys.argv[1]))
keep(1)
keep(2)
store.choose(True)
mark("opted out")
keep(3)
store.acknowledge(take(store).tag.id)
mark("sent 1")
store.flush()
mark("gone 1")
store.set_muted(True)
mark("muted")
mark("opting in")
store.choose(False)
mark("opted in")
keep(4)
mark("opting out")
store.choose(True)
mark("opted out")
mark("sent 2")
store.delete([store.waiting()[0].id])
mark("gone 2")
keep(5)
store.close()
mark("closed")
"""

DAMAGED_LIFE = """
import os, sqlite3, sys
from contextlib import closing
from pathlib import Path
from support.stores import open_store, put, read_anew
store = open_store(Path(sys.argv[1]))
for seed in (1, 2):
    put(store, seed)
    os.write(2, f"MARK stored {seed}\\n".encode())
store.flush()
read_anew(Path(sys.argv[1]))
with closing(sqlite3.connect(Path(sys.argv[1]) / "recorder.db")) as other:  # the log would hide the damage
    assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
for name in ("recorder.db", "recorder.db-wal"):  # the log was emptied, but on the disk only when it is synced
    descriptor = os.open(Path(sys.argv[1]) / name, os.O_RDWR)
    if name == "recorder.db":
        os.pwrite(descriptor, bytes(16), 0)
    os.fsync(descriptor)
    os.close(descriptor)
os.write(2, b"MARK damaged\\n")
put(store, 3)
os.write(2, b"MARK stored 3\\n")
"""


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def recorded(script: str, tmp_path: Path) -> list[Call]:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: it records the writes")
    calls = record(script, tmp_path / "life", tmp_path / "strace.log")
    assert sum(call.kind == "sync" for call in calls) > 20
    return calls


def left_behind(calls: list[Call], end: int, folder: Path, chance: Random | None) -> list[str]:
    disk = Disk()
    for call in calls[:end]:
        disk.do(call)
    disk.lose_power(folder, chance)
    return disk.marks


@pytest.mark.parametrize("survives", ["nothing unsynced", "some sectors", "some other sectors"])
def test_what_was_promised_before_a_power_cut_holds_after_it(tmp_path, scratch, survives, ledger):
    calls = recorded(LIFE, tmp_path)
    stored = 0
    for end in range(len(calls) + 1):
        folder = scratch / "after"
        chance = None if survives == "nothing unsynced" else Random(f"{survives} {end}")
        marks = left_behind(calls, end, folder, chance)
        keeps_its_word(folder, marks)
        stored += sum(mark.startswith("stored") for mark in marks)
        shutil.rmtree(folder)
    ledger("power cut after each write", injected=len(calls) + 1, stored=stored, lost=0, mistagged=0)


def keeps_its_word(folder: Path, marks: list[str]) -> None:
    events: list = []
    with open_store(folder, report=events.append) as store:
        assert events == []
        review, muted = store.review(), store.muted().muted
        sent = drain(store)
    tags = {next(seed for seed in range(1, 6) if pcm_of(seed) == claimed.pcm): claimed.tag.review for claimed in sent}
    assert list(tags) == sorted(tags)
    stored, gone, maybe_gone = ({int(m[-1]) for m in marks if m.startswith(w)} for w in ("stored", "gone", "sent"))
    assert stored - maybe_gone <= set(tags)
    assert not gone & set(tags)
    assert len(set(tags) - stored) <= 1  # one may have been stored without being told
    choices = [mark for mark in marks if mark.startswith("opt")]
    if choices and choices[-1] == "opted out":
        assert review.opt_out
        assert all(tag.opt_out for tag in tags.values())
    if choices and choices[-1] == "opted in":
        assert not review.opt_out or "stored 4" in marks
    if "opted out" in choices:
        assert all(tag.opt_out for seed, tag in tags.items() if seed <= 3)
    assert muted or "muted" not in marks


def test_a_power_cut_while_a_damaged_database_is_set_aside_loses_nothing_that_was_saved(tmp_path, scratch, ledger):
    calls = recorded(DAMAGED_LIFE, tmp_path)
    damaged = next(number for number, call in enumerate(calls) if call.name == "damaged")
    cuts = stored = 0
    for end in range(damaged + 1, len(calls) + 1):
        for chance in (None, Random(end)):
            folder = scratch / "after"
            marks = left_behind(calls, end, folder, chance)
            with open_store(folder) as store:
                assert store.review().choice == "unreadable"
                sent = drain(store)
            assert all(claimed.tag.review.opt_out for claimed in sent)
            sounds = {claimed.pcm for claimed in sent}
            told = {pcm_of(int(mark[-1])) for mark in marks if mark.startswith("stored")}
            assert told <= sounds
            cuts, stored = cuts + 1, stored + len(told)
            shutil.rmtree(folder)
    ledger("power cut while a damaged file is set aside", injected=cuts, stored=stored, lost=0, mistagged=0)
