"""Has what is changed over MQTT of the wake words count: the pipeline is told between two blocks, and everybody shown.

An open request goes on: only from which score on a word counts is another, from the next frame on.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec

from device.hearing.tuning import ALL, listens_for
from device.message.states import WakeShown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from device.daemon.listener import Ask
    from device.daemon.sender import Sender
    from device.events import Events
    from device.hearing.tuning import Tuning


class Tuner:
    """`look` is for one thread at a time, `due` for the listener's.

    Args:
        configured: each word's threshold in the configuration.
        read: returns what was changed, as far as it counts.
        retune: returns what has the pipeline go by a tuning.
        sender: publishes the state ``wake``.
        events: says that something was changed, or undone.

    Attributes:
        tuning: what counts; None: not looked yet.
    """

    def __init__(
        self,
        configured: Mapping[str, float],
        read: Callable[[], Tuning],
        retune: Callable[[Tuning], Ask],
        sender: Sender,
        events: Events,
    ) -> None:
        self._configured = configured
        self._read = read
        self._retune = retune
        self._sender = sender
        self._events = events
        self._lock = threading.Lock()
        self._due: Ask | None = None  # guarded by it
        self.tuning: Tuning | None = None

    def look(self) -> None:
        """Have what was changed since count.

        Raises:
            StoreBusyError: the disk does not answer now.
        """
        tuning = self._read()
        if tuning == self.tuning:
            return
        first, self.tuning = self.tuning is None, tuning
        shown = _shown(tuning, self._configured)
        self._sender.set_state("wake", msgspec.json.encode(shown))
        if first and not shown.changed:
            return
        with self._lock:
            self._due = self._retune(tuning)
        counts = {word: score for word, score in shown.thresholds.items() if listens_for(tuning, word)}
        scores = ", ".join(f"{word} from {score:g} on" for word, score in counts.items())
        what = "as changed over MQTT" if shown.changed else "as configured again"
        self._events(
            "wake-changed",
            f"listens {what}: {scores}",
            word=shown.word,
            thresholds=shown.thresholds,
            changed=shown.changed,
        )

    def due(self) -> list[Ask]:
        """Return what the pipeline is to do before it hears more."""
        with self._lock:
            due, self._due = self._due, None
        return [due] if due else []


def _shown(tuning: Tuning, configured: Mapping[str, float]) -> WakeShown:
    thresholds = {word: tuning.thresholds.get(word, score) for word, score in configured.items()}
    words = [word for word in configured if listens_for(tuning, word)]
    scores = {thresholds[word] for word in words}
    return WakeShown(
        word=words[0] if len(words) == 1 else ALL,
        threshold=scores.pop() if len(scores) == 1 else None,
        thresholds=thresholds,
        changed=bool(tuning.word or tuning.thresholds),
    )
