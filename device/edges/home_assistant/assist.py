"""A request through Assist: the sound goes in, what was understood and what is said to it come out."""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar

from device.answering.answer import BackendAwayError, NotAnsweredError, Reply
from device.answering.turns import Conversations
from device.edges.home_assistant import messages
from device.edges.home_assistant.session import CommandError, download, opened
from device.errors import RecorderError
from device.hearing.frames import RATE_HZ

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from device.answering.answer import Commit, Question
from device.edges.home_assistant.session import Session

T = TypeVar("T")
ANSWER_TIMEOUT_S = 60.0  # a large language model may think for a while
CHECK_TIMEOUT_S = 30.0
FRAME_BYTES = 2 * RATE_HZ // 100  # Home Assistant passes on whole frames of 10 ms, and loses what is left at the end
CHUNK_BYTES = 10 * FRAME_BYTES
DEVICES_S = 60.0  # how long the list of its devices counts
_WORDS = {
    "duplicate_wake_up_detected": "another device's request with this wake word came first",
    "stt-no-text-recognized": "Home Assistant understood nothing",
    "stt-stream-failed": "Home Assistant's speech-to-text failed; its log says why",
    "stt-provider-missing": "the pipeline's speech-to-text is not there; see Settings, Voice assistants",
    "stt-provider-unsupported-metadata": "the pipeline's speech-to-text does not take 16 kHz or its language",
    "intent-failed": "Home Assistant's conversation agent failed; its log says why",
    "intent-agent-not-found": "the pipeline's conversation agent is not there; see Settings, Voice assistants",
    "intent-not-supported": "the pipeline's conversation agent does not know its language",
    "pipeline-not-found": "there is no such pipeline; see Settings, Voice assistants",
    "timeout": f"Home Assistant took over {ANSWER_TIMEOUT_S:g} s",
}
_PASSING = {"stt-provider-missing"}  # while a server of its own restarts


class HomeAssistant:
    """Home Assistant; a connection for each request, so that a restart of it needs no thought.

    Args:
        url: its address.
        token: a long-lived access token.
        pipeline: the name of a voice assistant there; empty: the preferred one.
        identifier: what MQTT discovery calls a recorder there, with ``{}`` for its device id.
    """

    name = "home-assistant"
    arbitrates = True

    def __init__(self, url: str, token: str, *, pipeline: str = "", identifier: str = "{}") -> None:
        self._url = url
        self._token = token
        self._pipeline = pipeline
        self._identifier = identifier
        self._conversations = Conversations()
        self._devices: dict[str, str] = {}  # its numbers for our devices
        self._devices_until_s = 0.0
        self._keeping = contextlib.AsyncExitStack()
        self._kept: Session | None = None

    async def check(self) -> None:
        """Look at the voice assistant: see ``Backend``. The connection is kept, so that a restart is noticed."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                if self._kept is None:
                    await self._get_ready()
                else:
                    await self._require_running(self._kept)
        except TimeoutError:
            await self.close()
            raise BackendAwayError(f"{self._url}: no answer within {CHECK_TIMEOUT_S:g} s") from None
        except RecorderError:
            await self.close()
            raise

    async def _get_ready(self) -> None:
        """Connect, and have it load now what else its first request of a language waits for: 2 s, more on a Pi."""
        self._kept = session = await self._keeping.enter_async_context(opened(self._url, self._token))
        await self._require_running(session)
        assistant = await self._assistant(session)
        self._refuse_without("speech-to-text", assistant.name, assistant.stt_engine)
        language = {"language": assistant.conversation_language}
        with contextlib.suppress(CommandError):  # only administrators may; it recognises and does nothing
            await session.command("conversation/prepare", Any, **language)
            await session.command("conversation/agent/homeassistant/debug", Any, sentences=["a"], **language)

    async def close(self) -> None:
        """Close what is kept."""
        self._kept = None
        await self._keeping.aclose()

    async def ask(self, question: Question, commit: Commit) -> Reply:
        """Have a request answered: see ``Backend``. Once all of its sound is there, something may be switched."""
        committed = False
        try:
            async with self._session(ANSWER_TIMEOUT_S) as session:
                handler = await self._run(session, question)
                pcm = question.pcm + bytes(-len(question.pcm) % FRAME_BYTES)
                for start in range(0, len(pcm), CHUNK_BYTES):
                    await session.send_bytes(handler + pcm[start : start + CHUNK_BYTES])
                commit()
                committed = True
                await session.send_bytes(handler)  # nothing behind the number: that was all
                return await self._reply(session, question.device)
        except BackendAwayError as error:
            if committed:
                problem = f"{error.message} after it had the whole request"
                raise NotAnsweredError(problem, hint="not asked again, for it may have been obeyed") from error
            raise

    async def sound(self, speech: str) -> bytes:
        """Have something said by the voice assistant's voice: see ``Backend``."""
        async with self._session(ANSWER_TIMEOUT_S) as session:
            await self._start(session, start_stage="tts", end_stage="tts", input={"text": speech})
            end = await self._event(session, "tts-end", messages.TtsEnd)
        return await download(self._url, end.tts_output.url)

    @contextlib.asynccontextmanager
    async def _session(self, timeout_s: float) -> AsyncIterator[Session]:
        """Hold a connection to one that is ready: while it starts, what it is to switch may not be there yet."""
        try:
            async with asyncio.timeout(timeout_s), opened(self._url, self._token) as session:
                await self._require_running(session)
                yield session
        except TimeoutError:
            raise BackendAwayError(f"{self._url}: no answer within {timeout_s:g} s") from None

    async def _require_running(self, session: Session) -> None:
        if (await session.command("get_config", messages.Config)).state != "RUNNING":
            raise BackendAwayError(f"{self._url} is starting or stopping")

    async def _run(self, session: Session, question: Question) -> bytes:
        """Start the pipeline, and return what goes before each piece of sound."""
        sound: dict[str, object] = {"sample_rate": RATE_HZ, "no_vad": True}  # else it cuts once more
        if question.wake_phrase:
            sound["wake_word_phrase"] = question.wake_phrase
        optional = {
            "conversation_id": self._conversations.open(question.device, time.monotonic()),
            "device_id": await self._device(session, question.device),
        }
        given = {name: value for name, value in optional.items() if value}
        await self._start(session, start_stage="stt", end_stage="intent", input=sound, **given)
        start = await self._event(session, "run-start", messages.RunStart)
        return bytes([start.runner_data.stt_binary_handler_id])

    async def _start(self, session: Session, **arguments: object) -> None:
        if self._pipeline:
            arguments["pipeline"] = (await self._assistant(session)).id
        try:
            await session.command("assist_pipeline/run", NoneType, timeout=ANSWER_TIMEOUT_S, **arguments)
        except CommandError as error:
            assistant = await self._assistant(session)  # it says "unknown_error" of one without these
            if arguments["start_stage"] == "stt":
                self._refuse_without("speech-to-text", assistant.name, assistant.stt_engine)
            else:
                self._refuse_without("text-to-speech", assistant.name, assistant.tts_engine)
            kind = BackendAwayError if error.code in _PASSING else NotAnsweredError
            raise kind(_WORDS.get(error.code, error.message)) from error

    def _refuse_without(self, what: str, assistant: str, engine: str | None) -> None:
        if not engine:
            problem = f"{self._url}: the voice assistant {assistant!a} has no {what}"
            raise NotAnsweredError(
                problem, hint="choose one under Settings, Voice assistants, or name another in [answer] pipeline"
            )

    async def _reply(self, session: Session, device: str) -> Reply:
        heard = await self._event(session, "stt-end", messages.SttEnd)
        output = (await self._event(session, "intent-end", messages.IntentEnd)).intent_output
        self._conversations.note(device, output.conversation_id or "", time.monotonic())
        return Reply(heard.stt_output.text, output.response.speech.plain.speech)

    async def _event(self, session: Session, kind: str, into: type[T]) -> T:
        """Return the next event of this kind, passing over others.

        Raises:
            NotAnsweredError: the pipeline failed, or ended without it.
        """
        while (event := await session.event()).type != kind:
            if event.type == "error":
                code = session.read(event.data, messages.Failure).code
                raise NotAnsweredError(_WORDS.get(code) or f"Home Assistant failed: {ascii(code)[1:-1][:80]}")
            if event.type == "run-end":
                raise NotAnsweredError("Home Assistant ended without an answer")
        return session.read(event.data, into)

    async def _assistant(self, session: Session) -> messages.Assistant:
        """Return the voice assistant that is meant.

        Raises:
            NotAnsweredError: there is none of that name.
        """
        listed = await session.command("assist_pipeline/pipeline/list", messages.Assistants)
        for one in listed.pipelines:
            if one.name == self._pipeline or (not self._pipeline and one.id == listed.preferred_pipeline):
                return one
        names = ", ".join(ascii(one.name) for one in listed.pipelines)
        problem = f"[answer] pipeline = {self._pipeline!r}: Home Assistant has no such voice assistant"
        raise NotAnsweredError(problem, hint=f"it has {names or 'none'}")

    async def _device(self, session: Session, device: str) -> str | None:
        """Return Home Assistant's number for a device of ours; None: discovery has made none."""
        if time.monotonic() > self._devices_until_s:
            listed = await session.command("config/device_registry/list", list[messages.Device])
            pairs = ((pair, one.id) for one in listed for pair in one.identifiers)
            self._devices = {pair[1]: number for pair, number in pairs if pair[:1] == ["mqtt"] and len(pair) == 2}
            self._devices_until_s = time.monotonic() + DEVICES_S
        return self._devices.get(self._identifier.format(device))
