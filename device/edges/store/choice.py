"""The review choice, the mute and the counters as rows; every function works inside its caller's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from device.edges.store import sent
from device.edges.store.results import Mute
from device.errors import CommandRefusedError
from device.message import review
from device.message.review import Review, unreadable
from device.message.timestamps import rfc3339
from device.message.wording import Wording

if TYPE_CHECKING:
    import sqlite3

    from msgspec import UnsetType

    from device.edges.store.witness import Witness
    from device.message.timestamps import Now

_REMEMBERED = 1_000  # choices whose wording is kept: a request seldom waits longer than its own


def read_review(db: sqlite3.Connection, *, default_opt_out: bool) -> Review:
    """Return the stored choice; whatever makes no sense is an opt-out."""
    rows = db.execute("SELECT choice, revision, changed_at FROM review").fetchall()
    match rows:
        case [("default", 0, None)]:
            return Review(opt_out=default_opt_out, choice="default", revision=0, changed_at=None)
        case [(review.REVIEWABLE | review.OPTED_OUT as word, int(revision), str(changed_at))] if revision > 0:
            return Review(opt_out=review.opts_out(word), choice="user", revision=revision, changed_at=changed_at)
        case _:
            return unreadable()


def judge(db: sqlite3.Connection, witness: Witness, *, default_opt_out: bool) -> tuple[Review, str]:
    """Return the choice that counts and, where that is nobody's, what is wrong with the stored one."""
    review = read_review(db, default_opt_out=default_opt_out)
    problem = "it was lost to damage" if review.choice == "unreadable" else witness.contradiction(review)
    return (unreadable() if problem else review), problem


def refuse_unless_meant(review: Review, revision: int | None) -> None:
    """Refuse to change another choice than the one of a revision; None: whichever it is.

    Raises:
        CommandRefusedError: it has another revision, or cannot be read.
    """
    if revision is None:
        return
    if review.choice == "unreadable":
        raise CommandRefusedError("the stored choice cannot be read", hint="choose on the device: `review opt-in`")
    if review.revision != revision:
        raise CommandRefusedError(
            f"opt-in {revision} means to change revision {revision} of the choice, which has {review.revision} now",
            hint=f"`opt-in {review.revision}` would change that one",
        )


def last_revision(db: sqlite3.Connection) -> int:
    """Return the revision of the stored choice, 0 where none can be read."""
    row = db.execute("SELECT max(revision, 0) FROM review").fetchone()
    return int(row[0]) if row else 0


def write_review(
    db: sqlite3.Connection, *, opt_out: bool, revision: int, now: Now, shown: Wording | None = None
) -> Review:
    """Store the user's choice under its revision, and what was read where it was made."""
    changed = Review(opt_out=opt_out, choice="user", revision=revision, changed_at=rfc3339(now.wall_ns))
    db.execute("DELETE FROM review")
    word = review.decision(opt_out=opt_out)
    db.execute("INSERT INTO review VALUES (1, ?, ?, ?)", (word, changed.revision, changed.changed_at))
    read = (shown.version, shown.sentence) if shown else (None, None)
    db.execute(
        "INSERT OR REPLACE INTO chosen VALUES (?, ?, ?, ?, ?, NULL)", (revision, word, changed.changed_at, *read)
    )
    db.execute("DELETE FROM chosen WHERE revision <= ?", (revision - _REMEMBERED,))
    return changed


def read_wording(db: sqlite3.Connection, chosen: Review) -> Wording | None:
    """Return what was read where a choice was made; None if nothing was, or nobody knows any more."""
    row = db.execute(
        "SELECT wording, sentence FROM chosen WHERE revision = ? AND changed_at = ? AND choice = ?",
        (chosen.revision, chosen.changed_at, review.decision(opt_out=chosen.opt_out)),
    ).fetchone()
    match row:
        case (int(version), str(sentence)):
            return Wording(version, sentence)
        case _:
            return None


def wording_version(db: sqlite3.Connection, chosen: Review) -> int | UnsetType:
    """Return the version of what was read where a choice was made; unset if nothing was."""
    shown = read_wording(db, chosen)
    return shown.version if shown else UNSET


def withdraw(db: sqlite3.Connection, chosen: Review, now: Now) -> int:
    """Withdraw what was sent as reviewable, and note when that was, with the opt-out; returns how many requests."""
    db.execute(
        "INSERT INTO chosen VALUES (?, ?, ?, NULL, NULL, ?)"
        " ON CONFLICT (revision) DO UPDATE SET withdrawn_at = excluded.withdrawn_at",
        (chosen.revision, review.OPTED_OUT, chosen.changed_at, rfc3339(now.wall_ns)),
    )
    return sent.ask_erasure(db)


def read_withdrawn_at(db: sqlite3.Connection, chosen: Review) -> str | None:
    """Return when what had been sent was withdrawn with this opt-out; None if it was not."""
    row = db.execute(
        "SELECT withdrawn_at FROM chosen WHERE revision = ? AND changed_at = ? AND choice = ?",
        (chosen.revision, chosen.changed_at, review.OPTED_OUT),
    ).fetchone()
    return row[0] if row else None


def begin(db: sqlite3.Connection, *, first_start: bool, muted: bool, wall_ns: int) -> None:
    """Fill a new database: nobody chose yet on the first start; after damage nobody knows what was chosen."""
    db.execute("INSERT INTO review VALUES (1, ?, 0, NULL)", ("default" if first_start else "unreadable",))
    write_mute(db, muted=muted, wall_ns=wall_ns)


def read_mute(db: sqlite3.Connection, witness: Witness, *, wall_ns: int) -> Mute:
    """Return the mute: what is stored or recorded beside the database; whatever makes no sense is muted, as of now."""
    match db.execute("SELECT state, since FROM microphone").fetchall():
        case [("listening", str(since))]:
            recorded = witness.muted_since()
            return Mute(bool(recorded), recorded or since)
        case [("muted", str(since))]:
            return Mute(muted=True, since=since)
        case _:
            return Mute(muted=True, since=rfc3339(wall_ns))


def record_mute(db: sqlite3.Connection, witness: Witness) -> None:
    """Record a mute that only the database has: a crash in the middle of unmuting leaves that."""
    if read_mute(db, witness, wall_ns=0).muted and not witness.muted_since():
        witness.note_mute(muted=True)


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
