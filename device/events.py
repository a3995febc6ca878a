"""What happens is said once: a log line, and the same event on MQTT while somebody is connected."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from device.edges.store import Dropped, StoreEvent

_log = logging.getLogger("wakeword-recorder")


class Events:
    """Says events; safe from every thread.

    Attributes:
        publish: hands an event's JSON to MQTT, without waiting; events are not kept for a broker that is away.
        hook: hands an event's name and its JSON to the hooks, without waiting.
        note: takes an event's name, its logging level and its fields, without waiting.
    """

    def __init__(self) -> None:
        self.publish: Callable[[bytes], None] = lambda _: None
        self.hook: Callable[[str, bytes], None] = lambda _event, _payload: None
        self.note: Callable[[str, int, Mapping[str, object]], None] = lambda _event, _level, _fields: None

    def __call__(self, event: str, message: str, *, level: int = logging.INFO, **fields: object) -> None:
        """Say an event.

        Args:
            event: its name, as on MQTT.
            message: one line for people.
            level: a logging level.
            fields: what a program may want to know of it; JSON types.
        """
        _log.log(level, "%s", message, extra={"fields": {"event": event, **fields}})
        payload = json.dumps({"event": event, **fields}).encode()
        self.publish(payload)
        self.hook(event, payload)
        self.note(event, level, fields)


def say_dropped(events: Events, dropped: Iterable[Dropped]) -> None:
    """Say which requests left the outbox by its limits."""
    for item in dropped:
        limit = {"size": "[outbox] max_mb", "age": "[outbox] max_age_days"}[item.reason]
        message = f"dropped the oldest waiting request, of {item.captured_at}: {limit} is reached ({item.id})"
        events("dropped", message, level=logging.WARNING, id=item.id, reason=item.reason, captured_at=item.captured_at)


def say_store(events: Events, event: StoreEvent) -> None:
    """Say what the store reports."""
    events(event.event, event.message, level=event.level, **event.fields)


def say_sender(events: Events, levels: Mapping[str, str], event: str, **fields: object) -> None:
    """Say what the sender reports: its problem first, then the other facts; ``levels`` has the level by event."""
    facts = {key: value for key, value in fields.items() if key != "problem"}
    said = [str(fields["problem"])] if "problem" in fields else []
    said += [", ".join(f"{key} {value}" for key, value in facts.items())] if facts else []
    level = logging.getLevelNamesMapping()[levels[event].upper()]
    events(event, f"{event.replace('-', ' ')}: {'; '.join(said)}", level=level, **fields)
