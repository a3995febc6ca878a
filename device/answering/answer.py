"""What is asked of whoever answers, what comes back, and what of that is published."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import msgspec
from msgspec import Struct

from device.errors import RecorderError

MOST_CHARACTERS = 10_000  # of a text: minutes of speech
Commit = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Question:
    """One request, as it is asked.

    Attributes:
        device: whose it is.
        pcm: 16-bit little-endian samples, 16 kHz mono.
        wake_phrase: the wake word as it is said, for the backend to tell repeats of other devices by; empty: it is not
            to look for any.
    """

    device: str
    pcm: bytes
    wake_phrase: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a backend made of a question.

    Attributes:
        text: what it understood.
        speech: what is to be said to it; empty: nothing.
    """

    text: str
    speech: str = ""


class Backend(Protocol):
    """Whoever answers.

    Attributes:
        name: for the published answer.
        arbitrates: whether it sees to it that only one of several devices is answered.
    """

    name: str
    arbitrates: bool

    async def check(self) -> None:
        """Find out whether it could answer, and have it get ready; asked now and then.

        Raises:
            BackendAwayError: it cannot be reached now.
            NotAnsweredError: it could be reached, and would answer nothing as it is set up.
            ConfigurationError: it will never take us as we are configured.
        """

    async def ask(self, question: Question, commit: Commit) -> Reply:
        """Have a request answered.

        Args:
            question: the request.
            commit: called before the first moment in which asking once more could do something twice; it may raise, and
                then nothing was done.

        Raises:
            BackendAwayError: it cannot be reached now, and nothing was done: asking again is worth it.
            NotAnsweredError: there is no answer, and will be none.
            ConfigurationError: as for ``check``.
        """

    async def close(self) -> None:
        """Close what it keeps open."""


class BackendAwayError(RecorderError):
    """Whoever answers cannot be reached now; nothing was asked."""

    exit_status = 69
    retry = True


class NotAnsweredError(RecorderError):
    """A request gets no answer, and is not asked again."""


class Answer(Struct, frozen=True, kw_only=True):
    """What is published under ``{device}/answer``, field for field and in its order."""

    id: str
    text: str
    speech: str
    backend: str
    took_s: float


def published(request_id: str, reply: Reply, *, backend: str, took_s: float) -> bytes:
    """Return an answer as JSON; texts that are too long to be meant are cut.

    Args:
        request_id: the request's.
        reply: the backend's.
        backend: its name.
        took_s: from the request's arrival to the reply.
    """
    return msgspec.json.encode(
        Answer(id=request_id, text=cut(reply.text), speech=cut(reply.speech), backend=backend, took_s=round(took_s, 3))
    )


def cut(text: str) -> str:
    """Return a text that is no longer than what is published, and holds nothing that JSON cannot."""
    valid = text.encode(errors="replace").decode()
    return valid if len(valid) <= MOST_CHARACTERS else valid[: MOST_CHARACTERS - 1] + "…"


def words_in(speech: str, words: Iterable[str]) -> list[str]:
    """Return which wake words, by their models' names, are said in a speech."""
    said = f" {_spoken(speech)} "
    return [word for word in words if f" {_spoken(word)} " in said]


def _spoken(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def topic(prefix: str, device: str) -> str:
    """Return where the answers to a device's requests are published."""
    return f"{prefix}/{device}/answer"
