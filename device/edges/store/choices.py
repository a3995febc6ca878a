"""The review choice and the mute of a store: read, changed and doubted, each in a transaction of its own."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from device.edges.store import choice, outbox
from device.edges.store import retained as retained_commands
from device.edges.store.results import Chosen, Mute, Retained, StoreEvent
from device.errors import StoreError
from device.message.review import Review, ReviewState, tighten, unreadable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from device.edges.store.database import Database
    from device.edges.store.upkeep import Upkeep
    from device.edges.store.witness import Witness
    from device.message.timestamps import Clock
    from device.message.wording import Wording


class Choices:
    """What the user chose, in the database and in the record beside it.

    Args:
        db: the database.
        upkeep: writes to it.
        witness: the record beside it.
        clock: what time it is.
        default_opt_out: what counts until the user chooses.
        report: takes events.

    Raises (every method that is not said to be different):
        StoreBusyError, StoreError: as ``Store``.
    """

    def __init__(
        self,
        db: Database,
        upkeep: Upkeep,
        witness: Witness,
        *,
        clock: Clock,
        default_opt_out: bool,
        report: Callable[[StoreEvent], None],
    ) -> None:
        self._db = db
        self._upkeep = upkeep
        self._witness = witness
        self._clock = clock
        self._default_opt_out = default_opt_out
        self._report = report
        self._unreadable_reported = False
        self._wording: tuple[Review | None, int | msgspec.UnsetType] = (None, msgspec.UNSET)  # looked up last

    def review(self) -> Review:
        """Return the stored choice; one that cannot be read is an opt-out, reported once. Never raises StoreError."""
        try:
            review, problem = self._db.read(self._judge_review)
            # Perhaps somebody was just choosing: look again while nobody can.
            return self._db.write(self._read_review) if problem else review
        except StoreError as error:
            self._report_unreadable(error.message)
            return unreadable()

    def choose(
        self, opt_out: bool, *, revision: int | None = None, retained: Retained | None = None,
        shown: Wording | None = None, withdraw: bool = False,
    ) -> Chosen:  # fmt: skip
        """Store the user's choice; an opt-out changes every waiting request in the same transaction.

        No claim that was taken before is still held when it returns. The same choice again changes nothing, but what
        was not the user's becomes that. An opt-out that could not be stored may count all the same.

        Args:
            opt_out: the choice.
            revision: only if it changes the choice of this revision.
            retained: the retained command that chooses; it counts once.
            shown: what the user read where the choice was made.
            withdraw: with an opt-out: whoever has what was sent as reviewable is asked to erase it.

        Raises:
            CommandRefusedError: the choice has another revision, or the retained command counted before a newer choice.
        """
        noted = 0  # the revision recorded beside the database

        def change(db: sqlite3.Connection) -> Chosen:
            nonlocal noted
            before = after = self._read_review(db)
            choice.refuse_unless_meant(before, revision)
            if retained and not retained_commands.counts(db, retained, in_effect=before.opt_out):
                return Chosen(before, changed=False, retagged=0)
            if before.choice != "user" or before.opt_out != opt_out:
                noted = self._note(db, noted, opt_out=opt_out)
                after = choice.write_review(db, opt_out=opt_out, revision=noted, now=self._clock.now(), shown=shown)
            return self._chosen(db, before, after, withdraw=withdraw)

        try:
            chosen = self._upkeep.write_for_sure(change)
        except BaseException:
            if noted and not opt_out:
                self._witness.take_back(noted, opt_out=opt_out)
            raise
        self._witness.forget_before(chosen.review.revision)
        self._upkeep.run(now=True)  # into the main file
        return chosen

    def _chosen(self, db: sqlite3.Connection, before: Review, after: Review, *, withdraw: bool) -> Chosen:
        """Have a choice count for what waits, and for what was sent if it withdraws that."""
        retagged = outbox.retag(db, after if after.opt_out else tighten(before, after))
        withdrawn = choice.withdraw(db, after, self._clock.now()) if withdraw else 0
        return Chosen(after, changed=after is not before, retagged=retagged, withdrawn=withdrawn)

    def _note(self, db: sqlite3.Connection, noted: int, *, opt_out: bool) -> int:
        """Record a choice beside the database, and return its revision.

        Not once more where it is recorded already, before the disk had no room for the rest: then ``noted`` is that.
        """
        stored = choice.last_revision(db)
        return noted if noted > stored else self._witness.note_choice(opt_out=opt_out, above=stored)

    def wording(self) -> Wording | None:
        """Return what the user read where the stored choice was made; None if nothing was shown, or nobody knows."""
        return self._db.read(lambda db: choice.read_wording(db, self._judge_review(db)[0]))

    def review_state(self) -> ReviewState:
        """Return the stored choice as the broker shows it, with a withdrawal. Never raises StoreError."""
        review, withdrawn_at = self.review(), None
        with suppress(StoreError):  # the choice above counts without it
            withdrawn_at = self._db.read(lambda db: choice.read_withdrawn_at(db, review))
        return ReviewState(**msgspec.structs.asdict(review), withdrawn_at=withdrawn_at or msgspec.UNSET)

    def muted(self) -> Mute:
        """Is the microphone muted? A stored mute that cannot be read counts as muted."""
        return self._db.read(self._read_mute)

    def set_muted(self, muted: bool, *, retained: Retained | None = None) -> bool:
        """Mute or unmute the microphone; the same again changes nothing. Returns whether it changed.

        Args:
            muted: mute it.
            retained: the retained command that mutes; it counts once.

        Raises:
            CommandRefusedError: the retained command has counted before the microphone was unmuted.
        """

        def change(db: sqlite3.Connection) -> bool:
            before = self._read_mute(db)
            if retained and not retained_commands.counts(db, retained, in_effect=before.muted):
                return False
            self._witness.note_mute(muted=muted)
            if before.muted != muted:
                choice.write_mute(db, muted=muted, wall_ns=self._clock.now().wall_ns)
            return before.muted != muted

        return self._upkeep.write_for_sure(change)

    def retained_command(self, place: str) -> bytes | None:
        """Return the retained command that counted and, as far as was seen, is still kept at a place; None if none."""
        return self._db.read(lambda db: retained_commands.standing(db, place))

    def forget_retained(self, place: str) -> None:
        """Note that no command is kept at a place any more; one that comes from there later counts."""
        if self.retained_command(place) is not None:
            self._upkeep.write(lambda db: retained_commands.forget(db, place))

    def _read_review(self, db: sqlite3.Connection) -> Review:
        """Return the choice that counts, inside a writing transaction: nobody can be choosing meanwhile."""
        review, problem = self._judge_review(db)
        self._unreadable_reported &= bool(problem)
        if problem:
            self._report_unreadable(problem)
        return review

    def _wording_version(self, db: sqlite3.Connection, chosen: Review) -> int | msgspec.UnsetType:
        """Return the version of what was read where a choice was made; of one and the same it is looked up once."""
        if chosen != self._wording[0]:
            self._wording = (chosen, choice.wording_version(db, chosen))
        return self._wording[1]

    def _judge_review(self, db: sqlite3.Connection) -> tuple[Review, str]:
        return choice.judge(db, self._witness, default_opt_out=self._default_opt_out)

    def _read_mute(self, db: sqlite3.Connection) -> Mute:
        return choice.read_mute(db, self._witness, wall_ns=self._clock.now().wall_ns)

    def _report_unreadable(self, reason: str) -> None:
        if not self._unreadable_reported:
            self._unreadable_reported = True
            problem = f"the review choice cannot be read ({reason})"
            consequence = "every request counts as opted out until the user chooses again"
            self._report(StoreEvent("review-unreadable", f"{problem}: {consequence}"))
