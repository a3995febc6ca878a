"""Several real processes on one folder: toggle storms, kills, and a first start by all at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from support.stores import MEMORY, drain, open_store, pcm_of, put

ROOT = Path(__file__).parents[1]
SAMPLES = 1_600


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(dir=MEMORY) as made:
        yield Path(made)


def start(script: str, folder: Path, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + script, str(folder), *map(str, arguments)],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        text=True,
    )


# Every line is written at once, with the time of the one monotonic clock that all processes share.
PRELUDE = """
import os, sys, time
from pathlib import Path
from support.stores import *
folder = Path(sys.argv[1])

def tell(*words):
    os.write(1, (" ".join(map(str, (time.monotonic_ns(), *words))) + "\\n").encode())
"""

STORING = """
store = open_store(folder)
for seed in range(int(sys.argv[2]), int(sys.argv[3])):
    tag = put(store, seed, 1_600).tag
    tell("stored", tag.id, seed, tag.review.opt_out)
"""

SENDING = """
store = open_store(folder)
while not (folder / "stop").exists() or store.count():
    with store.claim(lambda request_id, opt_out: True) as claimed:
        if claimed:
            tell("published", claimed.tag.id, claimed.tag.audio.sha256, claimed.tag.review.opt_out)
    if claimed:
        store.acknowledge(claimed.tag.id)
"""

# Says one line only: nobody reads on, and a full pipe would hold it inside a claim.
CLAIMING = """
store = open_store(folder)
tell("claiming")
while True:
    with store.claim(lambda request_id, opt_out: True):
        pass
    time.sleep(0.0003)  # the broker's answer, which a sender awaits before it claims again
"""

TOGGLING = """
store = open_store(folder)
for number in range(int(sys.argv[2])):
    opt_out = number % 2 == 0
    tell("choosing", opt_out)
    store.choose(opt_out)
    tell("chosen", opt_out)
"""


def test_once_an_opt_out_has_returned_no_publish_that_begins_later_is_reviewable(folder, ledger):
    """One process stores, two send, one toggles; only it may opt in, so between its two lines the truth is known."""
    senders = [start(SENDING, folder) for _ in range(2)]
    storing = start(STORING, folder, 0, 300)
    toggling = start(TOGGLING, folder, 60)
    stored = lines(storing)
    toggles = lines(toggling)
    (folder / "stop").touch()
    published = sorted((line for sender in senders for line in lines(sender)), key=lambda line: int(line[0]))

    opted_out: list[tuple[int, int]] = []  # from the return of an opt-out to the call of the next opt-in
    for (time_ns, event, value), following in zip(toggles, [*toggles[1:], (10**30,)], strict=True):
        if event == "chosen" and value == "True":
            opted_out.append((int(time_ns), int(following[0])))
    tags: dict[str, str] = {}
    mistagged = set()
    for time_ns, _, request_id, _, opt_out in published:
        late = any(begin < int(time_ns) < end for begin, end in opted_out)
        if opt_out == "False" and (late or tags.get(request_id) == "True"):
            mistagged.add(request_id)
        tags[request_id] = opt_out
    lost = {line[2] for line in stored} - set(tags)
    ledger("opting in and out while sending", injected=60, stored=len(stored), lost=len(lost), mistagged=len(mistagged))
    assert not mistagged
    assert len(opted_out) == 30
    assert {line[2] for line in stored} == set(tags)
    loosened = [line for line in stored if line[4] == "True" and tags[line[2]] == "False"]
    assert loosened == []


def test_a_process_killed_at_any_moment_loses_nothing_it_told_and_each_id_has_one_sound(folder, ledger):
    told: dict[str, int] = {}
    sounds: dict[str, set[str]] = {}
    for turn in range(6):
        storing = start(STORING, folder, 10_000 * turn, 10_000 * (turn + 1))
        # It tells after the claim: nobody reads yet, and a full pipe would hold it inside.
        sending = start(
            SENDING.replace("        if claimed:\n            tell", "        pass\n    if claimed:\n        tell"),
            folder,
        )
        first = storing.stdout.readline().split()
        told[first[2]] = int(first[3])
        time.sleep(0.03 * turn)  # the moment of the kill, not a wait for something
        for process in (storing, sending):
            os.kill(process.pid, signal.SIGKILL)
        told |= {line[2]: int(line[3]) for line in lines(storing, killed=True) if len(line) == 5}
        for line in lines(sending, killed=True):
            if len(line) == 5:
                sounds.setdefault(line[2], set()).add(line[3])
    with open_store(folder) as store:
        for claimed in drain(store):
            sounds.setdefault(claimed.tag.id, set()).add(claimed.tag.audio.sha256)
            if claimed.tag.id in told:
                assert claimed.pcm == pcm_of(told[claimed.tag.id], SAMPLES)
    lost = set(told) - set(sounds)
    ledger("kill -9 of those who store and send", injected=12, stored=len(told), lost=len(lost))
    assert not lost
    assert all(len(each) == 1 for each in sounds.values())


def test_processes_that_make_the_folder_all_at_once_share_one_database(folder):
    script = "store = open_store(folder / 'state'); tell(put(store, int(sys.argv[2]), 160).tag.id); store.choose(True)"
    starting = [start(script, folder, seed) for seed in range(6)]
    ids = {lines(process)[0][1] for process in starting}
    with open_store(folder / "state") as store:
        assert {claimed.tag.id for claimed in drain(store)} == ids
        assert store.review().revision == 1
    assert len(ids) == 6


def test_a_busy_sender_does_not_keep_another_process_waiting(folder):
    with open_store(folder) as store:
        for seed in range(50):
            put(store, seed, 160)
    sending = start(CLAIMING, folder)
    sending.stdout.readline()
    with open_store(folder) as store:
        waited = []
        for opt_out in [True, False] * 10:
            began = time.monotonic()
            store.choose(opt_out)
            waited.append(time.monotonic() - began)
    sending.kill()
    sending.communicate()
    assert max(waited) < 2


def lines(process: subprocess.Popen[str], *, killed: bool = False) -> list[tuple[str, ...]]:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if killed else 0)
    return [tuple(line.split()) for line in output.splitlines()]
