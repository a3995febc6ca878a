"""The waiting requests as rows; every function works inside its caller's transaction."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from device.edges.store import choice, sent
from device.edges.store.results import Claimed, Dropped, Waiting
from device.edges.store.schema import DamagedError
from device.errors import TagError, UnstorableError
from device.hearing.frames import RATE_HZ
from device.hearing.words import name_problem
from device.message.envelope import parse_tag, tag_json
from device.message.review import OPTED_OUT, REVIEWABLE, Review, decision, opts_out, spelled_out, tighten
from device.message.tag import MOST_HOLES, AudioFormat, Tag, source_name
from device.message.timestamps import NS_PER_S, Now, elapsed_ns, rfc3339

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection

    from msgspec import UnsetType

    from device.hearing.frames import Samples
    from device.hearing.request import Request, SilencedHole

_FACTS = (
    "id, review, choice, revision, changed_at, bytes, attempts, problem, boot_id, boot_ns, wall_ns, synced, captured_ns"
)
_COLUMNS = f"{_FACTS}, tag"
_INSERT = f"INSERT INTO request ({_COLUMNS}) VALUES ({', '.join('?' * 14)})"  # noqa: S608
_CHANGING = {"id", "review", "captured_at", "clock_synced", "waited_s"}  # of the tag: they have columns, or come later


_SIZE = "bytes + coalesce((SELECT length(pcm) FROM wake_audio WHERE wake_audio.seq = request.seq), 0)"  # of its sound
_MISTAKE = "this is a mistake of the program"


@dataclass(frozen=True, slots=True)
class Entry:
    """A waiting request without its sound: its tag, when it was stored, and how publishing it went so far."""

    tag: Tag
    stored: Now
    captured_ns: int
    bytes: int
    attempts: int = 0
    problem: str = ""


class _Rest(msgspec.Struct, array_like=True):
    """The columns beside the tag, so that all are checked at once."""

    wall_ns: int
    boot_ns: int
    boot_id: str
    synced: int
    captured_ns: int
    bytes: int
    attempts: int
    problem: str


def entry_of(
    request: Request, pcm: bytes, *, request_id: str, review: Review, device: str, source: str, now: Now, age_s: float
) -> Entry:
    """Make the entry of a request that is stored now and was captured ``age_s`` ago.

    Raises:
        UnstorableError: nobody could read it again.
    """
    captured_ns = now.wall_ns - round(age_s * NS_PER_S)
    tag = Tag(
        id=request_id,
        device=device,
        wake_word=request.wake_word,
        score=round(min(max(0.0, float(request.score)), 1.0), 4),  # a model may end in something else than a sigmoid
        confirmed=msgspec.UNSET if request.confirmed is None else round(float(request.confirmed), 4),
        captured_at=rfc3339(captured_ns),
        clock_synced=now.synced,
        source=source_name(source),
        start_sample=int(request.start_sample),
        end_sample=int(request.end_sample),
        wake_sample=int(request.wake_sample),
        duration_s=len(request.pcm) / RATE_HZ,
        ended_by=request.ended_by,
        holes=_holes(request) or msgspec.UNSET,
        review=review,
        audio=AudioFormat(sha256=hashlib.sha256(pcm).hexdigest()),
    )
    _prove(tag, pcm)
    return Entry(tag, now, captured_ns, len(pcm))


def _holes(request: Request) -> tuple[SilencedHole, ...]:
    """Return the holes that a tag has room for: the longest, in their order."""
    if len(request.holes) <= MOST_HOLES:
        return request.holes
    longest = sorted(request.holes, key=lambda hole: hole.duration_s)[-MOST_HOLES:]
    return tuple(sorted(longest, key=lambda hole: hole.start_sample))


def _prove(tag: Tag, pcm: bytes) -> None:
    """See to it that what we wrote ourselves never reads as damage, here or where it arrives.

    Raises:
        UnstorableError: it would.
    """
    try:
        same = parse_tag(tag_json(tag).encode()) == tag
    except (TagError, UnicodeEncodeError) as error:
        raise UnstorableError(f"a request that nobody could read: {error}", hint=_MISTAKE) from error
    problem = name_problem(tag.wake_word)
    if not same or problem or 2 * (tag.end_sample - tag.start_sample) != len(pcm) or not pcm:
        samples = f"samples {tag.start_sample} to {tag.end_sample}, {len(pcm) // 2} of them"
        raise UnstorableError(f"a request that nobody could read: {problem or samples}", hint=_MISTAKE)


def pcm_bytes(samples: Samples) -> bytes:
    """Return int16 samples as 16-bit little-endian bytes."""
    return np.ascontiguousarray(samples, dtype="<i2").tobytes()


def insert(db: sqlite3.Connection, entry: Entry, pcm: bytes, wake_pcm: bytes = b"") -> None:
    """Put an entry and its sound at the queue's end, with the wake word's if it is kept."""
    tag, stored = entry.tag, entry.stored
    lasting = {name: value for name, value in msgspec.to_builtins(tag).items() if name not in _CHANGING}
    cursor = db.execute(
        _INSERT,
        (
            tag.id, decision(opt_out=tag.review.opt_out), tag.review.choice, tag.review.revision, tag.review.changed_at,
            entry.bytes, entry.attempts, entry.problem, stored.boot_id, stored.boot_ns, stored.wall_ns,
            int(stored.synced), entry.captured_ns, msgspec.json.encode(lasting).decode(),
        ),
    )  # fmt: skip
    db.execute("INSERT INTO audio VALUES (?, ?)", (cursor.lastrowid, pcm))
    if wake_pcm:
        db.execute("INSERT INTO wake_audio VALUES (?, ?)", (cursor.lastrowid, wake_pcm))


def wake_sound(db: sqlite3.Connection, request_id: str) -> bytes:
    """Return the sound of a waiting request's wake word; empty where it is not kept."""
    row = db.execute(
        "SELECT pcm FROM wake_audio WHERE seq = (SELECT seq FROM request WHERE id = ?)", (request_id,)
    ).fetchone()
    return row[0] if row else b""


def load(db: sqlite3.Connection, seq: int, *, tag: str = "tag") -> Entry:
    """Read one entry.

    Args:
        db: the database.
        seq: the entry's number.
        tag: what gives the tag as JSON, in a database of an older version.

    Raises:
        DamagedError: it is gone, or holds what was never put.
    """
    row = db.execute(f"SELECT {_FACTS}, {tag} FROM request WHERE seq = ?", (seq,)).fetchone()  # noqa: S608
    if row is None:
        raise DamagedError(f"request number {seq} cannot be found again")
    return _entry(row)


def load_pcm(db: sqlite3.Connection, seq: int, entry: Entry) -> bytes:
    """Read an entry's sound and check it by its hash.

    Raises:
        DamagedError: it is not the sound that was put.
    """
    row = db.execute("SELECT pcm FROM audio WHERE seq = ?", (seq,)).fetchone()
    pcm: object = None if row is None else row[0]
    if not isinstance(pcm, bytes) or hashlib.sha256(pcm).hexdigest() != entry.tag.audio.sha256:
        raise DamagedError(f"the sound of request {entry.tag.id} is not what was stored")
    return pcm


def claim(
    db: sqlite3.Connection,
    wanted: Callable[[str, bool], bool],
    *,
    current: Review,
    wording: Callable[[sqlite3.Connection, Review], int | UnsetType],
    done: Collection[str],
    now: Now,
) -> Claimed | None:
    """Return the oldest request that is wanted, tightened by the current choice, or None.

    Args:
        db: the database.
        wanted: called with ids and whether they are opted out, oldest first.
        current: the choice that counts now.
        wording: returns the version of what was read where a choice was made.
        done: ids to pass over.
        now: this moment.
    """
    seq = _first(db, wanted, current=current, done=done)
    if seq is None:
        return None
    entry = load(db, seq)
    pcm = load_pcm(db, seq, entry)
    review = tighten(entry.tag.review, current)
    if review is not entry.tag.review:
        retag(db, review)
    published = spelled_out(review, wording=wording(db, review))
    return _claimed(entry, pcm, review=published, now=now)


def retag(db: sqlite3.Connection, review: Review) -> int:
    """Opt out every waiting request that is not yet, if ``review``, the choice that does it, is. Returns how many."""
    if not review.opt_out:
        return 0
    sent.note_exposed(db)
    return db.execute(
        "UPDATE request SET review = ?, choice = ?, revision = ?, changed_at = ? WHERE review = ?",
        (OPTED_OUT, review.choice, review.revision, review.changed_at, REVIEWABLE),
    ).rowcount


def shrink(db: sqlite3.Connection, max_bytes: int) -> tuple[Dropped, ...]:
    """Drop the oldest until no more than ``max_bytes`` of sound wait; the newest always stays."""
    excess = (db.execute(f"SELECT sum({_SIZE}) FROM request").fetchone()[0] or 0) - max_bytes  # noqa: S608
    doomed: list[int] = []
    if excess > 0:
        newest = db.execute("SELECT max(seq) FROM request").fetchone()[0]
        for seq, size in db.execute(f"SELECT seq, {_SIZE} FROM request WHERE seq < ? ORDER BY seq", (newest,)):  # noqa: S608
            if excess <= 0:
                break
            doomed.append(seq)
            excess -= size
    dropped = tuple(_drop(db, seq, "size") for seq in doomed)
    choice.count(db, "dropped_size", len(dropped))
    return dropped


def expire(db: sqlite3.Connection, max_age_s: float, now: Now, *, at_most: int) -> tuple[Dropped, ...]:
    """Drop some of what certainly waited longer than ``max_age_s``, oldest first."""
    limit_ns = max_age_s * NS_PER_S
    rows = db.execute(  # without those of this boot that are plainly young, as nearly all are
        "SELECT seq, wall_ns, boot_ns, boot_id, synced FROM request WHERE boot_id <> ? OR boot_ns < ? ORDER BY seq",
        (now.boot_id, now.boot_ns - limit_ns),
    ).fetchall()
    doomed = [
        seq
        for seq, wall_ns, boot_ns, boot_id, synced in rows
        if elapsed_ns(Now(wall_ns, boot_ns, boot_id, bool(synced)), now) > limit_ns
    ]
    dropped = tuple(_drop(db, seq, "age") for seq in doomed[:at_most])
    choice.count(db, "dropped_age", len(dropped))
    return dropped


def correct_times(db: sqlite3.Connection, now: Now) -> int:
    """Set the wall times of this boot's requests that were stored before the clock was; returns how many."""
    if not now.synced:
        return 0
    boot_at_ns = now.wall_ns - now.boot_ns
    return db.execute(
        "UPDATE request SET captured_ns = captured_ns - wall_ns + boot_ns + :at, wall_ns = boot_ns + :at, synced = 1"
        " WHERE synced = 0 AND boot_id = :boot_id",
        {"at": boot_at_ns, "boot_id": now.boot_id},
    ).rowcount


def delete(db: sqlite3.Connection, ids: Collection[str]) -> int:
    """Delete requests and their sound; returns how many there were."""
    these = json.dumps(list(ids))  # one statement for all of them
    return db.execute("DELETE FROM request WHERE id IN (SELECT value FROM json_each(?))", (these,)).rowcount


def discard(db: sqlite3.Connection, ids: Collection[str]) -> int:
    """Delete requests by the user's hand, and count them; returns how many there were."""
    deleted = delete(db, ids)
    choice.count(db, "deleted", deleted)
    return deleted


def refuse(db: sqlite3.Connection, request_id: str, problem: str) -> None:
    """Note that a request was refused and why."""
    shown = problem.encode(errors="replace").decode()  # a path in it need not be UTF-8
    db.execute("UPDATE request SET attempts = attempts + 1, problem = ? WHERE id = ?", (shown, request_id))


def count(db: sqlite3.Connection) -> int:
    """Return how many requests there are."""
    return int(db.execute("SELECT count(*) FROM request").fetchone()[0])


def holds(db: sqlite3.Connection, request_id: str) -> bool:
    """Is there a request of this id?"""
    return db.execute("SELECT 1 FROM request WHERE id = ?", (request_id,)).fetchone() is not None


def waiting(db: sqlite3.Connection, done: Collection[str], *, current: Review) -> list[Waiting]:
    """Return what waits, oldest first, tightened by the current choice."""
    entries = map(_entry, db.execute(f"SELECT {_COLUMNS} FROM request ORDER BY seq"))  # noqa: S608
    return [
        Waiting(
            entry.tag.id, entry.tag.captured_at, entry.tag.wake_word, entry.tag.duration_s, entry.bytes,
            tighten(entry.tag.review, current), entry.attempts, entry.problem,
        )
        for entry in entries
        if entry.tag.id not in done
    ]  # fmt: skip


def find(db: sqlite3.Connection, request_id: str, *, current: Review) -> tuple[Tag, bytes] | None:
    """Return a waiting request's tag, tightened by the current choice, and its sound; None if it does not wait."""
    row = db.execute("SELECT seq FROM request WHERE id = ?", (request_id,)).fetchone()
    if row is None:
        return None
    entry = load(db, row[0])
    tag = msgspec.structs.replace(entry.tag, review=tighten(entry.tag.review, current))
    return tag, load_pcm(db, row[0], entry)


def _first(
    db: sqlite3.Connection, wanted: Callable[[str, bool], bool], *, current: Review, done: Collection[str]
) -> int | None:
    for seq, request_id, word in db.execute("SELECT seq, id, review FROM request ORDER BY seq"):
        if request_id not in done and wanted(request_id, current.opt_out or opts_out(word)):
            return int(seq)
    return None


def _claimed(entry: Entry, pcm: bytes, *, review: Review, now: Now) -> Claimed:
    waited_s = None
    if entry.stored.boot_id == now.boot_id:
        waited_s = round(elapsed_ns(entry.stored, now) / NS_PER_S, 3)
    tag = msgspec.structs.replace(entry.tag, review=review, waited_s=waited_s)
    return Claimed(tag, pcm, entry.attempts)


def _drop(db: sqlite3.Connection, seq: int, reason: Literal["size", "age"]) -> Dropped:
    entry = load(db, seq)
    db.execute("DELETE FROM request WHERE seq = ?", (seq,))
    return Dropped(entry.tag.id, reason, entry.tag.wake_word, entry.tag.captured_at, entry.bytes)


def _entry(row: tuple[object, ...]) -> Entry:
    (
        request_id, word, chosen_by, revision, changed_at, size, attempts, problem, boot_id, boot_ns, wall_ns, synced,
        captured_ns, tag_json,
    ) = row  # fmt: skip
    try:
        rest = msgspec.convert((wall_ns, boot_ns, boot_id, synced, captured_ns, size, attempts, problem), _Rest)
        review = {
            "opt_out": opts_out(str(word)), "choice": chosen_by, "revision": revision,
            "changed_at": changed_at,
        }  # fmt: skip
        changing = {
            "id": request_id, "captured_at": rfc3339(rest.captured_ns), "clock_synced": bool(rest.synced),
            "review": review,
        }  # fmt: skip
        tag = msgspec.convert(msgspec.json.decode(str(tag_json), type=dict[str, Any]) | changing, Tag)
        stored = Now(rest.wall_ns, rest.boot_ns, rest.boot_id, bool(rest.synced))
        return Entry(tag, stored, rest.captured_ns, rest.bytes, rest.attempts, rest.problem)
    except (msgspec.DecodeError, OverflowError, RecursionError) as error:  # ValidationError is a DecodeError
        raise DamagedError(f"request {request_id!r} holds what was never stored: {error}") from error
