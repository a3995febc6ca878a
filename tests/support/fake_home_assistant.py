"""What Home Assistant's websocket API does, as far as `answer` uses it, as seen of the real one, 2026.2.3.

The long tests run the same command against the real one (`support.home_assistant`); this one can fail on demand.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TOKEN = "a long-lived token"  # noqa: S105
COOLDOWN_S = 2.0
FRAME_BYTES = 320
ASSISTANT = {
    "id": "01m8e3rz0nv0b7fx9acx4pxjn9", "name": "Home Assistant", "language": "en",
    "conversation_engine": "conversation.home_assistant", "conversation_language": "en",
    "stt_engine": "stt.test", "stt_language": "en", "tts_engine": "tts.test", "tts_language": "en",
    "tts_voice": None, "wake_word_entity": None, "wake_word_id": None, "prefer_local_intents": False,
}  # fmt: skip
SOUND = b"ID3 what is said"


class FakeHomeAssistant:
    """A server on a loopback port; its thread does what the attributes say.

    Args:
        port: where; 0: a free one.

    Attributes:
        state: as ``get_config`` tells it.
        assistants: its voice assistants, the first one preferred.
        devices: its registry.
        sounds: the PCM of each run of the pipeline that came whole.
        runs: the commands that started one.
        others: the other commands, by name.
        text: what it understands; empty: nothing.
        speech: what it says to it.
        instead: given the socket and the run's command, does something else once all the sound is there.
        breaks: closes the connection once it has accepted to run the pipeline.
        sound_path: what it gives as the address of its speech.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.state = "RUNNING"
        self.assistants: list[dict[str, Any]] = [ASSISTANT]
        self.devices: list[dict[str, Any]] = [{"id": "721cdab3", "identifiers": [["backup", "backup_manager"]]}]
        self.sounds: list[bytes] = []
        self.runs: list[dict[str, Any]] = []
        self.others: list[str] = []
        self.logins = 0
        self.text, self.speech = "turn on the light", "Turned on the light"
        self.instead: Callable[[web.WebSocketResponse, dict[str, Any]], Awaitable[None]] | None = None
        self.breaks = False
        self.sound_path = "/api/tts_proxy/fTadgw5cd0dgss9fYaMWQw.mp3"
        self.sound = SOUND
        self._woken: dict[str, float] = {}
        self._sockets: set[web.WebSocketResponse] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> FakeHomeAssistant:
        self._thread.start()
        self._on_its_thread(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._on_its_thread(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _on_its_thread(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _start(self) -> None:
        application = web.Application()
        application.router.add_get("/api/websocket", self._serve)
        application.router.add_get("/api/tts_proxy/{name}", self._speak)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        for socket in list(self._sockets):
            await socket.close()
        await self._runner.cleanup()

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self.sound, content_type="audio/mpeg")

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(heartbeat=55)
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            await self._talk(socket)
        finally:
            self._sockets.discard(socket)
        return socket

    async def _talk(self, socket: web.WebSocketResponse) -> None:
        await socket.send_json({"type": "auth_required", "ha_version": "2026.2.3"})
        self.logins += 1
        if (await socket.receive_json()).get("access_token") != TOKEN:
            await socket.send_json({"type": "auth_invalid", "message": "Invalid access token or password"})
            await socket.close()
            return
        await socket.send_json({"type": "auth_ok", "ha_version": "2026.2.3"})
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await self._obey(socket, message.json())

    async def _obey(self, socket: web.WebSocketResponse, command: dict[str, Any]) -> None:
        kind = command["type"]
        if kind == "assist_pipeline/run":
            await self._run(socket, command)
            return
        self.others.append(kind)
        preferred = self.assistants[0]["id"] if self.assistants else None
        results = {
            "get_config": {"state": self.state, "version": "2026.2.3"},
            "assist_pipeline/pipeline/list": {"pipelines": self.assistants, "preferred_pipeline": preferred},
            "config/device_registry/list": self.devices,
            "conversation/prepare": None,
            "conversation/agent/homeassistant/debug": {"results": [None]},
        }
        await _result(socket, command, results[kind])

    async def _run(self, socket: web.WebSocketResponse, command: dict[str, Any]) -> None:
        self.runs.append(command)
        chosen = [one for one in self.assistants if one["id"] == command.get("pipeline", one["id"])]
        engine = chosen[0][f"{command['start_stage']}_engine"]
        if not engine:
            error = {"code": "unknown_error", "message": "Unknown error"}
        elif engine == "stt.gone":
            error = {"code": "stt-provider-missing", "message": "No speech-to-text provider for: stt.gone"}
        else:
            error = None
        if error:
            await socket.send_json({"id": command["id"], "type": "result", "success": False, "error": error})
            return
        await _result(socket, command, None)
        if self.breaks:
            await socket.close()
            return
        handler = 1 if command["start_stage"] == "stt" else None
        data = {"pipeline": chosen[0]["id"], "language": "en", "conversation_id": command.get("conversation_id", "new"),
                "runner_data": {"stt_binary_handler_id": handler, "timeout": 300}}  # fmt: skip
        await _event(socket, command, "run-start", data)
        if handler is None:
            await _event(socket, command, "tts-start", {"tts_input": command["input"]["text"]})
            await _event(socket, command, "tts-end", {"tts_output": {"url": self.sound_path}})
        else:
            await self._hear(socket, command, handler)
        await _event(socket, command, "run-end", None)

    async def _hear(self, socket: web.WebSocketResponse, command: dict[str, Any], handler: int) -> None:
        phrase = command["input"].get("wake_word_phrase")
        if phrase and time.monotonic() - self._woken.get(phrase, -COOLDOWN_S) < COOLDOWN_S:
            message = f"Duplicate wake-up detected for {phrase}"
            await _event(socket, command, "error", {"code": "duplicate_wake_up_detected", "message": message})
            return
        if phrase:
            self._woken[phrase] = time.monotonic()
        await _event(socket, command, "stt-start", {"engine": "stt.test"})
        pcm = bytearray()
        while len(piece := (await socket.receive_bytes())) > 1:
            assert piece[0] == handler
            pcm += piece[1:]
        self.sounds.append(bytes(pcm[: len(pcm) // FRAME_BYTES * FRAME_BYTES]))  # the real one loses what is left
        if self.instead is not None:
            await self.instead(socket, command)
            return
        if not self.text:
            data = {"code": "stt-no-text-recognized", "message": "No text recognized"}
            await _event(socket, command, "error", data)
            return
        await _event(socket, command, "stt-end", {"stt_output": {"text": self.text}})
        await _event(socket, command, "intent-start", {"intent_input": self.text})
        speech = {"plain": {"speech": self.speech, "extra_data": None}}
        output = {"response": {"speech": speech, "response_type": "action_done"},
                  "conversation_id": command.get("conversation_id", "new"), "continue_conversation": False}  # fmt: skip
        await _event(socket, command, "intent-end", {"processed_locally": True, "intent_output": output})


async def _result(socket: web.WebSocketResponse, command: dict[str, Any], result: object) -> None:
    await socket.send_json({"id": command["id"], "type": "result", "success": True, "result": result})


async def _event(socket: web.WebSocketResponse, command: dict[str, Any], kind: str, data: object) -> None:
    event = {"type": kind, "data": data, "timestamp": "2026-11-27T09:20:17.739804+00:00"}
    if not socket.closed:
        await socket.send_json({"id": command["id"], "type": "event", "event": event})
