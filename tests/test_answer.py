"""The command ``answer``: each request is answered once, whatever fails meanwhile, and nothing of it is kept."""

import contextlib
import json
import signal
import threading

import pytest
from support.answering import PCM, Answering, Publisher, said
from support.broker import Broker, await_true, free_port, listening
from support.daemon import Device
from support.fake_home_assistant import ASSISTANT, TOKEN, FakeHomeAssistant
from support.publisher import sent
from support.speech_to_text import SpeechToText

from device import build_answer
from device.config import settings as config
from device.edges import program
from device.edges.flac import flac
from device.message.discovery import identifier
from device.message.envelope import wav
from device.message.review import Review

ANSWERS = "wakeword/+/answer"
OPEN = Review(opt_out=False, choice="user", revision=4, changed_at="2026-01-01T00:00:00.000Z")


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path) as broker:
        yield broker


@pytest.fixture
def server():
    with SpeechToText() as server:
        yield server


def wyoming(server, more="arbitration_s = 0"):
    return f'wyoming = "{server.url}"\n{more}'


@contextlib.contextmanager
def house(folder, broker, answer, **settings):
    """The command, a device, and somebody who listens to the answers."""
    with (
        listening(broker.port, ANSWERS) as listener,
        Publisher(broker.port) as device,
        Answering(folder, broker.port, answer, **settings) as command,
    ):
        yield command, device, listener


def ids(heard):
    return [json.loads(message.payload)["id"] for message in heard]


def until_idle(command, device, listener):
    """Return the answers that came before the one to a request that is said now."""
    last = device.say(said(wake_word="another"))  # which nobody takes for a repeat
    heard = []
    while (message := listener.next()) and json.loads(message.payload)["id"] != last.id:
        heard.append(message)
    return heard


@pytest.mark.parametrize("encode", [wav, flac])
@pytest.mark.parametrize("review", [OPEN, Review(opt_out=True, choice="default", revision=0, changed_at=None)])
def test_a_request_is_answered_under_its_devices_topic_whatever_its_format_and_tag(
    tmp_path, broker, server, encode, review
):
    with house(tmp_path, broker, wyoming(server)) as (command, device, listener):
        tag = device.say(said(review=review), encode=encode)
        heard = listener.next()
        command.await_event("answered")
    assert (heard.topic, heard.retain) == ("wakeword/kitchen/answer", False)
    answer = json.loads(heard.payload)
    assert 0 < answer.pop("took_s") < 5
    assert answer == {"id": tag.id, "text": "turn on the light", "speech": "", "backend": "wyoming"}
    assert server.sounds == [PCM]


def test_nothing_of_a_request_or_its_answer_is_kept_or_logged(tmp_path, broker, server):
    server.understand = lambda pcm: "Xylophon Quark"
    with house(tmp_path, broker, wyoming(server), log='level = "debug"') as (command, device, listener):
        tag = device.say(said())
        assert b"Xylophon" in listener.next().payload
        command.await_event("answered")
        command.stop()
    assert "Xylophon" not in json.dumps(command.said)
    kept = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert {path.name: path.read_text() for path in kept if path.name == "answered"} == {"answered": f"{tag.id}\n"}
    assert all(PCM[:64] not in path.read_bytes() and b"Xylophon" not in path.read_bytes() for path in kept)


def test_a_repeat_is_not_answered_again_not_even_after_a_restart(tmp_path, broker, server):
    with house(tmp_path, broker, wyoming(server)) as (command, device, listener):
        tag = device.say(said())
        listener.next()
        device.say(tag)
        command.await_event("answered")
        command.stop()
        command.start()
        device.say(tag)
        assert until_idle(command, device, listener) == []
    assert len(server.sounds) == 2


@pytest.mark.parametrize("waited_s", [20.1, None])
def test_what_is_too_old_is_refused_with_the_reason(tmp_path, broker, server, waited_s):
    with house(tmp_path, broker, wyoming(server)) as (command, device, listener):
        device.say(said(waited_s=waited_s))
        assert until_idle(command, device, listener) == []
        line = command.await_event("too-old")
    assert line["level"] == "warning"
    assert "max_age_s = 20" in line["message"]


def test_what_is_no_request_is_refused_and_does_not_come_again(tmp_path, broker, server):
    with house(tmp_path, broker, wyoming(server)) as (command, device, listener):
        parts = sent(said(), PCM)
        device.publish(parts.__class__(parts.topic, b"\x1b[31m", parts.content_type, parts.user_properties))
        assert until_idle(command, device, listener) == []
        assert command.await_event("refused")["message"].isprintable()
        command.stop()
        command.start()
        until_idle(command, device, listener)
    assert len(command.events("refused")) == 1


def test_only_the_named_devices_are_answered(tmp_path, broker, server):
    with house(tmp_path, broker, wyoming(server, 'arbitration_s = 0\ndevices = ["kitchen", "hall"]')) as parts:
        _, device, _ = parts
        device.say(said(device="cellar"))
        hall = device.say(said(device="hall"))
        assert ids(until_idle(*parts)) == [hall.id]
    assert len(server.sounds) == 2


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_requests_wait_on_the_broker_while_the_command_is_away(tmp_path, broker, server, protocol):
    mqtt = f'protocol = "{protocol}"'
    with house(tmp_path, broker, wyoming(server), mqtt=mqtt) as (command, device, listener):
        first = device.say(said())
        assert ids([listener.next()]) == [first.id]
        command.await_event("answered")
        command.stop(kill=True)
        away = [device.say(said()) for _ in range(3)]
        command.start()
        assert set(ids(listener.next() for _ in away)) == {tag.id for tag in away}
    assert len(server.sounds) == 4


def test_requests_wait_while_the_backend_is_away_which_is_said_once(tmp_path, broker):
    port = free_port()
    with house(tmp_path, broker, f'wyoming = "tcp://127.0.0.1:{port}"\narbitration_s = 0') as (
        command,
        device,
        listener,
    ):
        tags = [device.say(said()) for _ in range(3)]
        command.await_event("backend-away")
        with SpeechToText(port=port):
            assert set(ids(listener.next() for _ in tags)) == {tag.id for tag in tags}
        command.await_event("answered", 3)
    assert len(command.events("backend-away")) == 1


def test_a_request_that_waited_too_long_for_the_backend_is_refused(tmp_path, broker):
    port = free_port()
    answer = f'wyoming = "tcp://127.0.0.1:{port}"\narbitration_s = 0\nmax_age_s = 1'
    with house(tmp_path, broker, answer) as (command, device, listener):
        tag = device.say(said())
        assert command.await_event("too-old")["id"] == tag.id
        with SpeechToText(port=port):
            assert until_idle(command, device, listener) == []


def test_requests_of_several_devices_are_asked_at_once(tmp_path, broker, server):
    together = threading.Barrier(3, timeout=10)
    server.understand = lambda pcm: f"number {together.wait()}"
    with house(tmp_path, broker, wyoming(server)) as (_, device, listener):
        tags = [device.say(said(device=name)) for name in ("kitchen", "hall", "cellar")]
        assert set(ids(listener.next() for _ in tags)) == {tag.id for tag in tags}


def test_of_two_devices_that_heard_one_word_the_better_is_answered(tmp_path, broker, server):
    with house(tmp_path, broker, wyoming(server, "arbitration_s = 2")) as (command, device, listener):
        device.say(said(device="kitchen", score=0.6))
        best = device.say(said(device="hall", score=0.9))
        assert ids([listener.next()]) == [best.id]
        assert command.await_event("outdone")["device"] == "kitchen"
    assert len(server.sounds) == 1


def test_a_broker_that_restarts_meanwhile_gets_the_answer_once(tmp_path, server):
    answering = threading.Event()
    server.understand = lambda pcm: f"done {answering.wait(10)}"
    broker = Broker(tmp_path, "persistence true", f"persistence_location {tmp_path}/")
    with broker, Answering(tmp_path, broker.port, wyoming(server)) as command:
        with Publisher(broker.port) as device:
            tag = device.say(said())
        await_true(lambda: server.sounds, "the sound is there")
        broker.stop()
        command.await_event("broker-lost")
        answering.set()
        command.await_event("answered")
        broker.start()
        command.await_event("subscribed", 2)
        with listening(broker.port, ANSWERS) as listener, Publisher(broker.port) as device:
            # The first answer may have gone before anybody listened; a second one must not come.
            assert set(ids(until_idle(command, device, listener))) <= {tag.id}
    assert len(server.sounds) == 2


def test_asked_to_stop_it_waits_for_what_has_been_asked(tmp_path, broker, server):
    answering = threading.Event()
    server.understand = lambda pcm: f"done {answering.wait(10)}"
    with house(tmp_path, broker, wyoming(server)) as (command, device, listener):
        tag = device.say(said())
        await_true(lambda: server.sounds, "the sound is there")
        command.process.send_signal(signal.SIGTERM)
        answering.set()
        assert ids([listener.next()]) == [tag.id]
        assert command.ended() == 0
        command.start()
        assert until_idle(command, device, listener) == []


def test_an_access_list_that_forbids_the_answer_is_said_and_nothing_is_asked_twice(tmp_path, server):
    broker = Broker(tmp_path)
    broker.settings.append(broker.acl_file("topic write wakeword/+/request/+\ntopic read wakeword/+/request/+\n"))
    with broker, Answering(tmp_path, broker.port, wyoming(server)) as command, Publisher(broker.port) as device:
        device.say(said())
        assert "must let this login write wakeword/+/answer" in command.await_event("answer-refused")["message"]
        command.stop()
        command.start()
        device.say(said())
        command.await_event("answered", 2)
    assert len(server.sounds) == 2


def test_it_has_a_login_of_its_own(tmp_path, server):
    broker = Broker(tmp_path, anonymous=False)
    broker.settings.append(broker.password_file(assistant="one word", kitchen="another"))
    (tmp_path / "password").write_text("one word\n")
    login = f'username = "assistant"\npassword_file = "{tmp_path / "password"}"\narbitration_s = 0'
    kitchen = {"username": "kitchen", "password": "another"}
    with (
        broker,
        Answering(tmp_path, broker.port, wyoming(server, login)) as command,
        Publisher(broker.port, **kitchen) as device,
    ):
        device.say(said())
        command.await_event("answered")


# --- Home Assistant ---


@pytest.fixture
def home():
    with FakeHomeAssistant() as home:
        yield home


def assist(folder, home, more="", token=TOKEN):
    (folder / "token").write_text(f"{token}\n")
    return f'home_assistant = "{home.url}"\ntoken_file = "{folder / "token"}"\n{more}'


def test_home_assistants_answer_is_published_with_what_it_says(tmp_path, broker, home):
    with house(tmp_path, broker, assist(tmp_path, home)) as (_, device, listener):
        tag = device.say(said())
        answer = json.loads(listener.next().payload)
    assert 0 < answer.pop("took_s") < 5
    assert answer == {
        "id": tag.id, "text": "turn on the light", "speech": "Turned on the light", "backend": "home-assistant",
    }  # fmt: skip
    assert home.sounds[0][: len(PCM)] == PCM


def test_of_two_devices_one_is_answered_and_the_same_devices_next_request_is(tmp_path, broker, home):
    with house(tmp_path, broker, assist(tmp_path, home)) as (command, device, listener):
        first = device.say(said())
        device.say(said(device="hall"))
        command.await_event("unanswered")
        second = device.say(said())
        assert ids([listener.next(), listener.next()]) == [first.id, second.id]
    assert "came first" in command.events("unanswered")[0]["message"]


def test_a_restart_of_home_assistant_loses_nothing_and_asks_nothing_twice(tmp_path, broker):
    port = free_port()
    with FakeHomeAssistant(port) as home:
        command = Answering(tmp_path, broker.port, assist(tmp_path, home))
        command.start()
        command.await_event("backend-ready")
    with command_ended(command), listening(broker.port, ANSWERS) as listener, Publisher(broker.port) as device:
        tags = [device.say(said()) for _ in range(3)]
        command.await_event("backend-away")
        with FakeHomeAssistant(port) as home:
            home.state = "STARTING"
            await_true(lambda: home.logins > 1, "it looks at it")
            home.state = "RUNNING"
            assert set(ids(listener.next() for _ in tags)) == {tag.id for tag in tags}
            assert until_idle(command, device, listener) == []
            assert len(home.sounds) == 4


@contextlib.contextmanager
def command_ended(command):
    try:
        yield
    finally:
        command.__exit__()


def test_a_request_that_may_have_been_obeyed_is_not_asked_again(tmp_path, broker, home):
    async def close(socket, command):
        home.instead = None
        await socket.close()

    home.instead = close
    with house(tmp_path, broker, assist(tmp_path, home)) as (command, device, listener):
        tag = device.say(said())
        assert "may have been obeyed" in command.await_event("unanswered")["message"]
        device.say(tag)
        assert until_idle(command, device, listener) == []
    assert len(home.sounds) == 2


def test_killed_while_home_assistant_thinks_it_does_not_ask_again(tmp_path, broker, home):
    async def think(socket, command):
        home.instead = None
        await socket.receive()

    home.instead = think
    with house(tmp_path, broker, assist(tmp_path, home)) as (command, device, listener):
        device.say(said())
        await_true(lambda: home.sounds, "the sound is there")
        command.stop(kill=True)
        command.start()
        assert until_idle(command, device, listener) == []
    assert len(home.sounds) == 2


def test_a_refused_token_ends_it_with_one_line_and_is_not_tried_again(tmp_path, broker, home):
    command = Answering(tmp_path, broker.port, assist(tmp_path, home, token="wrong one"))  # noqa: S106
    done = command.device.call("answer")
    assert (done.returncode, done.stdout) == (78, "")
    assert "refused the token" in done.stderr.splitlines()[-1]
    assert "wrong one" not in done.stderr
    assert home.logins == 1


def test_a_voice_assistant_that_hears_nothing_is_said_once_and_its_requests_are_done_with(tmp_path, broker, home):
    home.assistants[:] = [ASSISTANT | {"stt_engine": None}]
    with house(tmp_path, broker, assist(tmp_path, home)) as (command, device, _):
        assert "has no speech-to-text" in command.await_event("backend-away")["message"]
        for _ in range(2):
            device.say(said())
        command.await_event("unanswered", 2)
        looks = home.logins
        await_true(lambda: home.logins > looks, "it looks at it again")
        assert len(command.events("backend-away")) == 1


def test_an_answer_of_a_megabyte_is_published_cut(tmp_path, broker, home):
    home.speech = "x" * 1_000_000
    with house(tmp_path, broker, assist(tmp_path, home)) as (_, device, listener):
        device.say(said())
        assert len(json.loads(listener.next().payload)["speech"]) == 10_000


def test_home_assistant_is_told_which_device_it_was_where_discovery_has_made_one(tmp_path, broker, home):
    home.devices.append({"id": "f00", "identifiers": [["mqtt", identifier("wakeword", "hall")]]})
    with house(tmp_path, broker, assist(tmp_path, home)) as (_, device, listener):
        for name, word in (("hall", "hey_jarvis"), ("kitchen", "alexa")):
            device.say(said(device=name, wake_word=word))
            listener.next()
    assert [one.get("device_id") for one in home.runs] == ["f00", None]


def test_the_hook_of_an_answer_is_told_what_is_published(tmp_path, broker, home):
    hook = f'on_answer = ["sh", "-c", "cat >> {tmp_path}/told"]'
    with house(tmp_path, broker, assist(tmp_path, home), hooks=hook) as (_, device, listener):
        published = []
        for _ in range(2):
            device.say(said())
            published.append(listener.next().payload)
        await_true(lambda: (tmp_path / "told").exists() and (tmp_path / "told").read_bytes().count(b"\n") == 2)
    assert (tmp_path / "told").read_bytes().splitlines() == published
    assert json.loads(published[0])["text"] == "turn on the light"
    assert json.loads(published[0])["speech"] == "Turned on the light"


def test_a_hook_that_hangs_keeps_no_answer_waiting_and_is_said_once(tmp_path, broker, server):
    hook = 'on_answer = ["sleep", "60"]\ntimeout_s = 0.1'
    with house(tmp_path, broker, wyoming(server), hooks=hook) as (command, device, listener):
        for _ in range(2):
            device.say(said())
            listener.next()
        assert "[hooks] on_answer: not done within 0.1 s; ended" in command.await_event("hook-failed")["message"]
        assert command.stop() == 0
    assert len(command.events("hook-failed")) == 1


def test_the_end_of_a_hooks_thread_is_logged(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(program, "run", lambda *_, **__: 1 / 0)
    settings = config.load(Device(tmp_path, hooks='on_answer = ["true"]').config)
    with contextlib.ExitStack() as stack:
        (take,) = build_answer.hook(settings, stack)
        take(b"{}")
    assert "the thread of hook on_answer has ended: ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("answer", "status", "complaint"),
    [
        ("", 78, '[answer] names nobody who answers: home_assistant = "http://homeassistant.local:8123", or'),
        ('home_assistant = "http://127.0.0.1:1"', 78, "[answer] token_file is missing: a file with the token alone"),
        (
            'home_assistant = "http://127.0.0.1:1"\ntoken_file = "nowhere"',
            78,
            "cannot be read (No such file or directory); a file with the token alone",
        ),
        (
            'wyoming = "tcp://127.0.0.1:1"\nusername = "a"\npassword_file = "nowhere"',
            78,
            "[answer] password_file = ",
        ),
    ],
)
def test_what_is_missing_is_one_line(tmp_path, answer, status, complaint):
    done = Answering(tmp_path, 1, answer).device.call("answer")
    assert (done.returncode, done.stdout) == (status, "")
    (line,) = done.stderr.splitlines()
    assert complaint in line


def test_two_for_one_state_folder_do_not_run(tmp_path, broker, server):
    with Answering(tmp_path, broker.port, wyoming(server)) as command:
        done = command.device.call("answer")
    assert done.returncode == 1
    assert "another wakeword-recorder" in done.stderr


def test_without_a_broker_it_says_so_once_and_waits(tmp_path, server):
    broker = Broker(tmp_path)
    command = Answering(tmp_path, broker.port, wyoming(server)).start(ready=False)
    try:
        assert "nothing listens there" in command.await_event("broker-lost")["message"]
        with broker:
            command.await_event("subscribed")
        assert command.stop() == 0
    finally:
        command.__exit__()
    assert len({line["message"] for line in command.events("broker-lost")}) == len(command.events("broker-lost"))
