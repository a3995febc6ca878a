"""The command ``answer`` in a process of its own, and devices whose requests it is to answer."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from support import publisher
from support.broker import PATIENCE_S, await_true
from support.daemon import Device
from support.tags import tag_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from device.message.tag import Tag

PCM = bytes(range(256)) * 128  # 1.02 s
_numbers = itertools.count()


def said(pcm: bytes = PCM, **changes: Any) -> Tag:
    """Return the tag of a request that was just said, with an id of its own."""
    began = datetime.now(UTC) - timedelta(seconds=len(pcm) / 32_000)
    captured_at = began.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    request_id = f"0193a5c4-{next(_numbers):04x}-7abc-8def-0123456789ab"
    return tag_of(pcm, **{"id": request_id, "captured_at": captured_at, "waited_s": 0.05} | changes)


class Publisher(publisher.Publisher):
    """A device whose requests are to be answered."""

    def say(self, tag: Tag, pcm: bytes = PCM, **options: Any) -> Tag:
        """Publish a request, and return its tag."""
        return super().say(tag, pcm, **options)


class Answering:
    """The command, with a configuration and a state folder of its own; what it says is read as it comes.

    Args:
        folder: for both.
        port: the broker's.
        answer: lines of [answer].
        env: further variables.
        within: makes the command line one that runs it within something.
        settings: further TOML, by section.
    """

    def __init__(
        self, folder: Path, port: int, answer: str, *, env: dict[str, str] | None = None,
        within: Callable[[list[str]], list[str]] = lambda command: command, **settings: str,
    ) -> None:  # fmt: skip
        self.device = Device(folder, port, answer=answer, **settings)
        self._within = within
        self._env = {**self.device.env, **(env or {})}
        self.said: list[dict[str, Any]] = []

    def start(self, *, ready: bool = True) -> Answering:
        """Start it, and wait until it is subscribed."""
        command = self._within(self.device.command("answer", "--log-format", "json"))
        self.process = subprocess.Popen(command, env=self._env, stderr=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, args=(self.process,))
        self._reader.start()
        if ready:
            self.await_event("subscribed", len(self.events("subscribed")) + 1)
        return self

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr
        self.said.extend(json.loads(line) for line in iter(process.stderr.readline, ""))

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return what it said so far of this name."""
        return [line for line in self.said if line.get("event") == name]

    def await_event(self, name: str, times: int = 1) -> dict[str, Any]:
        """Wait until it has said this so often, and return the last."""
        await_true(lambda: len(self.events(name)) >= times or self.process.poll() is not None, name)
        assert len(self.events(name)) >= times, self.said
        return self.events(name)[-1]

    def stop(self, *, kill: bool = False) -> int:
        """End it, as systemd does or at once, and return its status."""
        (self.process.kill if kill else self.process.terminate)()
        return self.ended()

    def ended(self) -> int:
        """Wait until it has ended, and return its status."""
        status = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert self.process.stderr
        self.process.stderr.close()
        return status

    def __enter__(self) -> Answering:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop(kill=True)
