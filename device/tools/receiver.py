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
from device.message.erasure import is_erasure, parse_erasure
from device.message.receive import Deduplicator, Received, Repeat, check, sampled, shown
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

    def erase(self, request_id: str, device: str) -> bool:
        """Delete what is kept of a request, unless it is another device's; returns whether anything was.

        Raises:
            RecorderError: it could not be deleted.
        """
        files, tag = self._files(request_id), self.saved(request_id)
        if not files or (tag is not None and tag.device != device):
            return False
        try:
            for file in files:
                file.unlink()
            sync_folder(self._path)
        except OSError as error:
            hint = "the broker keeps the notice, which is not acknowledged"
            raise RecorderError(f"{request_id} cannot be erased: {error.strerror}", hint=hint) from error
        return True

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
        share: keep this share of the requests only, a random sample, and say of each what became of it; None: keep all.
        received: how many requests came.
    """

    subscriber: Subscriber
    show: Callable[[Tag, Path | None], None]
    folder: Folder | None
    believe: Callable[[Tag, bytes], None] | None = None
    share: float | None = None
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
        if is_erasure(arrived.topic):
            self._erase(arrived, seen)
            return False
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
        if repeat in (Repeat.NEW, Repeat.TIGHTENED):
            self._keep(request.tag, arrived.payload)
            seen.remember(request.tag)
        return repeat is Repeat.NEW

    def _keep(self, tag: Tag, payload: bytes) -> None:
        """Keep and show a request; of a sample's, say whether it is in it."""
        if self.share is not None and not sampled(tag.id, self.share):
            self._say("not-sampled", f"dropped {tag.id}: not in the sample", id=tag.id)
            return
        path = self.folder.save(tag, payload) if self.folder else None
        if self.share is not None:
            self._say("kept", f"kept {tag.id}: in the sample", id=tag.id)
        self.show(tag, path)

    def _erase(self, arrived: Arrived, seen: Deduplicator) -> None:
        """Delete what a device asks to be erased of its own requests, and keep no repeat of it."""
        try:
            device, notice = parse_erasure(arrived.topic, arrived.payload)
        except TagError as error:
            message = f"refused a message under {shown(arrived.topic)}: {error}"
            self._say("refused", message, level=logging.ERROR, topic=arrived.topic)
            return
        seen.erase(device, notice.ids)
        erased = [each for each in notice.ids if self.folder is not None and self.folder.erase(each, device)]
        message = f"{device} asked to erase {len(notice.ids)} requests: {len(erased)} were kept here and are deleted"
        self._say("erased", message, device=device, ids=erased, asked=len(notice.ids))

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
