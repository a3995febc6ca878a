"""The store as the rest of the program sees it."""

from __future__ import annotations

import functools
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from device.edges.store import choice, outbox, sent
from device.edges.store.choices import Choices
from device.edges.store.database import Database
from device.edges.store.folder import StateFolder
from device.edges.store.history import History
from device.edges.store.ids import Uuid7
from device.edges.store.results import Claimed, Damaged, Dropped, Stored, StoreEvent, Waiting, log_event
from device.edges.store.schema import DiskFullError, UnreadableError, UnwritableError
from device.edges.store.tunings import Tunings
from device.edges.store.upkeep import Upkeep, nothing
from device.edges.store.witness import Witness
from device.errors import StateFolderError, StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from device.hearing.request import Request
    from device.message.tag import Tag
    from device.message.timestamps import Clock

_AT_ONCE = 256  # deleted by one transaction, so that nobody waits long for the database
_CLOSE_S = 5.0
_TRY_AGAIN_S = 1.0
_ASKED = "asked_to_send"


class Store(Choices):
    """Review choice, mute and outbox, in a folder of their own; both are made if they are missing, and checked.

    Every method may be called by any thread, and any number of processes may have the same folder open. No method but
    ``acknowledge`` may be called inside a ``claim``.

    Attributes:
        history: what was sent, and what is to be erased of it.
        tunings: what was changed over MQTT of the wake words.

    Args:
        state_dir: the folder; it gets mode 0700.
        default_opt_out: what counts until the user chooses.
        max_bytes: how much sound may wait; the oldest requests are dropped beyond it.
        max_age_s: how long a request may wait.
        history_days: how long what was sent is remembered, without its sound; 0: not at all.
        keep_wake_sound: keep the sound of the wake word beside each request for as long as that waits.
        clock: what time it is.
        report: takes events; called with the store's lock held, so it may only put them somewhere.
        keep_trying: where the disk gives read errors as it is opened; those that last are taken for damage.

    Raises (every method that is not said to be different):
        StateFolderError: (here alone) the folder or the files in it cannot be made, read or written.
        StoreBusyError: the disk is full, read-only or failing, or another process holds the database; nothing happened.
        StoreError: SQLite refused for another reason; nothing happened.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        default_opt_out: bool,
        max_bytes: int,
        max_age_s: float,
        history_days: float = 0,
        keep_wake_sound: bool = False,
        clock: Clock,
        report: Callable[[StoreEvent], None] = log_event,
        keep_trying: bool = False,
    ) -> None:
        self._folder = StateFolder(state_dir)
        self._done: dict[str, None] = {}  # acknowledged, not yet deleted
        db = Database(self._folder, clock=clock, report=report, done=self._done)
        upkeep = Upkeep(db, self._folder, self._done, report, self._note_sent)
        super().__init__(db, upkeep, Witness(self._folder), clock=clock, default_opt_out=default_opt_out, report=report)
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._keeps_history = history_days > 0
        self._keeps_wake_sound = keep_wake_sound
        self.history = History(db, upkeep, clock, history_days)
        self.tunings = Tunings(db, upkeep)
        self._ids = Uuid7()
        self._closed = False
        try:
            self._begin(keep_trying=keep_trying)
        except StoreError as error:
            self._db.close()
            self._folder.close()
            if isinstance(error, UnwritableError):
                raise StateFolderError(
                    f"state folder {state_dir}: {error.message}", hint="it must be writable for the user who runs this"
                ) from error
            raise
        self._upkeep.run(now=True)

    def _begin(self, *, keep_trying: bool) -> None:
        """Open and check the database."""
        begin = functools.partial(choice.record_mute, witness=self._witness)
        while True:
            try:
                self._db.write(begin)
            except UnreadableError:
                if not keep_trying:
                    raise
                time.sleep(_TRY_AGAIN_S)
            except DiskFullError:
                self._folder.lend_of_reserve()
                self._upkeep.write_for_sure(begin)
                return
            else:
                return

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete what is acknowledged and close; what cannot be deleted now is sent again after the next start."""
        if not self._closed:
            self._closed = True
            if not self._db.available(_CLOSE_S):
                return  # a thread that waits for the disk still uses it
            self._upkeep.run(now=True)
            self._db.close()
            self._folder.close()

    def put(self, request: Request, *, device: str, source: str, age_s: float) -> Stored:
        """Store a request with the review choice of this moment, all in one transaction, and keep the size limit.

        Args:
            request: what was captured.
            device: the device id.
            source: where the audio came from.
            age_s: how long ago its speech began.

        Raises:
            UnstorableError: it breaks the tag's schema, so that nobody could read it again.
        """
        pcm = outbox.pcm_bytes(request.pcm)
        wake_pcm = outbox.pcm_bytes(request.wake_pcm) if self._keeps_wake_sound else b""
        request_id = self._ids.make(self._clock.now().wall_ns)

        def store(db: sqlite3.Connection) -> Stored:
            review = self._read_review(db)
            entry = outbox.entry_of(
                request, pcm, request_id=request_id, review=review, device=device, source=source,
                now=self._clock.now(), age_s=age_s,
            )  # fmt: skip
            outbox.insert(db, entry, pcm, wake_pcm)
            choice.count(db, "stored")
            return Stored(entry.tag, outbox.shrink(db, self._max_bytes))

        if self._done:
            # Apart, since pages freed and filled in one transaction keep old sound behind the end of the new.
            self._upkeep.write(nothing)
        stored = self._upkeep.write(store)
        self._db.set_aside.note_gone([each.id for each in stored.dropped])
        self._upkeep.run()
        return stored

    @contextmanager
    def claim(self, wanted: Callable[[str, bool], bool]) -> Iterator[Claimed | None]:
        """Hold the oldest waiting request that is wanted, for as long as it takes to begin publishing it.

        While it is held nobody can change the review choice, in this process or another: an opt-out waits, and what
        is claimed after it is opted out. Nothing is written unless a tag had to be tightened.

        Args:
            wanted: called oldest first with a request's id and whether it is opted out, until it says yes.

        Yields:
            The request, or None if none is wanted.
        """

        def claim(db: sqlite3.Connection) -> Claimed | None:
            return outbox.claim(
                db, wanted, current=self._read_review(db), wording=self._wording_version, done=self._done,
                now=self._clock.now(),
            )  # fmt: skip

        with self._db.held():
            claimed = self._db.begin(claim)
            try:
                yield claimed
            finally:
                self._db.commit()
        self._upkeep.run(now=claimed is None)  # after it, while the broker takes what was claimed

    def acknowledge(self, request_id: str) -> None:
        """Take note that the broker has a request: it is never claimed again, and deleted soon.

        Deleting costs a sync of the disk, so it is done for many at once, by later calls of ``claim``, ``put``,
        ``flush`` or ``close``. A crash before repeats the same id with the same sound. Never raises StoreError.
        """
        self._upkeep.acknowledge(request_id)

    def flush(self) -> None:
        """Delete what is acknowledged now, and its sound from all files, or report that this has to wait."""
        self._upkeep.write_for_sure(nothing)
        self._upkeep.run(now=True)

    def refused(self, request_id: str, problem: str) -> None:
        """Note that the broker, or the sender, could not take a request now; it waits on."""
        self._upkeep.write(lambda db: outbox.refuse(db, request_id, problem))

    def waiting(self) -> list[Waiting]:
        """Return what waits, oldest first, each as strict as the choice stored now."""
        return self._db.read(lambda db: outbox.waiting(db, self._done, current=self._judge_review(db)[0]))

    def sound(self, request_id: str) -> tuple[Tag, bytes] | None:
        """Return a waiting request's tag, as strict as the choice stored now, and its PCM; None if it does not wait."""
        if request_id in self._done:
            return None
        return self._db.read(lambda db: outbox.find(db, request_id, current=self._judge_review(db)[0]))

    def wake_sound(self, request_id: str) -> bytes:
        """Return the sound of a waiting request's wake word, 16-bit PCM, 16 kHz mono; empty where it is not kept."""
        return self._db.read(lambda db: outbox.wake_sound(db, request_id))

    def count(self) -> int:
        """Return how many wait."""
        return self._db.read(self._count)

    def delete(self, ids: Collection[str] | None = None) -> int:
        """Delete these requests, or all, with their sound, by the user's hand; returns how many of the waiting ones.

        Not in one transaction, so that nobody waits long for the database. All means also what lies in damaged
        databases, as ``delete_damaged`` does.
        """
        doomed = [each.id for each in self.waiting()] if ids is None else list(ids)
        deleted = 0
        for start in range(0, len(doomed), _AT_ONCE):
            some = doomed[start : start + _AT_ONCE]
            deleted += self._upkeep.write_for_sure(functools.partial(outbox.discard, ids=some), gone=some)
        if ids is None:
            self.delete_damaged()
        self._upkeep.run(now=True)
        return deleted

    def damaged(self) -> list[Damaged]:
        """Return what lies in damaged databases, oldest first: requests that wait for room, and what is unreadable."""
        return self._db.damaged()

    def delete_damaged(self) -> int:
        """Delete the damaged databases, with whatever could still be saved from them; returns how many there were."""
        return self._db.delete_damaged()

    def expire(self) -> tuple[Dropped, ...]:
        """Drop what certainly waited longer than the limit: by the clock since boot, over a reboot by wall time."""
        dropped: list[Dropped] = []
        while some := self._upkeep.write_for_sure(
            lambda db: outbox.expire(db, self._max_age_s, self._clock.now(), at_most=_AT_ONCE)
        ):
            dropped += some
            self._db.set_aside.note_gone([each.id for each in some])
        self._db.expire_damaged(self._max_age_s)
        self.history.expire()
        self._upkeep.run()
        return tuple(dropped)

    def correct_times(self) -> int:
        """Once the clock is synchronised, set right what was stored before in this boot; returns how many."""
        return self._upkeep.write(lambda db: outbox.correct_times(db, self._clock.now()))

    def counters(self) -> dict[str, int]:
        """Return what was ever counted: stored, acknowledged, dropped_size, dropped_age, deleted, salvaged, …."""
        return self._db.read(choice.read_counters)

    def ask_to_send(self) -> None:
        """Ask the daemon, if one runs, to send what waits now, without waiting for when it would try again."""
        self._upkeep.write_for_sure(functools.partial(choice.count, name=_ASKED))

    def asked_to_send(self) -> int:
        """Return a number that changes each time somebody asks."""
        return self.counters().get(_ASKED, 0)

    def change_counter(self) -> tuple[int, int]:
        """Return a pair that differs from the last one if anything may have changed; cheap enough to poll."""
        with self._db.held():
            return self._db.glance(self._db.stamp)

    def _note_sent(self, db: sqlite3.Connection, ids: Collection[str]) -> None:
        sent.note(db, ids, self._clock.now(), keep=self._keeps_history)

    def _count(self, db: sqlite3.Connection) -> int:
        return outbox.count(db) - sum(outbox.holds(db, request_id) for request_id in list(self._done))
