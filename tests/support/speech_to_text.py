"""A speech-to-text server on the package ``wyoming``, which understands in every sound what a test tells it to."""

from __future__ import annotations

import asyncio
import io
import threading
import wave
from typing import TYPE_CHECKING

from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStop
from wyoming.info import AsrModel, AsrProgram, Attribution, Describe, Info, TtsProgram, TtsVoice
from wyoming.server import AsyncEventHandler, AsyncTcpServer
from wyoming.tts import Synthesize

from support.broker import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from wyoming.event import Event

_MADE = {"attribution": Attribution("the tests", ""), "installed": True, "description": "a test", "version": "1"}
SPEECH = bytes(range(0, 250, 2)) * 256  # what its voice says, as PCM: 1 s


class SpeechToText:
    """A server on a free loopback port, or the one of before; it speaks, too.

    Args:
        understand: given the PCM of a request, returns what was said.
        port: where; None: a free one.

    Attributes:
        sounds: the PCM of every request that came whole.
        said: the texts that it was asked to say.
    """

    def __init__(self, understand: Callable[[bytes], str] = lambda pcm: "turn on the light", port: int | None = None):
        self.understand = understand
        self.port = port or free_port()
        self.url = f"tcp://127.0.0.1:{self.port}"
        self.sounds: list[bytes] = []
        self.said: list[str] = []
        self.languages: list[str | None] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> SpeechToText:
        self._thread.start()
        self._server = AsyncTcpServer("127.0.0.1", self.port)
        asyncio.run_coroutine_threadsafe(self._server.start(self._handler), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _handler(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> AsyncEventHandler:
        return _Handler(self, reader, writer)

    def info(self) -> Info:
        """Return what it says of itself."""
        model = AsrModel("every sound", languages=["en"], **_MADE)
        voice = TtsVoice("a ramp", languages=["en"], **_MADE)
        return Info(
            asr=[AsrProgram("test", models=[model], **_MADE)], tts=[TtsProgram("test", voices=[voice], **_MADE)]
        )


class _Handler(AsyncEventHandler):
    def __init__(self, server: SpeechToText, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self._server = server
        self._pcm = bytearray()

    async def handle_event(self, event: Event) -> bool:
        server = self._server
        if Describe.is_type(event.type):
            await self.write_event(server.info().event())
        elif Transcribe.is_type(event.type):
            server.languages.append(Transcribe.from_event(event).language)
        elif AudioChunk.is_type(event.type):
            self._pcm += AudioChunk.from_event(event).audio
        elif AudioStop.is_type(event.type):
            pcm = bytes(self._pcm)
            server.sounds.append(pcm)
            text = await asyncio.get_running_loop().run_in_executor(None, server.understand, pcm)
            await self.write_event(Transcript(text).event())
            return False
        elif Synthesize.is_type(event.type):
            server.said.append(Synthesize.from_event(event).text)
            await self.write_event(AudioChunk(16_000, 2, 1, SPEECH).event())
            await self.write_event(AudioStop().event())
        return True


def wav_of(pcm: bytes, rate_hz: int = 16_000) -> bytes:
    """Return a WAV file of 16-bit mono PCM."""
    memory = io.BytesIO()
    with wave.open(memory, "wb") as file:
        file.setparams((1, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(pcm)
    return memory.getvalue()
