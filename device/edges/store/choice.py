"""The review choice, the mute and the counters as rows; every function works inside its caller's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device.core.moment import rfc3339
from device.core.review import Review, unreadable
from device.edges.store.records import Mute

if TYPE_CHECKING:
    import sqlite3


def read_review(db: sqlite3.Connection, *, default_opt_out: bool) -> Review:
    """Return the stored choice; whatever makes no sense is an opt-out."""
    rows = db.execute("SELECT choice, revision, changed_at FROM review").fetchall()
    match rows:
        case [("default", 0, None)]:
            return Review(opt_out=default_opt_out, choice="default", revision=0, changed_at=None)
        case [("reviewable" | "opted-out" as word, int(revision), str(changed_at))] if revision > 0:
            return Review(opt_out=word == "opted-out", choice="user", revision=revision, changed_at=changed_at)
        case _:
            return unreadable()


def write_review(db: sqlite3.Connection, *, opt_out: bool, wall_ns: int) -> Review:
    """Store the user's choice as the next revision."""
    last = db.execute("SELECT max(revision, 0) FROM review").fetchone() or (0,)
    changed = Review(opt_out=opt_out, choice="user", revision=last[0] + 1, changed_at=rfc3339(wall_ns))
    db.execute("DELETE FROM review")
    word = "opted-out" if opt_out else "reviewable"
    db.execute("INSERT INTO review VALUES (1, ?, ?, ?)", (word, changed.revision, changed.changed_at))
    return changed


def begin(db: sqlite3.Connection, *, first_start: bool, muted: bool, wall_ns: int) -> None:
    """Fill a new database: nobody chose yet on the first start; after damage nobody knows what was chosen."""
    db.execute("INSERT INTO review VALUES (1, ?, 0, NULL)", ("default" if first_start else "unreadable",))
    write_mute(db, muted=muted, wall_ns=wall_ns)


def read_mute(db: sqlite3.Connection, *, wall_ns: int) -> Mute:
    """Return the stored mute; whatever makes no sense is muted, as of now."""
    match db.execute("SELECT state, since FROM microphone").fetchall():
        case [("listening" | "muted" as state, str(since))]:
            return Mute(state == "muted", since)
        case _:
            return Mute(muted=True, since=rfc3339(wall_ns))


def write_mute(db: sqlite3.Connection, *, muted: bool, wall_ns: int) -> None:
    """Store whether the microphone is muted, as of now."""
    db.execute("DELETE FROM microphone")
    db.execute("INSERT INTO microphone VALUES (1, ?, ?)", ("muted" if muted else "listening", rfc3339(wall_ns)))


def count(db: sqlite3.Connection, name: str, by: int = 1) -> None:
    """Raise a counter."""
    if by:
        db.execute(
            "INSERT INTO counter VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, by),
        )


def read_counters(db: sqlite3.Connection) -> dict[str, int]:
    """Return every counter that ever counted."""
    return dict(db.execute("SELECT name, value FROM counter ORDER BY name"))
