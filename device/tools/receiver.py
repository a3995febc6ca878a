"""Receives requests: checked, kept, shown, and only then acknowledged; a reference for whoever writes a subscriber."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from device import signals
from device.edges.flac import read_flac
from device.edges.mqtt import NotConnectedError
from device.errors import RecorderError, TagError
from device.message import envelope
from device.message.receive import Deduplicator, Received, Repeat, check, shown
from device.whole_file import sync_folder, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from device.edges.mqtt import Arrived
    from device.edges.mqtt.subscriber import Subscriber
    from device.message.tag import Tag

log = logging.getLogger("wakeword-recorder")

_SUFFIXES = {"audio/wav": ".wav", "audio/flac": ".flac"}
_STEP_S = 1.0  # paho tries an idle connection at most this often


class Folder:
    """Where requests are kept, one file each, named by their ids; whole or not there at all.

    Raises:
        RecorderError: the folder cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise RecorderError(f"folder {str(path)!r}: {error.strerror}", hint="name one to save into") from error

    def save(self, tag: Tag, payload: bytes) -> Path:
        """Keep a request in place of what its id had before, and return its file; it outlives a power cut.

        Args:
            tag: checked: its id is a UUID and nothing else, so that it cannot lead out of the folder.
            payload: the file's content.

        Raises:
            RecorderError: it could not be written; nothing of it is left.
        """
        path = self._path / (tag.id + _SUFFIXES[envelope.content_type(payload)])
        try:
            write_whole(path, payload)
            for other in [file for file in self._files(tag.id) if file != path]:
                other.unlink()
                sync_folder(self._path)
        except OSError as error:
            raise RecorderError(
                f"{str(path)!r} cannot be written: {error.strerror}", hint="the broker keeps what is not acknowledged"
            ) from error
        return path

    def saved(self, request_id: str) -> Tag | None:
        """Return the tag of what is kept under an id; None if that is nothing, or no longer a request."""
        for path in self._files(request_id):
            with contextlib.suppress(OSError, TagError):
                payload = path.read_bytes()
                return (envelope.read_wav if path.suffix == ".wav" else read_flac)(payload)[0]
        return None

    def _files(self, request_id: str) -> list[Path]:
        paths = (self._path / (request_id + suffix) for suffix in _SUFFIXES.values())
        return [path for path in paths if path.is_file()]


@dataclass(slots=True)
class Receiver:
    """Takes what a subscriber brings; one thread.

    Attributes:
        subscriber: the connection, made anew after every loss.
        show: called with every request kept, and its file.
        folder: where they are kept; None: nowhere.
        believe: raises TagError for a request, its tag and its file, that is not to be believed; None: all are.
        received: how many requests came.
    """

    subscriber: Subscriber
    show: Callable[[Tag, Path | None], None]
    folder: Folder | None
    believe: Callable[[Tag, bytes], None] | None = None
    received: int = 0

    def run(self, *, count: int | None, timeout_s: float | None) -> None:
        """Receive until enough came or the time is over.

        A signal may end it anywhere but between keeping a request and acknowledging it.

        Args:
            count: how many requests are enough; None: none ever are.
            timeout_s: how long to wait; None: without end.

        Raises:
            NotConnectedError: at the start only; a connection lost later is made anew.
            RecorderError: a request could not be kept; it is not acknowledged, so the broker still has it.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        seen = Deduplicator()
        self.subscriber.connect()
        self._say("subscribed", "waiting for requests")
        if self.subscriber.kept_s < self.subscriber.wanted_s:
            message = f"the broker keeps what arrives while this is away for {self.subscriber.kept_s} s only"
            self._say("session-short", message, level=logging.WARNING)
        while (count is None or self.received < count) and (end is None or time.monotonic() < end):
            try:
                arrivals = self.subscriber.wait(_until(end, _STEP_S))
            except NotConnectedError as error:
                self._say("broker-lost", str(error), level=logging.WARNING)
                self._connect_again(end, error.pause_s)
                continue
            for arrived in arrivals:
                with signals.held():
                    self.received += self._take(arrived, seen)
                    self.subscriber.acknowledge(arrived)
                if self.received == count:
                    break  # what follows is not acknowledged: a session that lasts brings it again

    def _connect_again(self, end: float | None, pause_s: float) -> None:
        while end is None or time.monotonic() < end:
            time.sleep(_until(end, pause_s))
            try:
                self.subscriber.connect()
            except NotConnectedError as error:
                pause_s = error.pause_s
            else:
                self._say("subscribed", "connected again")
                return

    def _take(self, arrived: Arrived, seen: Deduplicator) -> bool:
        """Check, keep and show one message; true if it is a request that was not there before."""
        try:
            request = check(
                arrived.topic, arrived.payload, arrived.content_type, arrived.user_properties, read_flac=read_flac
            )
            if self.believe is not None:
                self.believe(request.tag, arrived.payload)
            repeat = self._repeat(request, seen)
        except TagError as error:
            message = f"refused a message under {shown(arrived.topic)}: {error}"
            self._say("refused", message, level=logging.ERROR, topic=arrived.topic)
            return False
        if repeat is not Repeat.SAME:
            path = self.folder.save(request.tag, arrived.payload) if self.folder else None
            seen.remember(request.tag)
            self.show(request.tag, path)
        return repeat is Repeat.NEW

    def _repeat(self, request: Received, seen: Deduplicator) -> Repeat:
        """Recognise a repeat by what came since the start, and by what was kept before it."""
        repeat = seen.look(request.tag)
        if repeat is Repeat.NEW and self.folder and (saved := self.folder.saved(request.tag.id)):
            seen.remember(saved)
            return seen.look(request.tag)
        return repeat

    def _say(self, event: str, message: str, *, level: int = logging.INFO, **fields: object) -> None:
        log.log(level, "%s", message, extra={"fields": {"event": event, **fields}})


def _until(end: float | None, longest_s: float) -> float:
    return longest_s if end is None else max(0.0, min(longest_s, end - time.monotonic()))
