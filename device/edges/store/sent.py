"""What was sent, as rows without sound; every function works inside its caller's transaction.

A request also has a row from when it is opted out while it waits: it may have left as reviewable before, without that
the broker's word for it came through.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import msgspec

from device.edges.store.results import Sent
from device.message.review import OPTED_OUT, REVIEWABLE, opts_out
from device.message.timestamps import NS_PER_S, rfc3339

if TYPE_CHECKING:
    from collections.abc import Collection

    from device.message.timestamps import Now

Row = tuple[
    str, int, str, float, Literal["reviewable", "opted-out"], int | None, Literal[0, 1], Literal["asked", "told"] | None
]

MOST = 10_000  # rows kept; the newest
DAY_NS = 86_400 * NS_PER_S

_FROM_REQUEST = (
    "INSERT INTO sent (id, captured_ns, wake_word, duration_s, review, sent_ns, synced)"
    " SELECT id, captured_ns, CAST(iif(json_valid(tag), tag ->> '$.wake_word', '') AS TEXT), bytes / 32000.0,"
    " review, :sent_ns, :synced FROM request"
)
_NOT_ASKED = "erasure IS NOT 'asked'"


def note(db: sqlite3.Connection, ids: Collection[str], now: Now, *, keep: bool) -> None:
    """Note that the broker has these waiting requests; one that may have left as reviewable stays noted as that.

    Args:
        db: the database.
        ids: of requests that are about to be deleted.
        now: this moment.
        keep: have a history at all; else what is known of them is forgotten, but for a pending erasure.
    """
    if not ids:
        return
    these = json.dumps(list(ids))  # one statement for all of them
    if keep:
        db.execute(
            f"{_FROM_REQUEST} WHERE id IN (SELECT value FROM json_each(:ids))"  # noqa: S608
            " ON CONFLICT (id) DO UPDATE SET sent_ns = excluded.sent_ns, synced = excluded.synced",
            {"ids": these, "sent_ns": now.wall_ns, "synced": int(now.synced)},
        )
    else:
        db.execute(f"DELETE FROM sent WHERE id IN (SELECT value FROM json_each(?)) AND {_NOT_ASKED}", (these,))  # noqa: S608


def note_exposed(db: sqlite3.Connection) -> None:
    """Note what waits as reviewable, before it is opted out: it may have been sent as that."""
    db.execute(
        f"{_FROM_REQUEST} WHERE review = '{REVIEWABLE}' ON CONFLICT (id) DO NOTHING", {"sent_ns": None, "synced": 0}
    )


def entries(db: sqlite3.Connection) -> list[Sent]:
    """Return what the broker has taken, newest first."""
    rows = db.execute(
        "SELECT id, captured_ns, sent_ns, wake_word, duration_s, review, erasure FROM sent WHERE sent_ns IS NOT NULL"
        " ORDER BY sent_ns DESC, id DESC"
    )
    return [
        Sent(
            id=request_id, captured_at=rfc3339(captured_ns), sent_at=rfc3339(sent_ns), wake_word=wake_word,
            duration_s=duration_s, opt_out=opts_out(word), erasure=erasure,
        )
        for request_id, captured_ns, sent_ns, wake_word, duration_s, word, erasure in rows
    ]  # fmt: skip


def ask_erasure(db: sqlite3.Connection, ids: Collection[str] | None = None) -> int:
    """Mark for erasure what left as reviewable, or these requests however they left; returns how many."""
    if ids is None:
        return db.execute(
            f"UPDATE sent SET erasure = 'asked' WHERE review <> '{OPTED_OUT}' AND erasure IS NULL"  # noqa: S608
        ).rowcount
    return sum(
        db.execute("UPDATE sent SET erasure = 'asked' WHERE id = ? AND erasure IS NULL", (each,)).rowcount
        for each in ids
    )


def to_erase(db: sqlite3.Connection, at_most: int) -> list[str]:
    """Return the ids of some requests whose erasure was asked for and not yet told, in a lasting order."""
    return [
        request_id
        for (request_id,) in db.execute("SELECT id FROM sent WHERE erasure = 'asked' ORDER BY id LIMIT ?", (at_most,))
    ]


def note_erased(db: sqlite3.Connection, ids: Collection[str]) -> None:
    """Note that the broker has the notice of these."""
    db.executemany("UPDATE sent SET erasure = 'told' WHERE id = ?", [(request_id,) for request_id in ids])


def clear(db: sqlite3.Connection) -> int:
    """Forget what was sent, but for erasures still to be told; returns how many requests."""
    return db.execute(f"DELETE FROM sent WHERE {_NOT_ASKED}").rowcount  # noqa: S608


def read_damaged(old: sqlite3.Connection) -> list[Row]:
    """Return what can be read of the rows of a damaged database."""
    rows: list[Row] = []
    with suppress(sqlite3.Error):
        for row in old.execute(
            "SELECT id, captured_ns, wake_word, duration_s, review, sent_ns, synced, erasure FROM sent ORDER BY id"
        ):
            with suppress(msgspec.ValidationError):
                rows.append(msgspec.convert(row, Row))
    return rows


def adopt(db: sqlite3.Connection, rows: Collection[Row]) -> None:
    """Take over rows of another database, unless they are known here."""
    db.executemany("INSERT OR IGNORE INTO sent VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


def expire(db: sqlite3.Connection, days: float, now: Now) -> None:
    """Forget what is older than so many days, once the clock is set, and the oldest of too many."""
    db.execute(
        f"DELETE FROM sent WHERE {_NOT_ASKED} AND id NOT IN (SELECT id FROM sent ORDER BY id DESC LIMIT ?)",  # noqa: S608
        (MOST,),
    )
    if not now.synced:
        return
    # What was sent before the clock was set was sent before now: that is all that is known.
    db.execute("UPDATE sent SET sent_ns = ?, synced = 1 WHERE sent_ns IS NOT NULL AND synced = 0", (now.wall_ns,))
    db.execute(
        f"DELETE FROM sent WHERE {_NOT_ASKED} AND coalesce(sent_ns, captured_ns) <= ?",  # noqa: S608
        (now.wall_ns - round(days * DAY_NS),),
    )
