"""A request becomes text by a real Wyoming server; whatever another one sends is bounded and explained."""

import asyncio
import json
import socket
import threading
import time

import pytest
from support.broker import free_port
from support.speech_to_text import SpeechToText

from device.answering.answer import BackendAwayError, NotAnsweredError, Question, Reply
from device.edges import wyoming
from device.edges.wyoming import Wyoming
from device.errors import StoreBusyError

PCM = bytes(range(256)) * 700  # 5.6 s, not a whole number of chunks


def ask(server, pcm=PCM, commit=lambda: None):
    return asyncio.run(server.ask(Question("kitchen", pcm), commit))


def test_the_sound_arrives_whole_and_its_text_comes_back():
    committed = []
    with SpeechToText(lambda pcm: " turn on the light\n") as server:
        backend = Wyoming("127.0.0.1", server.port)
        asyncio.run(backend.check())
        assert ask(backend, commit=lambda: committed.append(True)) == Reply("turn on the light")
    assert server.sounds == [PCM]
    assert server.languages == [None]
    assert committed == [True]


def test_the_language_is_passed_on():
    with SpeechToText() as server:
        ask(Wyoming("127.0.0.1", server.port, language="de"))
    assert server.languages == ["de"]


def test_many_are_asked_at_once():
    together = threading.Barrier(5, timeout=10)

    def understand(pcm):
        together.wait()
        return str(len(pcm))

    async def all_of(backend):
        return await asyncio.gather(*(backend.ask(Question("d", bytes(2 * n)), lambda: None) for n in range(1, 6)))

    with SpeechToText(understand) as server:
        replies = asyncio.run(all_of(Wyoming("127.0.0.1", server.port)))
    assert [reply.text for reply in replies] == [str(2 * n) for n in range(1, 6)]


def test_what_cannot_be_noted_is_not_answered():
    def refuse():
        raise StoreBusyError("full")

    with SpeechToText() as server, pytest.raises(StoreBusyError):
        ask(Wyoming("127.0.0.1", server.port), commit=refuse)


def test_where_nothing_listens_it_is_away():
    with pytest.raises(BackendAwayError, match=r"tcp://127.0.0.1:\d+: connection refused; does the speech-to-text run"):
        ask(Wyoming("127.0.0.1", free_port()))


def test_a_name_that_nobody_knows_is_said_so():
    with pytest.raises(BackendAwayError, match="the name cannot be resolved"):
        ask(Wyoming("no.such.host.invalid", 10300))


def test_silence_is_no_answer():
    with SpeechToText(lambda pcm: "  ") as server, pytest.raises(NotAnsweredError, match="understood nothing"):
        ask(Wyoming("127.0.0.1", server.port))


class Stranger:
    """A server that sends the same bytes to everybody, and then closes, or not."""

    def __init__(self, content, *, closes=True):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._content = content
        self._closes = closes
        self._open = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
                connection.recv(100)
                connection.sendall(self._content)
            except OSError:
                return
            if self._closes:
                connection.close()
            self._open.append(connection)

    def __enter__(self):
        return Wyoming("127.0.0.1", self.port)

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)  # ends its thread's wait
        self._listener.close()
        for connection in self._open:
            connection.close()


def event(kind, **fields):
    return json.dumps({"type": kind, **fields}).encode() + b"\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "speaks no Wyoming: what should be JSON is none"),
        (b"[]\n", "a JSON object is missing"),
        (b"[" * 60_000 + b"\n", "what should be JSON is none"),
        (b"x" * 70_000 + b"\n", "speaks no Wyoming"),
        (event("transcript", data=[]), "a JSON object is missing"),
        (event("transcript", data_length=2_000_000_000), "an event of 2000000000 bytes; at most 1000000 are read"),
        (event("x", payload_length=-1), "an event of -1 bytes"),
        (event("x", payload_length="9"), "an event of '9' bytes"),
        (event("transcript", data={"text": 5}), "understood nothing"),
        (event("error", data={"text": "\x1b[31m"}), "answered with an error; its log says more"),
    ],
)
def test_what_is_no_transcript_is_one_line(content, said):
    with Stranger(content, closes=False) as backend, pytest.raises(NotAnsweredError) as caught:
        ask(backend)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("content", [b"", b'{"type": "transcr', event("transcript", data_length=9) + b"{}"])
def test_one_that_breaks_off_may_be_asked_again(content):
    with Stranger(content) as backend, pytest.raises(BackendAwayError, match="ended the connection before it answered"):
        ask(backend)


def test_events_of_other_kinds_are_passed_over():
    content = event("x", payload_length=3) + b"abc" + event("transcript-chunk", data={"text": "no"})
    text = b'{"text": "yes"}'
    with Stranger(content + event("transcript", data_length=len(text)) + text, closes=False) as backend:
        assert ask(backend) == Reply("yes")


def test_one_that_never_answers_is_waited_for_only_so_long(monkeypatch):
    monkeypatch.setattr(wyoming, "ANSWER_TIMEOUT_S", 0.2)
    monkeypatch.setattr(wyoming, "CONNECT_TIMEOUT_S", 0.2)
    began_s = time.monotonic()
    with Stranger(b"", closes=False) as backend:
        with pytest.raises(NotAnsweredError, match=r"no transcript within 0\.2 s"):
            ask(backend)
        with pytest.raises(BackendAwayError, match=r"does not say within 0\.2 s what it is"):
            asyncio.run(backend.check())
    assert time.monotonic() - began_s < 5


def test_a_server_that_only_speaks_is_told_from_one_that_listens():
    with (
        Stranger(event("info", data={"asr": [], "tts": [{}]}), closes=False) as backend,
        pytest.raises(NotAnsweredError, match="has no speech-to-text"),
    ):
        asyncio.run(backend.check())
