"""What the store's tests share: requests with sound of their own, a clock that jumps, the files' bytes."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from device.edges.store import Claimed, Store, Stored, StoreEvent, outbox
from device.edges.store.folder import CHOICE_WITNESS, DATABASE
from device.edges.store.ids import Uuid7
from device.hearing.request import Request
from device.message.timestamps import NS_PER_S, Now

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
# Where a test may keep files that need not outlive a power cut: syncing a real disk hundreds of times costs seconds.
MEMORY = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None
EVENING_NS = 1_795_380_201_652_000_000  # 2026-11-22T20:43:21.652Z


@dataclass
class JumpingClock:
    """A clock that stands still unless a test moves it, each of its hands alone or all together."""

    moment: Now = field(default_factory=lambda: Now(EVENING_NS, 100 * NS_PER_S, "boot-1", synced=True))

    def now(self) -> Now:
        return self.moment

    def pass_s(self, seconds: float) -> None:
        """Time goes by."""
        ns = round(seconds * NS_PER_S)
        self.moment = replace(self.moment, wall_ns=self.moment.wall_ns + ns, boot_ns=self.moment.boot_ns + ns)

    def set(self, **hands: Any) -> None:
        """Set some hands."""
        self.moment = replace(self.moment, **hands)

    def reboot(self, boot_id: str, *, up_s: float = 20, synced: bool = True) -> None:
        """The machine starts again; its wall clock is where it was."""
        self.set(boot_id=boot_id, boot_ns=round(up_s * NS_PER_S), synced=synced)


def request_of(seed: int, samples: int = 3_200, **changes: Any) -> Request:
    """Return a request with noise that belongs to ``seed`` alone."""
    pcm = np.random.default_rng(seed).integers(-20_000, 20_000, samples, dtype=np.int16)
    plain = {
        "wake_word": "hey_jarvis",
        "score": 0.998,
        "wake_sample": 84_480,
        "start_sample": 88_320,
        "end_sample": 88_320 + samples,
        "speech_sample": 88_400,
        "ended_by": "silence",
        "pcm": pcm,
    }
    return Request(**plain | changes)


def pcm_of(seed: int, samples: int = 3_200) -> bytes:
    """Return that request's sound as it is stored."""
    return request_of(seed, samples).pcm.astype("<i2").tobytes()


def open_store(folder: Path, **changes: Any) -> Store:
    """Open a store that defaults to opted-in, so that an opt-out in a test has a cause."""
    plain: dict[str, Any] = {
        "default_opt_out": False,
        "max_bytes": 10**9,
        "max_age_s": 7 * 86_400,
        "clock": JumpingClock(),
        "report": ignore,
    }
    return Store(folder, **plain | changes)


def ignore(event: StoreEvent) -> None:
    """Take an event and do nothing: the tests that look at events pass a list's ``append``."""


def put(store: Store, seed: int = 1, samples: int = 3_200, *, age_s: float = 1.5, **changes: Any) -> Stored:
    """Store the request of a seed."""
    return store.put(request_of(seed, samples, **changes), device="kitchen", source="mic:USB", age_s=age_s)


def fill(folder: Path, count: int, samples: int, *, clock: Any) -> list[str]:
    """Let so many requests wait, all put by one transaction; returns their ids, oldest first."""
    with open_store(folder, clock=clock) as store, database_of(folder) as db:
        review, now, make = store.review(), clock.now(), Uuid7()
        ids = [make.make(now.wall_ns) for _ in range(count)]
        for number, request_id in enumerate(ids):
            request = request_of(number, samples)
            pcm = outbox.pcm_bytes(request.pcm)
            facts: dict[str, Any] = {"device": "kitchen", "source": "mic:USB", "now": now, "age_s": 1.5}
            outbox.insert(db, outbox.entry_of(request, pcm, request_id=request_id, review=review, **facts), pcm)
    return ids


@contextmanager
def database_of(folder: Path) -> Iterator[sqlite3.Connection]:
    """A transaction of somebody else's on the database."""
    db = sqlite3.connect(folder / DATABASE, isolation_level=None)
    try:
        db.execute("BEGIN IMMEDIATE")
        yield db
        db.execute("COMMIT")
    finally:
        db.close()


def read_anew(folder: Path) -> None:
    """Have every store of a folder read the file anew, as after any change by another process."""
    with open_store(folder) as other:
        other.ask_to_send()


class Connections:
    """Every connection to SQLite that is made in the block; closing one is all that a crash does to it."""

    def __init__(self) -> None:
        self._made: list[sqlite3.Connection] = []
        self._connect = sqlite3.connect

    def __enter__(self) -> Connections:
        sqlite3.connect = self._noted  # type: ignore[assignment]
        return self

    def __exit__(self, *_: object) -> None:
        sqlite3.connect = self._connect

    def _noted(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        self._made.append(self._connect(*arguments, **options))
        return self._made[-1]

    @property
    def newest(self) -> sqlite3.Connection:
        """The one made last."""
        return self._made[-1]


def take(store: Store) -> Claimed | None:
    """Claim the oldest, whatever it is, and let go at once."""
    with store.claim(lambda request_id, opt_out: True) as claimed:
        return claimed


def drain(store: Store) -> list[Claimed]:
    """Claim and acknowledge until nothing waits."""
    sent = []
    while claimed := take(store):
        assert hashlib.sha256(claimed.pcm).hexdigest() == claimed.tag.audio.sha256
        store.acknowledge(claimed.tag.id)
        sent.append(claimed)
    return sent


# What each version brought, from the newest back, taken away again.
_TAKE_BACK = {
    7: "DROP TABLE setting",
    6: "DROP TABLE wake_audio",
    5: "DROP TABLE sent; ALTER TABLE chosen DROP COLUMN withdrawn_at",
    4: "DROP TABLE chosen",
    3: "DROP TABLE obeyed",
}


def take_back(db: sqlite3.Connection, version: int) -> None:
    """Make the tables those of an older version; the tag's columns, which version 2 changed, stay."""
    for later, statements in _TAKE_BACK.items():
        if later > version:
            db.executescript(statements)
    db.execute(f"PRAGMA user_version={version}")


def make_version_1(database: Path) -> None:
    """Turn a database into what the first version of the program made, with columns for what is JSON now.

    That version did not record the choice beside the database, which retained commands it had obeyed, nor what was
    read where a choice was made.
    """
    with sqlite3.connect(database) as db:
        for column, kind in (
            ("device", "TEXT"), ("source", "TEXT"), ("wake_word", "TEXT"), ("score", "REAL"),
            ("wake_sample", "INTEGER"), ("start_sample", "INTEGER"),
            ("end_sample", "INTEGER"), ("ended_by", "TEXT"), ("audio.sha256", "TEXT"),
        ):  # fmt: skip
            name = column.rpartition(".")[2]
            db.execute(f"ALTER TABLE request ADD COLUMN {name} {kind} NOT NULL DEFAULT 0")
            db.execute(f"UPDATE request SET {name} = json_extract(tag, '$.{column}')")  # noqa: S608
        db.execute("ALTER TABLE request DROP COLUMN tag")
        take_back(db, 1)
    db.close()
    for witness in database.parent.glob(f"{CHOICE_WITNESS}*"):
        witness.unlink()


def bytes_of(folder: Path) -> bytes:
    """Return all bytes of all files in the folder, one after another; the reserve, never written, is left out."""
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()) if file.name != "reserve")
