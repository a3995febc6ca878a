"""An outbox in memory with the store's calls, and requests to put into it; for what needs no database."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from device.message.envelope import Message
from device.message.review import Review
from device.message.tag import AudioFormat, Tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BASE = "wakeword/kitchen"


def tag_of(number: int, *, opt_out: bool = False) -> Tag:
    """Return the tag of the request with this number."""
    return Tag(
        id=f"0190a5b2-0000-7000-8000-{number:012x}",
        device="kitchen",
        wake_word="hey_jarvis",
        score=0.9,
        captured_at="2026-11-22T20:43:21.652Z",
        clock_synced=True,
        source="file:test",
        start_sample=0,
        end_sample=16,
        wake_sample=0,
        duration_s=0.001,
        ended_by="silence",
        review=Review(opt_out=opt_out, choice="user", revision=1, changed_at=None),
        audio=AudioFormat(sha256="0" * 64),
    )


@dataclass
class Claimed:
    tag: Tag
    pcm: bytes
    attempts: int = 0


@dataclass
class MemoryHistory:
    """What is to be erased; may be filled by any thread."""

    asked: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def to_erase(self, at_most: int = 1) -> list[str]:
        return self.asked[:at_most]

    def note_erased(self, ids: list[str]) -> None:
        self.asked = [each for each in self.asked if each not in ids]
        self.told += ids


@dataclass
class MemoryOutbox:
    """Waiting requests in order; may be filled by any thread."""

    waiting: dict[str, Claimed] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    claims: int = 0
    stored: int = 0
    noted: int = 0  # of these, by the ledger
    lock: threading.RLock = field(default_factory=threading.RLock)
    history: MemoryHistory = field(default_factory=MemoryHistory)

    def put(self, number: int, *, opt_out: bool = False, size: int = 32) -> str:
        tag = tag_of(number, opt_out=opt_out)
        with self.lock:
            self.stored += 1
            self.waiting[tag.id] = Claimed(tag, number.to_bytes(4, "little") * (size // 4))
        return tag.id

    @contextlib.contextmanager
    def claim(self, wanted: Callable[[str, bool], bool]) -> Iterator[Claimed | None]:
        self.claims += 1
        with self.lock:
            yield next((one for one in self.waiting.values() if wanted(one.tag.id, one.tag.review.opt_out)), None)

    def acknowledge(self, id: str) -> None:  # noqa: A002
        with self.lock:
            self.acknowledged.append(id)
            self.waiting.pop(id, None)

    def refused(self, id: str, problem: str) -> None:  # noqa: A002
        self.problems.append((id, problem))

    def flush(self) -> None:
        """Everything is lasting already."""

    def count(self) -> int:
        return len(self.waiting)


def envelope(tag: Tag, pcm: bytes) -> Message:
    """A message like the real one, with the PCM alone as its payload."""
    level = "opted-out" if tag.review.opt_out else "reviewable"
    properties = (("id", tag.id), ("review_opt_out", str(tag.review.opt_out).lower()))
    return Message(f"{BASE}/request/{level}", pcm, "audio/wav", properties)
