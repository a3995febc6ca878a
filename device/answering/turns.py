"""What one request has to do with the one before it: follow-up questions, and repeats of one wake word."""

from __future__ import annotations

from device.hearing.words import BUTTON

FOLLOW_UP_S = 300.0  # so long Home Assistant itself keeps a conversation
REPEAT_S = 2.0  # within it Home Assistant takes the same wake word for the same person


class Conversations:
    """Which conversation a device's next request goes on with. Time is passed in."""

    def __init__(self) -> None:
        self._by_device: dict[str, tuple[str, float]] = {}

    def open(self, device: str, now_s: float) -> str | None:
        """Return the conversation that is still open; None: a new one."""
        conversation, last_s = self._by_device.get(device, ("", -FOLLOW_UP_S))
        return conversation if now_s - last_s < FOLLOW_UP_S and conversation else None

    def note(self, device: str, conversation: str, now_s: float) -> None:
        """Note the conversation that a device's request belonged to; forget those that are over."""
        self._by_device[device] = (conversation, now_s)
        self._by_device = {name: one for name, one in self._by_device.items() if now_s - one[1] < FOLLOW_UP_S}


class WakePhrases:
    """Whether a request's wake word is named to a backend that takes a second one for another device's repeat.

    What it would mistake for a repeat goes without: a device's own next request, one that is asked once more, and one
    that waited, since many of those come at once. Time is passed in.
    """

    def __init__(self) -> None:
        self._named: dict[tuple[str, str], float] = {}

    def of(self, wake_word: str, device: str, *, age_s: float, first: bool, now_s: float) -> str:
        """Return the wake word as it is said; empty: it is not named.

        Args:
            wake_word: by its model's name.
            device: whose request it is.
            age_s: how old the request is.
            first: it was not asked before.
            now_s: this moment.
        """
        self._named = {key: at_s for key, at_s in self._named.items() if now_s - at_s < REPEAT_S}
        if wake_word == BUTTON or not first or age_s >= REPEAT_S or (device, wake_word) in self._named:
            return ""
        self._named[device, wake_word] = now_s
        return wake_word.replace("_", " ").casefold()
