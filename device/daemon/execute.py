"""What becomes of a command that arrived over MQTT: the store keeps it, and what it changes is said."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from device.edges.store import Retained
from device.hearing.tuning import tuned
from device.message.commands import WAKE, Action, place_of

if TYPE_CHECKING:
    from device.edges.mqtt import LinkSettings
    from device.edges.store import Store
    from device.events import Events
    from device.message.commands import Command


def execute(store: Store, events: Events, link: LinkSettings, command: Command) -> None:
    """Carry out a command; the sender lets only those through that the configuration allows.

    Raises:
        CommandRefusedError: it would undo what somebody has chosen since.
        StoreError: it could not be stored.
    """
    place = place_of(link.address, f"{link.base_topic}/{command.level}")
    if command.action is Action.CLEARED:
        store.forget_retained(place)
        return
    if command.level == WAKE:
        store.tunings.change(partial(tuned, word=command.word, threshold=command.threshold, words=link.wake_words))
        score = "" if command.threshold is None else f" {command.threshold:g}"
        said = f"{command.action.value} {command.word}{score}"
        events("command", f"obeyed over MQTT: {said}", command=said)
        return
    retained = Retained(place, command.payload) if command.retained else None
    if command.action is Action.MUTE:
        changed = store.set_muted(True, retained=retained)
    else:
        opt_out = command.action is Action.OPT_OUT
        changed = store.choose(opt_out, revision=command.revision, retained=retained).changed
    if changed or not retained:  # one that is kept comes again with every connection
        word = command.action.value
        events("command", f"obeyed over MQTT: {word}", command=word)
