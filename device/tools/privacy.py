"""What the privacy page shows and does: the store, and what the running recorder says."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import TYPE_CHECKING, Any

from device.edges import control
from device.edges.lock import DaemonLock
from device.errors import CommandRefusedError, RecorderError, StoreError, UsageError
from device.message.envelope import wav
from device.message.wording import wording
from device.page.facts import Facts, Live, Microphone, Place, Request, Sent
from device.tools import not_for_me

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from device.edges.store import Sent as SentEntry
    from device.edges.store import Store, Waiting

_STATES = ("listening", "muted", "lost")


class Privacy:
    """The page's side of the state folder; may be called by any thread.

    Args:
        open_store: opens the database; called at the first use, and again where that failed.
        state_dir: the state folder.
        place: where this device is.
    """

    def __init__(self, open_store: Callable[[], Store], state_dir: Path, place: Place) -> None:
        self._open_store = open_store
        self._state_dir = state_dir
        self._place = place
        self._lock = threading.Lock()
        self._opened: Store | None = None
        self._actions: dict[str, Callable[[Mapping[str, str]], str]] = {
            "opt-out": self._opt_out,
            "opt-in": self._opt_in,
            "withdraw": self._withdraw,
            "withdraw-one": self._withdraw_one,
            "mute": self._mute,
            "unmute": self._unmute,
            "delete": self._delete,
            "not-for-me": self._not_for_me,
            "delete-all": self._delete_all,
            "forget": self._forget,
        }

    def close(self) -> None:
        """Close the database."""
        if self._opened is not None:
            self._opened.close()

    def facts(self) -> Facts:
        """Return everything that is shown; what cannot be read is said in it.

        Raises:
            RecorderError: the database cannot be opened.
        """
        store = self._store()
        problems: list[str] = []

        def read(what: Callable[[], Any]) -> Any:
            try:
                return what()
            except StoreError as error:
                problems.append(str(error))
                return None

        review, shown = store.review_state(), read(store.wording)
        mute, waiting, damaged = read(store.muted), read(store.waiting), read(store.damaged)
        sent = read(store.history.entries)
        return Facts(
            place=self._place,
            now=datetime.now().astimezone(),
            live=self.live(),
            review=review,
            sentence=shown.sentence if shown else None,
            microphone=Microphone(mute.muted, mute.since) if mute else None,
            waiting=None if waiting is None else tuple(map(_request, waiting)),
            sent=None if sent is None else tuple(map(_sent, sent)),
            withdrawn_at=review.withdrawn_at or None,
            damaged=tuple(map(str, damaged or ())),
            problem=f"Not everything can be read now: {problems[0]}" if problems else "",
        )

    def live(self) -> Live:
        """Return what the recorder does now."""
        try:
            says = control.status(self._state_dir)
        except RecorderError:
            return Live(running=DaemonLock(self._state_dir).holder() is not None)
        state, level = says.get("microphone"), says.get("level_dbfs")
        return Live(
            running=True,
            microphone=state if state in _STATES else "",
            reason=str(says.get("reason", "")),
            level_dbfs=float(level) if isinstance(level, int | float) else None,
        )

    def revision(self) -> int:
        """Return the revision of the choice.

        Raises:
            RecorderError: the database cannot be opened.
        """
        return self._store().review().revision

    def sound(self, request_id: str) -> bytes | None:
        """Return a waiting request as a WAV file, as it would be sent now; None if it does not wait.

        Raises:
            RecorderError: it cannot be read.
        """
        found = self._store().sound(request_id)
        return None if found is None else wav(*found, version=self._place.version)

    def act(self, name: str, fields: Mapping[str, str]) -> str:
        """Do what a form asks for; return the name of what to say.

        Raises:
            RecorderError: it did not happen.
        """
        return self._actions[name](fields)

    def _store(self) -> Store:
        with self._lock:
            if self._opened is None:
                self._opened = self._open_store()
            return self._opened

    def _opt_out(self, _: Mapping[str, str]) -> str:
        self._store().choose(True, shown=wording(opt_out=True))
        return "opted-out"

    def _opt_in(self, fields: Mapping[str, str]) -> str:
        """Opt in, if the choice is still the one that was shown: a form that is sent again undoes no later opt-out."""
        store, revision = self._store(), fields.get("revision", "")
        review = store.review()
        if revision != str(review.revision):
            return "changed"
        unreadable = review.choice == "unreadable"  # has no revision that anybody could name
        try:
            store.choose(False, revision=None if unreadable else review.revision, shown=wording(opt_out=False))
        except CommandRefusedError:
            return "changed"
        return "opted-in"

    def _withdraw(self, _: Mapping[str, str]) -> str:
        self._store().choose(True, shown=wording(opt_out=True), withdraw=True)
        return "withdrawn"

    def _withdraw_one(self, fields: Mapping[str, str]) -> str:
        return "withdrawn-one" if self._store().history.withdraw([fields.get("id", "")]) else "changed"

    def _forget(self, _: Mapping[str, str]) -> str:
        self._store().history.clear()
        return "forgotten"

    def _mute(self, _: Mapping[str, str]) -> str:
        self._store().set_muted(True)
        return "muted"

    def _unmute(self, fields: Mapping[str, str]) -> str:
        """Unmute, if the mute is still the one that was shown."""
        store = self._store()
        mute = store.muted()
        if mute.muted and fields.get("since") != mute.since:
            return "changed"
        store.set_muted(False)
        return "unmuted"

    def _delete(self, fields: Mapping[str, str]) -> str:
        request_id = fields.get("id", "")
        if not request_id:
            raise UsageError("nothing is named that is to be deleted")
        return "deleted" if self._store().delete([request_id]) else "gone"

    def _not_for_me(self, fields: Mapping[str, str]) -> str:
        """Delete a waiting request that nobody meant, and keep the sound of its wake word where that is wished."""
        store = self._store()
        request = next((each for each in store.waiting() if each.id == fields.get("id")), None)
        if request is None:
            return "gone"
        kept = not_for_me.refuse(store, request, self._state_dir if fields.get("keep") else None)
        return "kept" if kept else "deleted"

    def _delete_all(self, _: Mapping[str, str]) -> str:
        self._store().delete()
        return "deleted"


def _sent(one: SentEntry) -> Sent:
    return Sent(one.id, one.sent_at, one.wake_word, one.duration_s, one.opt_out, one.erasure)


def _request(waiting: Waiting) -> Request:
    return Request(
        id=waiting.id,
        captured_at=waiting.captured_at,
        wake_word=waiting.wake_word,
        duration_s=waiting.duration_s,
        opt_out=waiting.review.opt_out,
        problem=waiting.problem,
    )
