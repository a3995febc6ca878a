"""Any interleaving of toggles, stores, claims, acknowledgements, refusals and crashes keeps the promises."""

from __future__ import annotations

import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.stores import MEMORY, Connections, JumpingClock, open_store, pcm_of, put

from device.edges.store.folder import DATABASE

if TYPE_CHECKING:
    import sqlite3

    from device.edges.store import Claimed, Store

SAMPLES = 160
STORES = st.sampled_from(["daemon", "command"])


@dataclass
class Kept:
    """What the model knows of a request; ``maybe_gone``: acknowledged, so a crash may or may not repeat it."""

    seed: int
    opt_out: bool
    maybe_gone: bool = False
    published_opted_out: bool = False


class Promises(RuleBasedStateMachine):
    """Two stores on one folder, as of the daemon and of a command, against a model of a dict and a flag."""

    claimed = Bundle("claimed")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        self.clock = JumpingClock()
        self.stores: dict[str, Store] = {}
        self.connections: dict[str, sqlite3.Connection] = {}
        self.kept: dict[str, Kept] = {}
        self.opt_out = False
        self.revision = 0
        self.muted = False
        self.seed = 0

    @initialize(default=st.booleans())
    def start(self, default: bool) -> None:
        self.default = self.opt_out = default
        for name in ("daemon", "command"):
            self.open(name)

    def open(self, name: str) -> None:
        with Connections() as connections:
            self.stores[name] = open_store(self.folder, clock=self.clock, default_opt_out=self.default)
        self.connections[name] = connections.newest

    def teardown(self) -> None:
        for store in self.stores.values():
            store.close()
        shutil.rmtree(self.folder)

    @rule(name=STORES)
    def store_request(self, name: str) -> None:
        self.seed += 1
        tag = put(self.stores[name], self.seed, SAMPLES).tag
        assert tag.review.opt_out == self.opt_out
        assert tag.review.revision == self.revision
        assert tag.id not in self.kept
        self.kept[tag.id] = Kept(self.seed, self.opt_out)

    @rule(name=STORES, opt_out=st.booleans())
    def choose(self, name: str, opt_out: bool) -> None:
        chosen = self.stores[name].choose(opt_out)
        assert chosen.review.opt_out == opt_out
        assert chosen.review.choice == "user"
        self.chosen(opt_out, chosen.review.revision)

    def chosen(self, opt_out: bool, revision: int) -> None:
        assert revision - self.revision == (opt_out != self.opt_out or self.revision == 0)
        self.opt_out, self.revision = opt_out, revision
        if opt_out:
            for kept in self.kept.values():
                kept.opt_out = True

    @rule(name=STORES, muted=st.booleans())
    def mute(self, name: str, muted: bool) -> None:
        self.stores[name].set_muted(muted)
        self.muted = muted

    @rule(target=claimed, name=STORES, only=st.sampled_from(["any", "reviewable", "opted-out"]), skip=st.integers(0, 2))
    def claim(self, name: str, only: str, skip: int) -> tuple[str, str]:
        with self.stores[name].claim(self.wanted(only, skip)) as got:
            return self.published(name, got)

    @rule(target=claimed, name=STORES, opt_out=st.booleans())
    def claim_while_the_other_chooses(self, name: str, opt_out: bool) -> tuple[str, str]:
        other = self.stores["command" if name == "daemon" else "daemon"]
        done: list[int] = []
        chooser = threading.Thread(target=lambda: done.append(other.choose(opt_out).review.revision))
        with self.stores[name].claim(self.wanted("any", 0)) as got:
            chooser.start()
            result = self.published(name, got)  # the choice so far counts: the other has not returned
            assert not done
        chooser.join()
        self.chosen(opt_out, done[0])
        return result

    def wanted(self, only: str, skip: int):
        asked: list[str] = []

        def answer(request_id: str, opt_out: bool) -> bool:
            assert opt_out == self.kept[request_id].opt_out
            asked.append(request_id)
            assert asked == [each for each in self.kept if each in asked], "oldest first"
            return len(asked) > skip and only in ("any", "opted-out" if opt_out else "reviewable")

        return answer

    def published(self, name: str, got: Claimed | None) -> tuple[str, str]:
        if got is None:
            return name, ""
        kept = self.kept[got.tag.id]
        assert got.pcm == pcm_of(kept.seed, SAMPLES)
        assert got.tag.review.opt_out == kept.opt_out
        assert not (self.opt_out and not got.tag.review.opt_out)
        assert not (kept.published_opted_out and not got.tag.review.opt_out)
        kept.published_opted_out |= got.tag.review.opt_out
        return name, got.tag.id

    @rule(which=claimed)
    def acknowledge(self, which: tuple[str, str]) -> None:
        name, request_id = which
        if request_id in self.kept:
            self.stores[name].acknowledge(request_id)
            self.kept[request_id].maybe_gone = True
            assert request_id not in {each.id for each in self.stores[name].waiting()}

    @rule(which=claimed)
    def refuse(self, which: tuple[str, str]) -> None:
        self.stores[which[0]].refused(which[1], "quota exceeded (151)")

    @rule(name=STORES)
    def flush(self, name: str) -> None:
        self.stores[name].flush()

    @rule(name=STORES, data=st.data())
    @precondition(lambda self: self.kept)
    def delete(self, name: str, data: st.DataObject) -> None:
        doomed = data.draw(st.sampled_from(sorted(self.kept)))
        self.stores[name].delete([doomed])
        del self.kept[doomed]

    @rule(seconds=st.floats(0, 100), jump_s=st.integers(-7200, 7200))
    def time_passes_and_the_wall_clock_jumps(self, seconds: float, jump_s: int) -> None:
        self.clock.pass_s(seconds)
        self.clock.set(wall_ns=self.clock.moment.wall_ns + jump_s * 10**9)

    @rule(name=STORES, inside_a_claim=st.booleans())
    def crash(self, name: str, inside_a_claim: bool) -> None:
        """The process ends: its connection is gone without a word, its memory of acknowledgements too."""
        connection = self.connections[name]
        if inside_a_claim:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE request SET review = 'reviewable', attempts = 9")
        connection.close()
        self.open(name)

    @rule(name=STORES)
    def restart(self, name: str) -> None:
        self.stores[name].close()
        self.open(name)

    @invariant()
    def nothing_is_lost_or_loosened(self) -> None:
        if not self.stores:
            return
        for store in self.stores.values():
            review = store.review()
            assert (review.opt_out, review.revision) == (self.opt_out, self.revision)
            assert store.muted().muted == self.muted
            waiting = store.waiting()
            assert store.count() == len(waiting)
            ids = [each.id for each in waiting]
            assert ids == [request_id for request_id in self.kept if request_id in set(ids)]
            assert set(ids) <= set(self.kept)
            assert {request_id for request_id, kept in self.kept.items() if not kept.maybe_gone} <= set(ids)
            assert all(each.review.opt_out == self.kept[each.id].opt_out for each in waiting)


class OlderDatabases(RuleBasedStateMachine):
    """Older copies of the database, of its log, or of the whole folder come back at any time; nothing is loosened."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        self.copies: list[Path] = []
        self.chosen: bool | None = None  # the last choice was an opt-out
        self.muted = False
        self.opted_out: set[str] = set()  # ids that were, at any time
        self.seed = 0
        self.open()

    def open(self) -> None:
        self.store = open_store(self.folder / "state")

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    @rule()
    def store_request(self) -> None:
        self.seed += 1
        tag = put(self.store, self.seed, SAMPLES).tag
        assert tag.review.opt_out or self.chosen is not True
        if tag.review.opt_out:
            self.opted_out.add(tag.id)

    @rule(opt_out=st.booleans())
    def choose(self, opt_out: bool) -> None:
        waiting = {each.id for each in self.store.waiting()}
        assert self.store.choose(opt_out).review.opt_out is opt_out
        self.chosen = opt_out
        if opt_out:
            self.opted_out |= waiting
        assert self.store.review().choice == "user"

    @rule(muted=st.booleans())
    def mute(self, muted: bool) -> None:
        self.store.set_muted(muted)
        self.muted = muted
        assert self.store.muted().muted is muted

    @rule(acknowledged=st.booleans())
    def send(self, acknowledged: bool) -> None:
        with self.store.claim(lambda request_id, opt_out: True) as got:
            pass
        if got is not None:
            assert got.tag.review.opt_out or got.tag.id not in self.opted_out
            assert got.tag.review.opt_out or self.chosen is not True
            if acknowledged:
                self.store.acknowledge(got.tag.id)

    @rule()
    def copy(self) -> None:
        self.copies.append(self.folder / f"copy-{len(self.copies)}")
        shutil.copytree(self.folder / "state", self.copies[-1], ignore=shutil.ignore_patterns("reserve"))

    @rule(what=st.sampled_from(["log lost", "database gone", "database", "folder"]), data=st.data())
    def come_back_older(self, what: str, data: st.DataObject) -> None:
        """As after a kill: the process has ended, and its files are what they were at some time."""
        state, now = self.folder / "state", self.folder / "now"
        shutil.copytree(state, now)
        self.store.close()
        shutil.rmtree(state)
        now.rename(state)
        (state / f"{DATABASE}-shm").unlink(missing_ok=True)
        if what in ("log lost", "database gone", "database"):
            (state / f"{DATABASE}-wal").unlink(missing_ok=True)
        if what == "database gone":
            (state / DATABASE).unlink()
        elif what != "log lost" and self.copies:
            copy = data.draw(st.sampled_from(self.copies))
            files = [copy / DATABASE] if what == "database" else copy.iterdir()
            for file in files:
                shutil.copy(file, state)
        self.open()

    @invariant()
    def nothing_is_looser_than_it_was_chosen(self) -> None:
        assert self.store.review().opt_out or self.chosen is not True
        assert self.store.muted().muted or not self.muted
        assert all(each.review.opt_out or each.id not in self.opted_out for each in self.store.waiting())


TestPromises = Promises.TestCase
TestOlderDatabases = OlderDatabases.TestCase
TestOlderDatabases.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestPromises.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
