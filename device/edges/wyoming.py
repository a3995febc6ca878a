"""Speech to text by a server that speaks Wyoming: a line of JSON for each event, its data and its bytes behind it.

The protocol is small, and a server's word on how much it sends is not to be trusted: it is read here, and bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from device.answering.answer import BackendAwayError, NotAnsweredError, Reply
from device.hearing.frames import RATE_HZ

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from device.answering.answer import Commit, Question

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 60.0
MOST_BYTES = 1_000_000  # of one event; a transcript has some hundred
CHUNK_BYTES = 2 * RATE_HZ // 10
_FORMAT = {"rate": RATE_HZ, "width": 2, "channels": 1}


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its kind, its data, its bytes."""

    kind: str
    data: dict[str, Any]
    payload: bytes = b""


class Wyoming:
    """A speech-to-text server; a connection for each request, as the protocol has it.

    Args:
        host: its name or address.
        port: its TCP port.
        language: of what is said, such as ``en``; empty: the server's own.
    """

    name = "wyoming"
    arbitrates = False

    def __init__(self, host: str, port: int, *, language: str = "") -> None:
        self._host = host
        self._port = port
        self._language = {"language": language} if language else {}
        self._where = f"tcp://{host}:{port}"

    async def check(self) -> None:
        """Ask what it is: see ``Backend``."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S), self._connected() as (reader, writer):
                _write(writer, Event("describe", {}))
                info = await self._await(reader, "info")
        except TimeoutError:
            problem = f"{self._where} does not say within {CONNECT_TIMEOUT_S:g} s what it is"
            raise BackendAwayError(problem, hint="is it a Wyoming server?") from None
        if not info.data.get("asr"):
            raise NotAnsweredError(
                f"{self._where} has no speech-to-text", hint="[answer] wyoming: name one that has, such as Whisper's"
            )

    async def ask(self, question: Question, commit: Commit) -> Reply:
        """Have a request written down: see ``Backend``. Nothing happens by it, so it may be asked again."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S), self._connected() as (reader, writer):
                sending = asyncio.create_task(self._send(writer, question.pcm))
                try:
                    text = (await self._await(reader, "transcript")).data.get("text")
                finally:
                    sending.cancel()
                    await asyncio.gather(sending, return_exceptions=True)  # what broke it, reading found too
        except TimeoutError:
            raise NotAnsweredError(f"{self._where}: no transcript within {ANSWER_TIMEOUT_S:g} s") from None
        if not isinstance(text, str) or not text.strip():
            raise NotAnsweredError(f"{self._where} understood nothing")
        commit()
        return Reply(text.strip())

    async def close(self) -> None:
        """Do nothing: it keeps nothing open."""

    async def _send(self, writer: asyncio.StreamWriter, pcm: bytes) -> None:
        _write(writer, Event("transcribe", self._language))
        _write(writer, Event("audio-start", _FORMAT))
        for start in range(0, len(pcm), CHUNK_BYTES):
            _write(writer, Event("audio-chunk", _FORMAT, pcm[start : start + CHUNK_BYTES]))
            await writer.drain()
        _write(writer, Event("audio-stop", {}))
        await writer.drain()

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Hold a connection; whatever breaks it, the same request may be asked again."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(self._host, self._port)
        except (OSError, TimeoutError) as error:
            raise BackendAwayError(f"{self._where}: {_why(error)}", hint="does the speech-to-text run?") from error
        try:
            yield reader, writer
        except (ConnectionError, asyncio.IncompleteReadError):
            raise BackendAwayError(f"{self._where} ended the connection before it answered") from None
        finally:
            writer.transport.abort()  # not close(): what was not sent yet is not worth waiting for

    async def _await(self, reader: asyncio.StreamReader, kind: str) -> Event:
        """Return the next event of this kind, passing over others."""
        try:
            while (event := await _read(reader)).kind != kind:
                if event.kind == "error":
                    raise NotAnsweredError(f"{self._where} answered with an error", hint="its log says more")
        except ValueError as error:
            raise NotAnsweredError(f"{self._where} speaks no Wyoming: {error}", hint="[answer] wyoming") from None
        return event


def _why(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "the name cannot be resolved"
    if isinstance(error, TimeoutError) and not error.errno:
        return f"no answer within {CONNECT_TIMEOUT_S:g} s"
    # asyncio words it anew, and has no number where it tried several addresses.
    return os.strerror(error.errno).lower() if error.errno else "nothing listens there"


def _write(writer: asyncio.StreamWriter, event: Event) -> None:
    data = json.dumps(event.data).encode() if event.data else b""
    lengths = {"data_length": len(data), "payload_length": len(event.payload)}
    head = {"type": event.kind, **{name: length for name, length in lengths.items() if length}}
    writer.writelines([json.dumps(head).encode(), b"\n", data, event.payload])


async def _read(reader: asyncio.StreamReader) -> Event:
    """Read one event.

    Raises:
        ValueError: it is none, or too long; its line may have 64 KiB.
        asyncio.IncompleteReadError: the connection ended.
    """
    line = await reader.readline()
    if not line.endswith(b"\n"):
        raise asyncio.IncompleteReadError(line, None)
    head = _object(line)
    data = _object(head.get("data", {})) | _object(await _bytes(reader, head.get("data_length")) or b"{}")
    return Event(str(head.get("type")), data, await _bytes(reader, head.get("payload_length")))


def _object(value: Any) -> dict[str, Any]:
    try:
        value = json.loads(value) if isinstance(value, bytes) else value
    except (ValueError, RecursionError):
        raise ValueError("what should be JSON is none") from None
    if not isinstance(value, dict):
        raise ValueError("a JSON object is missing")  # noqa: TRY004 - a stranger's mistake, not a caller's
    return value


async def _bytes(reader: asyncio.StreamReader, length: Any) -> bytes:
    if length is None:
        return b""
    if not isinstance(length, int) or not 0 <= length <= MOST_BYTES:
        raise ValueError(f"an event of {length!r:.40} bytes; at most {MOST_BYTES} are read")
    return await reader.readexactly(length)
