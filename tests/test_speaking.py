"""Answers are said aloud through an output: nothing of them becomes a request, and a wake word interrupts them."""

from __future__ import annotations

import contextlib
import io
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.answering import Answering, Publisher, said
from support.broker import Broker, await_true
from support.daemon import Daemon, Device
from support.fake_home_assistant import TOKEN, FakeHomeAssistant

from device.answering.answer import words_in
from device.edges.microphone.loudspeaker import Sound
from device.errors import MicrophoneUnavailableError, RecorderError
from device.hil.virtual import LOUDSPEAKER, VirtualPair

REQUEST = Path(__file__).parent / "fixtures" / "hey-jarvis-request.wav"
SAID = soundfile.read(REQUEST, dtype="int16")[0]


def file_of(samples, rate_hz=16_000, kind="WAV"):
    memory = io.BytesIO()
    soundfile.write(memory, samples, rate_hz, format=kind)
    return memory.getvalue()


@pytest.fixture
def room():
    with contextlib.closing(VirtualPair()) as room:
        yield room


@contextlib.contextmanager
def house(folder, room, *, speaker=LOUDSPEAKER, recorder=True):
    """A recorder in a room, and an assistant that answers aloud there; gives its parts."""
    (folder / "token").write_text(TOKEN)
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(Broker(folder))
        home = stack.enter_context(FakeHomeAssistant())
        backend = f'home_assistant = "{home.url}"\ntoken_file = "{folder / "token"}"'
        lines = f'{backend}\nspeaker = "{speaker}"\ndevices = ["hall"]'
        command = stack.enter_context(Answering(folder, broker.port, lines, env=room.settings))
        daemon = stack.enter_context(Daemon(command.device, env=room.settings)) if recorder else None
        if daemon:
            daemon.wait_for("microphone-listening")
        hall = stack.enter_context(Publisher(broker.port))
        yield home, command, daemon, hall


def test_an_answer_that_holds_the_wake_word_is_no_request_and_somebodys_wake_word_is_one_again(tmp_path, room):
    with house(tmp_path, room) as (home, command, daemon, hall):
        home.speech, home.sound = "You said: Hey, Jarvis! Turn on the light.", file_of(SAID)
        tag = hall.say(said(device="hall"))
        assert command.await_event("spoken")["id"] == tag.id
        # A model may fire a second late at what was played, and a mask ends a moment after it.
        room.play_samples(np.concatenate([np.zeros(24_000, np.int16), SAID]))
        daemon.wait_for("stored")
        daemon.stop()
    heard = [event["event"] for event in daemon.events if event["event"] in ("wake", "stored", "no-speech")]
    assert heard == ["wake", "stored"]


def test_somebodys_wake_word_interrupts_the_answer_and_what_is_said_next_is_a_request(tmp_path, room):
    with house(tmp_path, room) as (home, command, daemon, hall):
        hum = np.random.default_rng(3).normal(0, 30, 40 * 16_000).astype(np.int16)
        home.speech, home.sound = "Hum", file_of(hum)
        hall.say(said(device="hall"))
        await_true(lambda: len(room.listeners()) and playing(room), "it plays")
        room.play_samples(SAID[:36_500])  # the wake word
        command.await_event("interrupted")
        assert not command.events("spoken")
        room.play_samples(SAID[38_000:])
        stored = daemon.wait_for("stored")
        daemon.stop()
    assert 0.8 < stored["duration_s"] < 1.6
    assert [event["event"] for event in daemon.events].count("wake") == 1


def playing(room):
    """Whether anything plays into the room."""
    command = ["pactl", "list", "short", "sink-inputs"]
    return subprocess.run(command, env=room.env, capture_output=True, text=True, check=True).stdout


def test_without_a_recorder_it_is_said_all_the_same_and_an_output_that_is_not_there_is_named(tmp_path, room):
    with house(tmp_path, room, recorder=False) as (home, command, _, hall):
        home.sound = file_of(SAID[:8_000], kind="MP3")
        hall.say(said(device="hall"))
        command.await_event("spoken")
        hall.say(said(device="hall", wake_word="another"))
        command.await_event("spoken", 2)
        assert command.stop() == 0
    assert [line["level"] for line in command.events("not-masked")] == ["info"]
    (tmp_path / "another").mkdir()
    with house(tmp_path / "another", room, speaker="no such thing", recorder=False) as (home, command, _, hall):
        home.sound = file_of(SAID[:8_000])
        hall.say(said(device="hall"))
        line = command.await_event("not-spoken")
        assert command.stop() == 0
    assert line["message"].startswith("[answer] speaker = 'no such thing': no output device has 'no such thing' in its")
    assert LOUDSPEAKER in line["message"]


def test_what_is_no_sound_file_is_one_line():
    with pytest.raises(RecorderError, match="what is to be played is no sound file: "):
        Sound(b"ID3 what is said")


def test_a_sound_of_any_rate_and_channels_is_played_to_its_end_and_stops_at_once_where_somebody_says_so(
    room, monkeypatch
):
    for name, value in room.settings.items():
        monkeypatch.setenv(name, value)
    stereo = np.zeros((11_025, 2), np.int16)
    sound = Sound(file_of(stereo, 22_050))
    assert sound.seconds == 0.5
    assert sound.play("virtual loud", lambda: False)
    with pytest.raises(MicrophoneUnavailableError, match="OutputStream"):
        sound.play("default", lambda: False)  # here it is a microphone
    stop = threading.Event()
    stop.set()
    assert not Sound(file_of(np.zeros(160_000, np.int16))).play("virtual loud", stop.is_set)


@pytest.mark.parametrize(
    ("speech", "found"),
    [
        ("Hey, Jarvis!", ["hey_jarvis"]),
        ("they Jarvis", []),
        ("The computer's on.", ["computer"]),
        ("computers", []),
        ("HEY JARVIS alexandra", ["hey_jarvis"]),
        ("", []),
    ],
)
def test_the_wake_words_in_a_speech_are_found_however_they_are_written(speech, found):
    assert words_in(speech, ["hey_jarvis", "alexa", "computer"]) == found


def test_a_speaker_without_a_voice_is_refused(tmp_path):
    done = Device(tmp_path, answer='wyoming = "tcp://127.0.0.1:1"\nspeaker = "default"').call("answer")
    assert done.returncode == 78
    assert "[answer] speaker = 'default': only Home Assistant has a voice; set home_assistant" in done.stderr
