"""A request goes through Assist as Home Assistant wants it, and whatever is wrong there is one line."""

import asyncio
import contextlib

import pytest
from support.broker import free_port
from support.fake_home_assistant import ASSISTANT, SOUND, TOKEN, FakeHomeAssistant

from device.answering.answer import BackendAwayError, NotAnsweredError, Question, Reply
from device.edges.home_assistant import HomeAssistant, assist, session
from device.errors import ConfigurationError, StoreBusyError

PCM = bytes(range(256)) * 639  # 5.1 s, not a whole number of 10 ms


@pytest.fixture
def house():
    with FakeHomeAssistant() as house:
        yield house


def run(coroutine_of, house, **options):
    """Run what is made of a backend, which is closed behind it."""

    async def whole():
        backend = HomeAssistant(house.url, options.pop("token", TOKEN), **options)
        try:
            return await coroutine_of(backend)
        finally:
            await backend.close()

    return asyncio.run(whole())


def ask(house, phrase="", device="kitchen", commit=lambda: None, **options):
    return run(lambda backend: backend.ask(Question(device, PCM, phrase), commit), house, **options)


def test_the_sound_arrives_whole_and_what_it_is_answered_comes_back(house):
    assert ask(house) == Reply("turn on the light", "Turned on the light")
    (sound,) = house.sounds
    assert sound[: len(PCM)] == PCM
    assert set(sound[len(PCM) :]) <= {0}  # silence, up to a whole frame
    (run_,) = house.runs
    assert run_["input"] == {"sample_rate": 16_000, "no_vad": True}
    assert (run_["start_stage"], run_["end_stage"]) == ("stt", "intent")
    assert not run_.keys() & {"pipeline", "device_id", "conversation_id"}


def test_of_two_devices_that_heard_one_word_one_is_answered(house):
    ask(house, "hey jarvis")
    with pytest.raises(NotAnsweredError, match="another device's request with this wake word came first"):
        ask(house, "hey jarvis", device="hall")
    assert house.runs[0]["input"]["wake_word_phrase"] == "hey jarvis"


def test_a_devices_next_request_goes_on_with_its_conversation(house):
    async def three(backend):
        for device in ("kitchen", "kitchen", "hall"):
            await backend.ask(Question(device, PCM), lambda: None)

    run(three, house)
    assert [one.get("conversation_id") for one in house.runs] == [None, "new", None]


def test_a_device_that_discovery_made_is_named(house):
    house.devices.append({"id": "f00", "identifiers": [["mqtt", "wakeword-kitchen"], ["mqtt"], ["a", "b", "c"]]})

    async def two(backend):
        for device in ("kitchen", "hall"):
            await backend.ask(Question(device, PCM), lambda: None)

    run(two, house, identifier="wakeword-{}")
    assert [one.get("device_id") for one in house.runs] == ["f00", None]
    assert house.others.count("config/device_registry/list") == 1


def test_a_voice_assistant_is_chosen_by_its_name(house):
    house.assistants.append(ASSISTANT | {"id": "second", "name": "Küche"})
    ask(house, pipeline="Küche")
    assert house.runs[0]["pipeline"] == "second"
    with pytest.raises(NotAnsweredError, match="no such voice assistant; it has 'Home Assistant', 'K"):
        ask(house, pipeline="Nix")


def test_the_look_at_it_has_it_load_what_the_first_request_needs_once_for_each_start_of_it():
    port = free_port()

    async def twice_with_a_restart_between(backend):
        for _ in range(2):
            with FakeHomeAssistant(port) as house:
                await backend.check()
                await backend.check()
                seen.append(house.others.count("conversation/prepare"))
            with pytest.raises(BackendAwayError):
                await backend.check()

    seen = []
    with FakeHomeAssistant() as house:
        house.port = port
        run(twice_with_a_restart_between, house)
        house.port = port
    assert seen == [1, 1]


def test_one_that_is_starting_is_away(house):
    house.state = "STARTING"
    for what in (lambda backend: backend.check(), lambda backend: backend.ask(Question("d", PCM), lambda: None)):
        with pytest.raises(BackendAwayError, match="is starting or stopping"):
            run(what, house)
    assert house.runs == []


def test_a_wrong_token_is_a_mistake_of_the_configuration_and_not_shown(house):
    for what in (lambda backend: backend.check(), lambda backend: backend.ask(Question("d", PCM), lambda: None)):
        with pytest.raises(
            ConfigurationError, match=r"refused the token; make a long-lived .* \[answer\] token_file"
        ) as e:
            run(what, house, token="a secret")  # noqa: S106
        assert "a secret" not in str(e.value)


def test_a_voice_assistant_without_speech_to_text_is_said_so(house):
    house.assistants[:] = [ASSISTANT | {"stt_engine": None}]
    for what in (lambda backend: backend.check(), lambda backend: backend.ask(Question("d", PCM), lambda: None)):
        with pytest.raises(NotAnsweredError, match="'Home Assistant' has no speech-to-text; choose one under Settings"):
            run(what, house)


def test_a_speech_to_text_that_is_not_there_now_may_come_back(house):
    house.assistants[:] = [ASSISTANT | {"stt_engine": "stt.gone"}]
    with pytest.raises(BackendAwayError, match="the pipeline's speech-to-text is not there"):
        ask(house)


def test_nothing_understood_is_no_answer(house):
    house.text = ""
    with pytest.raises(NotAnsweredError, match="Home Assistant understood nothing"):
        ask(house)


def test_where_nothing_listens_it_is_away():
    with FakeHomeAssistant() as house:
        pass
    with pytest.raises(
        BackendAwayError, match=r"connection refused; does Home Assistant run\? check \[answer\] home_assis"
    ):
        ask(house)


def test_before_all_of_the_sound_is_there_it_may_be_asked_again(house):
    house.breaks = True
    committed = []
    with pytest.raises(BackendAwayError, match="ended the connection"):
        ask(house, commit=lambda: committed.append(True))
    assert committed == []


def test_once_all_of_the_sound_was_there_it_is_not_asked_again(house):
    async def close(socket, command):
        await socket.close()

    house.instead = close
    with pytest.raises(NotAnsweredError, match="after it had the whole request; not asked again"):
        ask(house)


def test_what_cannot_be_noted_is_not_sent_to_the_end(house):
    def refuse():
        raise StoreBusyError("full")

    with pytest.raises(StoreBusyError):
        ask(house, commit=refuse)
    assert house.sounds == []


def sends(**event):
    async def instead(socket, command):
        await socket.send_json({"id": command["id"], "type": "event", "event": event})

    return instead


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        (sends(type="error", data={"code": "intent-failed", "message": "x"}), "conversation agent failed"),
        (sends(type="error", data={"code": "\x1b[31m" * 100, "message": "x"}), "Home Assistant failed: "),
        (sends(type="error", data=None), "sent something else than Failure"),
        (sends(type="stt-end", data={"stt_output": {"text": 7}}), "sent something else than SttEnd"),
        (sends(type="run-end", data=None), "ended without an answer"),
        (sends(type="stt-end", data={"stt_output": {"text": "x" * 5_000_000}}), "sent a message of over 4000000 bytes"),
    ],
)
def test_what_goes_wrong_in_the_pipeline_is_one_short_line(house, instead, said):
    house.instead = instead
    with pytest.raises(NotAnsweredError) as caught:
        ask(house)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


def test_an_answer_of_a_megabyte_is_taken(house):
    house.speech = "x" * 1_000_000
    assert len(ask(house).speech) == 1_000_000


def test_one_that_never_answers_is_waited_for_only_so_long(house, monkeypatch):
    async def sleep(socket, command):
        await asyncio.sleep(3)

    monkeypatch.setattr(assist, "ANSWER_TIMEOUT_S", 0.5)
    house.instead = sleep
    with pytest.raises(NotAnsweredError, match=r"no answer within 0\.5 s after it had the whole request"):
        ask(house)


def test_what_is_said_comes_as_a_sound_file(house):
    assert run(lambda backend: backend.sound("Turned on the light"), house) == SOUND
    assert house.runs[0]["input"] == {"text": "Turned on the light"}


@pytest.mark.parametrize("path", ["http://elsewhere.invalid/x.mp3", "//elsewhere.invalid/x.mp3", "x.mp3"])
def test_a_speech_from_elsewhere_is_not_fetched(house, path):
    house.sound_path = path
    with pytest.raises(NotAnsweredError, match="gave an address for its speech that is not its own"):
        run(lambda backend: backend.sound("x"), house)


def test_a_speech_that_is_too_large_is_not_fetched_whole(house, monkeypatch):
    monkeypatch.setattr(session, "MOST_SOUND_BYTES", 100_000)
    house.sound = bytes(200_000)
    with pytest.raises(NotAnsweredError, match="gave a speech of over 100000 bytes"):
        run(lambda backend: backend.sound("x"), house)


def test_a_voice_assistant_without_a_voice_is_said_so(house):
    house.assistants[:] = [ASSISTANT | {"tts_engine": None}]
    with pytest.raises(NotAnsweredError, match="'Home Assistant' has no text-to-speech"):
        run(lambda backend: backend.sound("x"), house)


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            NotAnsweredError,
            "answers with status 404; is it Home",
        ),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", BackendAwayError, "answers with status 502"),
        (b"* OK IMAP4rev1\r\n", NotAnsweredError, "answers with status 400"),
        (b"", BackendAwayError, "no answer"),
    ],
)
def test_what_is_no_home_assistant_is_said_so(content, kind, said):
    async def answer(reader, writer):
        with contextlib.suppress(OSError):
            await reader.read(100)
            writer.write(content)
            await writer.drain()
            writer.close()

    async def whole():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        backend = HomeAssistant(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", TOKEN)
        with pytest.raises(kind, match=said):
            await backend.check()
        await backend.close()
        server.close()

    asyncio.run(whole())
