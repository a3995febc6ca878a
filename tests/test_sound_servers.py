"""A microphone behind PulseAudio and behind PipeWire, which give a stream another source as they like."""

from __future__ import annotations

import contextlib
import threading
import time

import numpy as np
import pytest
import soundfile
from support.daemon import Device
from support.sound_servers import MICROPHONE, MONITOR, NAME, SERVERS, desk, missing_programs

from device.edges.microphone import Block, Gap, Hole, Microphone, choose, devices
from device.errors import MicrophoneUnavailableError

RATE_HZ = 16_000
TONES_HZ = (400, 700, 1000, 1300, 1600, 1900)


def servers(*, long=()):
    """Every server as a parameter, those named being for ``scripts/test --long``."""
    for server in SERVERS:
        missing = missing_programs(server)
        skip = pytest.mark.skipif(bool(missing), reason=f"not installed: {' '.join(missing)}")
        yield pytest.param(server, marks=[skip, pytest.mark.long] if server in long else skip)


each_server = pytest.mark.parametrize("server", list(servers()))
each_server_at_length = pytest.mark.parametrize("server", list(servers(long=["PipeWire"])))


@contextlib.contextmanager
def at(server, monkeypatch, channels=1, positions="", rate_hz=RATE_HZ):
    with desk(server, rate_hz, channels, positions) as it:
        for name, value in it.settings.items():
            monkeypatch.setenv(name, value)
        yield it


class Ear:
    """A microphone that is read all the time; ``states`` and ``gaps`` as they come."""

    def __init__(self, name="", channel=1):
        self.states, self.gaps, self.blocks = [], [], []
        self._changed = threading.Condition()
        self.microphone = Microphone(name, channel, on_state=self._note)
        self._ending = False
        self._reader = threading.Thread(target=self._read)

    def _note(self, state):
        with self._changed:
            self.states.append(state)
            self._changed.notify_all()

    def _read(self):
        while not self._ending:
            match self.microphone.read(0.1):
                case Block(samples):
                    self.blocks.append(samples)
                case Gap() as gap:
                    self.gaps.append(gap)
                case Hole(samples):
                    self.blocks.append(np.zeros(samples, np.int16))

    def wait(self, name, holding="", within_s=10.0):
        """Wait for a state, one that is there already included, and forget those before it."""
        with self._changed:
            deadline = time.monotonic() + within_s
            while True:
                while self.states:
                    state = self.states.pop(0)
                    if state.name == name and holding in state.reason:
                        return state
                left_s = deadline - time.monotonic()
                assert left_s > 0, f"no {name} ({holding}) within {within_s} s, now {self.microphone.state}"
                self._changed.wait(left_s)

    def heard(self):
        return np.concatenate([np.zeros(1, np.int16), *self.blocks])

    def __enter__(self):
        self.microphone.start()
        self._reader.start()
        return self

    def __exit__(self, *_):
        self._ending = True
        self._reader.join()
        self.microphone.close()


def strengths(samples, rate_hz=RATE_HZ):
    """How strong each tone is in a signal, by its loudest second."""
    time_s = np.arange(len(samples)) / rate_hz
    found = []
    for tone_hz in TONES_HZ:
        product = samples * np.exp(-2j * np.pi * tone_hz * time_s)
        windows = np.abs(np.convolve(product, np.ones(rate_hz // 4) / (rate_hz // 4), "valid"))
        found.append(2 * float(windows.max(initial=0.0)))
    return np.array(found)


def tone(number, seconds=3.0, level=8_000):
    return level * np.sin(2 * np.pi * TONES_HZ[number] * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)


@contextlib.contextmanager
def speakers_playing(room, tmp_path, seconds=30.0):
    """The loudspeakers play the first tone."""
    soundfile.write(tmp_path / "music.wav", tone(0, seconds).astype(np.int16), RATE_HZ)
    with room.playing(tmp_path / "music.wav", sink="speakers"):
        yield


@each_server
def test_when_the_microphone_goes_the_loudspeakers_are_not_heard_in_its_place(server, monkeypatch, tmp_path):
    with at(server, monkeypatch) as room, speakers_playing(room, tmp_path), Ear() as ear:
        ear.wait("listening")
        room.unplug()
        assert not ear.wait("lost").is_open
        ear.wait("lost", "no microphone")
        time.sleep(3.5)  # it is looked for again at least once meanwhile
        assert ear.microphone.state.name == "lost"
        room.plug()
        ear.wait("listening")
        assert Gap("lost") in ear.gaps
        assert strengths(ear.heard())[0] < 10
        room.play_samples(tone(1).astype(np.int16))
        assert strengths(ear.heard())[1] > 4_000


@each_server
def test_a_stream_moved_to_the_loudspeakers_is_told_and_nothing_of_them_is_heard(server, monkeypatch, tmp_path):
    with at(server, monkeypatch) as room, speakers_playing(room, tmp_path), Ear() as ear:
        for _ in range(2):
            ear.wait("listening")
            room.move(MONITOR)
            ear.wait("lost", "moved the stream from")
        ear.wait("listening")  # although the server remembers where it moved the program's stream
        room.make_default(MONITOR)
        ear.wait("lost", "no microphone")
        room.make_default(MICROPHONE)
        ear.wait("listening")
        assert strengths(ear.heard())[0] < 10


@each_server
def test_a_source_muted_in_the_server_is_lost_but_open_and_back_at_once(server, monkeypatch):
    with at(server, monkeypatch) as room, Ear() as ear:
        ear.wait("listening")
        room.pactl("set-source-mute", MICROPHONE, "1")
        lost = ear.wait("lost", "muted", within_s=2.0)
        assert lost.is_open
        assert "pactl set-source-mute microphone 0" in lost.reason
        delivered = ear.microphone.blocks_delivered
        time.sleep(0.5)
        assert ear.microphone.blocks_delivered > delivered  # so that the watchdog is fed
        room.pactl("set-source-mute", MICROPHONE, "0")
        ear.wait("listening", within_s=2.0)
        assert ear.gaps == []


@each_server_at_length
@pytest.mark.parametrize(
    ("channels", "positions"),
    [
        (2, ""),
        (4, "front-left,front-right,rear-left,rear-right"),
        pytest.param(6, "front-left,front-right,rear-left,rear-right,front-center,lfe", marks=pytest.mark.long),
    ],
)
def test_channel_n_is_channel_n_and_nothing_of_the_others(server, monkeypatch, channels, positions):
    said = np.stack([tone(number, 1.0) for number in range(channels)], axis=1).astype(np.int16)
    with at(server, monkeypatch, channels, positions) as room:
        for channel in range(1, channels + 1):
            with Ear(channel=channel) as ear:
                ear.wait("listening")
                assert ear.microphone.warnings == []
                room.play_samples(said, RATE_HZ, positions)
                found = strengths(ear.heard())
            assert found[channel - 1] > 7_000
            assert np.delete(found, channel - 1).max() < 50, channel
        with pytest.raises(MicrophoneUnavailableError, match=f"has no channel {channels + 1}"):
            choose(devices(), "", channels + 1)


@each_server
def test_where_the_server_can_only_mix_that_is_said(server, monkeypatch):
    with at(server, monkeypatch, 4, "aux0,aux1,aux2,aux3") as room, Ear(channel=3) as ear:
        ear.wait("listening")
        (warning,) = ear.microphone.warnings
        assert "channel 3 cannot be had alone: the sound server mixes the 4 channels" in warning
        room.play_samples(np.stack([tone(0)] * 4, axis=1).astype(np.int16), RATE_HZ, "aux0,aux1,aux2,aux3")
        assert strengths(ear.heard())[0] > 1_000  # but heard it is
        assert next(device for device in devices() if device.is_default).is_mixed


@each_server
@pytest.mark.parametrize("name", [MONITOR, "Loopback"])
def test_a_monitor_that_is_named_is_heard(server, monkeypatch, tmp_path, name):
    with at(server, monkeypatch) as room, speakers_playing(room, tmp_path), Ear(name) as ear:
        ear.wait("listening")
        time.sleep(1.0)
        assert strengths(ear.heard())[0] > 1_000
        assert ear.microphone.stream_format.source.startswith("Monitor of")


@each_server_at_length
def test_a_source_is_chosen_by_its_name_whatever_the_default_is(server, monkeypatch):
    with at(server, monkeypatch) as room:
        room.make_default(MONITOR)
        for name in (MICROPHONE, "remapped"):
            with Ear(name) as ear:
                ear.wait("listening")
                room.play_samples(tone(2).astype(np.int16))
                assert strengths(ear.heard())[2] > 4_000


@each_server_at_length
def test_devices_lists_the_server_s_sources_and_what_the_default_is_now(server, monkeypatch, tmp_path):
    with at(server, monkeypatch, 2) as room:
        found = {device.address or device.label: device for device in devices()}
        assert found["default"].is_default
        assert (found["default"].source, found["default"].max_channels) == (MICROPHONE, 2)
        assert found[NAME].is_tied
        assert not found[MICROPHONE].is_monitor
        assert found[MONITOR].is_monitor
        with contextlib.suppress(MicrophoneUnavailableError):  # by a part of its name a monitor is never meant
            assert not choose(list(found.values()), "monitor of", 1).device.is_monitor
        device = Device(tmp_path)
        device.env |= room.env
        lines = {line[2:].split(":")[0]: line for line in device.call("devices").stdout.splitlines()}
        assert lines["default"].startswith("* ")
        assert f"now {MICROPHONE}" in lines["default"]
        assert "no microphone" in next(line for name, line in lines.items() if MONITOR in name or "peakers" in name)


@each_server_at_length
def test_check_tells_a_monitor_and_a_muted_source_from_a_microphone(server, monkeypatch, tmp_path):
    def row(device):
        return next(line for line in device.call("check").stdout.splitlines() if "microphone  " in line)

    with at(server, monkeypatch) as room, speakers_playing(room, tmp_path):
        device = Device(tmp_path)
        device.env |= room.env
        room.pactl("set-source-mute", MICROPHONE, "1")
        assert "has muted" in row(device)
        room.make_default(MONITOR)
        found = row(device)
        assert found.startswith("FAILED")
        assert "what a loudspeaker plays" in found
