"""A sender under test with all it tells, and the settings that lead it to a broker."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from device.daemon.sender import EVENTS, Sender
from device.edges.mqtt import LinkSettings
from device.message.commands import Action
from support.broker import PATIENCE_S, await_true
from support.outbox import BASE, MemoryOutbox, envelope

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.message.commands import Command


def link_to(port: int, **changes: Any) -> LinkSettings:
    """Return settings for a broker on this loopback port."""
    values = {"host": "127.0.0.1", "port": port, "base_topic": BASE, "client_id": "wakeword-recorder-kitchen"}
    return LinkSettings(**(values | changes))


class Sending:
    """A started sender on an outbox in memory; ends with the block, and must have ended well."""

    def __init__(
        self,
        link: LinkSettings | int,
        outbox: Any = None,
        *,
        on_command: Callable[[Command], None] | None = None,
        **changes: Any,
    ) -> None:
        self.link = link if isinstance(link, LinkSettings) else link_to(link, **changes)
        self.outbox = outbox if outbox is not None else MemoryOutbox()
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.commands: list[Action] = []  # without what the broker keeps no longer
        self.threads: set[str] = set()
        self.sender = Sender(self.outbox, self.link, envelope, on_command or self._command, self._event)

    def _event(self, name: str, **fields: Any) -> None:
        assert name in EVENTS
        self.threads.add(threading.current_thread().name)
        self.events.append((name, fields))

    def _command(self, command: Command) -> None:
        if command.action is not Action.CLEARED:
            self.commands.append(command.action)

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return the fields of every event of this name so far."""
        return [fields for event, fields in self.events if event == name]

    def awaited(self, name: str, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait for the first event of this name and return its fields."""
        return await_true(lambda: self.named(name), self.events, timeout_s)[0]

    def put(self, *numbers: int, opt_out: bool = False, size: int = 32) -> list[str]:
        """Store requests and tell the sender."""
        ids = [self.outbox.put(number, opt_out=opt_out, size=size) for number in numbers]
        self.sender.notify()
        return ids

    def drained(self, timeout_s: float = PATIENCE_S) -> None:
        """Wait until nothing waits."""
        await_true(lambda: self.sender.drained() or self.sender.worker.failure, self.events, timeout_s)
        if self.sender.worker.failure is not None:
            raise self.sender.worker.failure

    def connected(self, timeout_s: float = PATIENCE_S) -> None:
        """Wait for a connection in use."""
        await_true(lambda: self.sender.connected, self.events, timeout_s)

    def __enter__(self) -> Sending:
        self.sender.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        ended = self.sender.stop(5)
        if kind is None:
            assert ended
            assert self.sender.worker.failure is None
