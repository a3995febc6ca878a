"""The daemon's socket: who may ask for what, and that nobody who asks strangely harms it."""

import contextlib
import json
import os
import socket
import threading
from pathlib import Path

import pytest
import soundfile
from support.broker import Broker, Listener, await_true
from support.daemon import Daemon, Device

from device.daemon import masking
from device.daemon.control import Control
from device.daemon.masking import TAIL_S, Masking
from device.edges import control
from device.edges.control import MOST_CLIENTS
from device.errors import MicrophoneUnavailableError, RecorderError
from device.hil.virtual import virtual_microphone
from device.message.envelope import read_wav

REQUEST = Path(__file__).parent / "fixtures" / "hey-jarvis-request.wav"
SPOKEN = soundfile.read(REQUEST, start=40_500, stop=60_000, dtype="int16")[0]  # "turn on the light", no wake word

STATUS = {"microphone": "lost", "reason": "unplugged", "level_dbfs": None}


@pytest.fixture
def pressed():
    return threading.Semaphore(0)


@pytest.fixture
def state_dir(tmp_path):
    folder = tmp_path / ("deep" * 30)  # a socket's own path could not be so long
    folder.mkdir()
    return folder


@pytest.fixture
def server(state_dir, pressed):
    served = Control(state_dir, press=pressed.release, masking=Masking(), status=lambda: STATUS)
    served.start()
    yield served
    served.stop()
    assert served.worker.failure is None


def connection(state_dir):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.settimeout(5)
    folder = os.open(state_dir, os.O_PATH)
    sock.connect(f"/proc/self/fd/{folder}/{control.NAME}")
    os.close(folder)
    return sock


def test_a_press_is_passed_on_and_agreed_to(server, state_dir, pressed):
    control.listen(state_dir)
    assert pressed.acquire(timeout=0)


def test_how_the_microphone_is_is_told_and_nothing_pressed(server, state_dir, pressed):
    assert control.status(state_dir) == {"ok": True, **STATUS}
    assert not pressed.acquire(timeout=0)


def test_without_a_daemon_it_is_said_that_none_runs(state_dir):
    with pytest.raises(RecorderError, match="no wakeword-recorder runs with state folder"):
        control.listen(state_dir)
    with pytest.raises(RecorderError, match="no wakeword-recorder runs with state folder"):
        control.listen(state_dir / "gone")


def test_what_a_killed_daemon_left_counts_for_none_and_is_replaced(state_dir, pressed):
    left = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    folder = os.open(state_dir, os.O_PATH)
    left.bind(f"/proc/self/fd/{folder}/{control.NAME}")
    left.close()
    os.close(folder)
    with pytest.raises(RecorderError, match="no wakeword-recorder runs"):
        control.listen(state_dir)
    served = Control(state_dir, press=pressed.release, masking=Masking(), status=lambda: STATUS)
    served.start()
    control.listen(state_dir)
    served.stop()
    assert list(state_dir.iterdir()) == []


def test_why_nobody_is_heard_comes_back(state_dir):
    def press():
        raise MicrophoneUnavailableError("the microphone is muted", hint="unmute it")

    served = Control(state_dir, press=press, masking=Masking(), status=lambda: STATUS)
    served.start()
    with pytest.raises(MicrophoneUnavailableError) as caught:
        control.listen(state_dir)
    served.stop()
    assert (caught.value.message, caught.value.hint) == ("the microphone is muted", "unmute it")


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"x",
        b"\xff" * 70_000,
        b"[" * 30_000,
        b"[1]",
        b"{}",
        b'{"do": "unmute"}',
        b'{"do": "mask", "own": [1], "for_s": 1.0}',
        b'{"do": "mask", "for_s": 301.0}',
        b'{"do": "mask", "for_s": "x"}',
    ],
)
def test_what_is_no_request_is_refused_and_the_next_one_answered(server, state_dir, pressed, packet):
    with connection(state_dir) as strange:
        strange.send(packet)
        answer = strange.recv(4096)
        assert not answer or "does not know what is asked for" in json.loads(answer)["problem"]
    control.listen(state_dir)
    assert pressed.acquire(timeout=0)


def test_any_number_of_idle_clients_costs_a_bounded_number_of_descriptors(server, state_dir, pressed):
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connection(state_dir)) for _ in range(MOST_CLIENTS)]
        late = stack.enter_context(connection(state_dir))
        assert late.recv(10) == b""  # it is turned away
        assert len(os.listdir("/proc/self/fd")) == before + 2 * len(idle) + 1  # noqa: PTH208
    await_true(lambda: len(os.listdir("/proc/self/fd")) == before)  # noqa: PTH208
    control.listen(state_dir)


class Stream:
    """What a pipeline was asked for, where somebody is heard."""

    def __init__(self):
        self.heard = True
        self.masks = []

    def mark(self, action):
        if self.heard:
            action(self)
        return self.heard

    def mask(self, key, *, samples=None, own=frozenset()):
        self.masks.append((samples, own))
        return ()

    def unmask(self, key, tail_samples):
        self.masks.append(tail_samples)
        return ()


@pytest.fixture
def stream(monkeypatch):
    monkeypatch.setattr(masking, "Pipeline", Stream)
    return Stream()


@pytest.fixture
def played(state_dir, stream):
    """A server that knows of a stream, and what has it know."""
    known = Masking()
    known.mark = stream.mark
    served = Control(state_dir, press=lambda: None, masking=known, status=lambda: STATUS)
    served.start()
    yield served, known
    served.stop()
    assert served.worker.failure is None


def test_what_is_played_is_masked_until_the_player_leaves_and_a_wake_word_interrupts_it(state_dir, stream, played):
    served, _ = played
    with control.playing(state_dir, 2, ["alexa"]) as interrupted:
        assert stream.masks == [(32_000, {"alexa"})]
        assert not interrupted()
        served.interrupt()
        assert interrupted()
        assert not interrupted()
    await_true(lambda: stream.masks[1:] == [round(TAIL_S * 16_000)])
    served.interrupt()  # nobody is told any more


def test_a_sound_of_known_length_needs_nobody_to_stay(state_dir, stream, played):
    control.mask(state_dir, 1)
    assert stream.masks == [(16_000, frozenset())]


def test_what_begins_or_ends_while_nobody_is_heard_is_known_once_somebody_is(state_dir, stream, played):
    _, known = played
    stream.heard = False
    with control.playing(state_dir, 2, []):
        assert stream.masks == []
        stream.heard = True
        for action in known.due():
            action(stream)
        assert stream.masks == [(32_000, frozenset())]
        stream.heard = False
    await_true(lambda: (due := known.due()) and [action(stream) for action in due])
    assert len(stream.masks) == 2
    known.begin("another", 2, frozenset())
    known.end("another")
    known.sound(1)
    assert known.due() == []


def test_only_the_folders_user_may_connect(server, state_dir):
    assert (state_dir / control.NAME).stat().st_mode & 0o777 == 0o600


def test_a_press_counts_as_the_wake_word_and_nothing_before_it_is_kept(tmp_path):
    with Broker(tmp_path) as broker, virtual_microphone() as room:
        device = Device(tmp_path, broker.port)
        listener = Listener(broker.port, "wakeword/kitchen/#")
        with Daemon(device, env=room.settings) as daemon:
            daemon.wait_for("microphone-listening")
            room.play_samples(SPOKEN)  # said before: nobody listens
            done = device.call("listen")
            assert (done.returncode, done.stdout, done.stderr) == (0, "listening\n", "")
            wake = daemon.wait_for("wake")
            room.play_samples(SPOKEN)
            message = listener.next("request/opted-out")
            tag, _ = read_wav(message.payload)
            assert (tag.wake_word, tag.score) == ("button", 1.0)
            assert dict(message.properties["UserProperty"])["wake_word"] == "button"
            assert tag.start_sample >= tag.wake_sample == wake["wake_sample"]
            assert 0.8 < tag.duration_s < 1.6  # all of it, and only once
            device.call("listen")
            assert daemon.wait_for("no-speech")["wake_word"] == "button"


def test_a_muted_microphone_hears_no_button_and_none_that_was_pressed_before_unmuting(tmp_path):
    with virtual_microphone() as room:
        device = Device(tmp_path)
        with Daemon(device, env=room.settings) as daemon:
            daemon.wait_for("microphone-listening")
            device.call("microphone", "mute")
            daemon.wait_for("microphone-muted")
            done = device.call("listen")
            assert (done.returncode, done.stdout) == (69, "")
            assert done.stderr == "error: the microphone is muted; `wakeword-recorder microphone unmute`\n"
            device.call("microphone", "unmute")
            daemon.wait_for("microphone-listening")
            room.play_samples(SPOKEN)
            assert daemon.stop() == 0
        assert not {"wake", "stored", "no-speech"} & {event.get("event") for event in daemon.events}


def test_where_no_daemon_runs_the_command_says_so(tmp_path):
    done = Device(tmp_path).call("listen")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: no wakeword-recorder runs with state folder {tmp_path / 'state'}; ")
    assert done.stderr.count("\n") == 1
