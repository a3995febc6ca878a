"""The microphone on the real PortAudio, ALSA and PulseAudio; how it breaks is in faults/test_microphone_faults.py."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.edges.microphone import Block, Gap, Microphone, StreamFormat, devices
from device.edges.microphone.blocks import QUEUE_S, BlockQueue, Converter, Hole, Mark, Missing, RawBlock
from device.hil.virtual import NAME, virtual_microphone

NOISE = np.random.default_rng(1).integers(-9000, 9000, 16_000).astype(np.int16)
MARK = Mark(print)
NOISE[0] = 9000  # so that its beginning is found among the silence around it


@pytest.fixture(scope="module")
def room():
    with virtual_microphone() as microphone, pytest.MonkeyPatch.context() as patch:
        for name, value in microphone.settings.items():
            patch.setenv(name, value)
        yield microphone


@pytest.fixture
def listen(room):
    """Start a microphone and wait for its first state; what it hears is read by ``hear``."""
    started = []

    def listen(name="", channel=1, **settings):
        states = queue.Queue()
        microphone = Microphone(name, channel, on_state=states.put, **settings)
        started.append(microphone)
        microphone.start()
        return microphone, states

    yield listen
    for microphone in started:
        microphone.close()


def next_state(states):
    return states.get(timeout=10)


def hear(microphone, samples):
    """Read until this many samples after the first loud one have come; return them and the gaps met."""
    heard, gaps = np.empty(0, np.int16), []
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        item = microphone.read(1.0)
        if isinstance(item, Block):
            heard = np.concatenate([heard, item.samples])
            loud = np.flatnonzero(heard)
            if len(loud) and len(heard) >= loud[0] + samples:
                return heard[loud[0] : loud[0] + samples], gaps
        elif item is not None:
            gaps.append(item)
    raise AssertionError(f"only {len(heard)} samples came, and the gaps {gaps}")


def test_devices_are_listed_with_rates_and_the_default_is_marked(room):
    found = {device.label: device for device in devices()}
    assert set(found) == {NAME, "default"}
    assert found["default"].is_default
    assert not found[NAME].is_default
    assert {16_000, 44_100, 48_000} <= set(found[NAME].rates_hz)
    assert found[NAME].max_channels >= 1


def test_what_is_said_is_heard_sample_for_sample(room, listen):
    microphone, states = listen("virtual MICRO")
    assert next_state(states).name == "listening"
    room.play_samples(NOISE)
    heard, gaps = hear(microphone, len(NOISE))
    np.testing.assert_array_equal(heard, NOISE)
    assert gaps == []
    assert microphone.source_name == f"mic:{NAME}"
    assert microphone.stream_format == StreamFormat(NAME, 16_000, 1, source="Remapped Monitor of Null Output")
    assert microphone.blocks_delivered * 1280 >= len(NOISE)


def test_without_a_name_the_system_s_default_is_heard(listen):
    microphone, states = listen()
    assert next_state(states).name == "listening"
    assert microphone.source_name == "mic:default"


def test_a_chosen_channel_is_heard_alone(monkeypatch):
    with virtual_microphone(channels=2) as room:
        for name, value in room.settings.items():
            monkeypatch.setenv(name, value)
        states = queue.Queue()
        with Microphone(NAME, 2, on_state=states.put) as microphone:
            assert next_state(states).name == "listening"
            room.play_samples(np.stack([NOISE[::-1], NOISE], axis=1))
            heard, _ = hear(microphone, len(NOISE))
    np.testing.assert_array_equal(heard, NOISE)


@pytest.mark.parametrize("channel", [1, 2])
def test_alsa_s_own_plug_in_mixes_nothing_into_the_chosen_channel(monkeypatch, tmp_path, channel):
    """As on a Pi without a sound server, whose default is such a plug-in: asked for one channel it gives the mean."""
    np.tile(np.array([1_000, 3_000], "<i2"), 16_000).tofile(tmp_path / "card.raw")
    (tmp_path / "alsa.conf").write_text(f"""
pcm.card {{ type file slave.pcm {{ type null }} file "/dev/null" infile "{tmp_path}/card.raw" format "raw" }}
pcm.default {{ type plug slave {{ pcm "card" format S16_LE channels 2 rate 16000 }} }}
ctl.default {{ type null }}
""")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "alsa.conf"))
    monkeypatch.setenv("PULSE_SERVER", "unix:/nonexistent")
    with Microphone("", channel) as microphone:
        while not isinstance(block := microphone.read(1.0), Block):  # nothing paces this card: it overflows
            pass
    assert set(block.samples) == {(1_000, 3_000)[channel - 1]}


def test_a_name_that_is_no_utf_8_is_shown_escaped_and_hides_no_other(room, tmp_path, monkeypatch):
    """The kernel cuts a card's name at 31 bytes, also inside a character; a device may also name itself in colours."""
    odd = [("x" * 30 + "\xe9").encode()[:31], b"\xff\xfe", b"\x1b[31mred"]
    given = Path(room.settings["ALSA_CONFIG_PATH"]).read_bytes()
    first = given.split(b"\n")[1]
    configuration = tmp_path / "alsa.conf"
    configuration.write_bytes(b"\n".join([given, *(first.replace(NAME.encode(), name) for name in odd)]))
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(configuration))
    assert {device.label for device in devices()} == {NAME, "default", "x" * 30 + r"\xc3", r"\xff\xfe", r"\x1b[31mred"}
    for name in (NAME, r"xx\xc3", r"\xff\xfe", "red"):
        states = queue.Queue()
        with Microphone(name, 1, on_state=states.put) as microphone:
            assert next_state(states).name == "listening", name
            assert microphone.source_name.isprintable()


def test_a_name_that_no_device_has_is_lost_and_says_what_there_is(listen):
    microphone, states = listen("Snowball")
    state = next_state(states)
    assert state.name == "lost"
    assert '"Snowball"' in state.reason
    assert f'"{NAME}"' in state.reason
    assert microphone.read(0.0) == Gap("lost")


def test_a_channel_that_no_device_has_is_lost_and_says_which_there_are(listen):
    _, states = listen(NAME, 99)
    assert "has no channel 99; it has 1: set" in next_state(states).reason


def test_a_muted_microphone_is_closed_when_mute_returns_and_heard_again_after_unmute(room, listen):
    microphone, states = listen(NAME)
    assert next_state(states).name == "listening"
    assert len(room.listeners()) == 1
    microphone.mute()
    assert room.listeners() == []
    assert microphone.state.name == next_state(states).name == "muted"
    assert microphone.read(0.0) == Gap("muted")
    assert microphone.read(0.2) is None
    microphone.mute()  # once more changes nothing
    microphone.unmute()
    assert next_state(states).name == "listening"
    room.play_samples(NOISE)
    np.testing.assert_array_equal(hear(microphone, len(NOISE))[0], NOISE)


def test_a_mute_that_is_taken_back_at_once_still_leaves_a_gap(room):
    heard, go_on = threading.Event(), threading.Event()

    def hold_owner(state):  # so that the owner sees neither until both were called
        if state.name == "listening":
            heard.set()
            go_on.wait(10)

    with Microphone(NAME, 1, on_state=hold_owner) as microphone:
        assert heard.wait(10)
        muting = threading.Thread(target=microphone.mute)
        muting.start()
        while muting.is_alive():
            microphone.unmute()
            muting.join(0.01)
        go_on.set()
        leaves_a_gap_and_is_heard_again(room, microphone)


def leaves_a_gap_and_is_heard_again(room, microphone):
    deadline = time.monotonic() + 10
    while not isinstance(item := microphone.read(1.0), Gap):
        assert time.monotonic() < deadline
    assert item == Gap("muted")
    while not isinstance(microphone.read(1.0), Block):  # until then the device is being opened again
        assert time.monotonic() < deadline
    room.play_samples(NOISE)
    np.testing.assert_array_equal(hear(microphone, len(NOISE))[0], NOISE)


def test_a_microphone_that_begins_muted_opens_nothing(room, listen):
    microphone, states = listen(NAME, muted=True)
    assert next_state(states).name == "muted"
    assert room.listeners() == []
    assert microphone.blocks_delivered == 0


def test_closing_ends_the_stream_and_its_thread(room, listen):
    microphone, states = listen(NAME)
    next_state(states)
    microphone.close()
    assert room.listeners() == []
    assert "microphone" not in [thread.name for thread in threading.enumerate()]
    microphone.mute()  # too late, and harmless
    microphone.close()


def test_reading_never_takes_longer_than_asked(listen):
    microphone, states = listen(muted=True)
    next_state(states)
    microphone.read(0.0)
    began_s = time.monotonic()
    assert microphone.read(0.3) is None
    assert 0.3 <= time.monotonic() - began_s < 0.5


def test_what_goes_wrong_in_on_state_comes_out_of_read(room):
    def fail(state):
        raise ZeroDivisionError(state.name)

    def read_on():
        while True:
            microphone.read(0.2)

    with Microphone("", 1, on_state=fail) as microphone, pytest.raises(ZeroDivisionError, match="listening"):
        read_on()
    assert room.listeners() == []


def test_log_lines_are_not_lost_while_portaudio_looks_for_devices(room):
    """Nor does it add its own: standard error is this program's."""
    program = """
import sys, threading
from device.edges.microphone import devices
devices()
lines = iter(range(10**9))
ending = threading.Event()
def log():
    while not ending.is_set():
        sys.stderr.write(f"{next(lines)}\\n")
logger = threading.Thread(target=log)
logger.start()
for _ in range(5):
    devices()
ending.set()
logger.join()
print(next(lines))
"""
    # The machine's own ALSA configuration here: it is the one that complains of what is missing.
    environment = {name: value for name, value in room.env.items() if name != "ALSA_CONFIG_PATH"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr.split() == [str(number) for number in range(int(done.stdout))]


def test_a_missing_portaudio_names_its_debian_package():
    program = """
import ctypes.util
ctypes.util.find_library = lambda name: None  # as where libportaudio2 is not installed
from device.edges.microphone import devices
try:
    devices()
except Exception as error:
    print(type(error).__name__, error.exit_status, error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("MicrophoneUnavailableError 69 PortAudio cannot be loaded")
    assert "sudo apt install libportaudio2" in done.stdout


# --- the queue and the conversion ---

SLOW = StreamFormat("a device", 1000, 1)  # 10 s of it are 20 kB


def block(number, frames=500):
    return RawBlock(np.full(frames, number, np.int16).tobytes(), SLOW)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.one_of(st.none(), st.integers(1, 3000)), max_size=60))
def test_a_full_queue_drops_the_oldest_and_marks_every_gap(steps):
    """Each step puts a block of so many frames, or, being None, reads one item."""
    waiting, put, read, missing_s, dropped_s = BlockQueue(), [], [], 0.0, 0.0

    def take():
        nonlocal missing_s
        item = waiting.get(0.0)
        if isinstance(item, Missing):
            missing_s += item.seconds
        return item

    for step in steps:
        if step is None:
            item = take()
            if isinstance(item, RawBlock):
                read.append(item)
        else:
            put.append(block(len(put), step))
            waiting.put(put[-1])
    while (item := take()) is not None:
        if isinstance(item, RawBlock):
            read.append(item)
    assert [item for item in put if item in read] == read  # in order, none twice
    dropped_s = sum(item.seconds for item in put) - sum(item.seconds for item in read)
    assert missing_s == pytest.approx(dropped_s)


def test_the_queue_holds_no_more_than_its_bound_and_the_gap_stands_before_what_is_left():
    waiting = BlockQueue()
    for number in range(100):
        waiting.put(block(number))
    kept = round(QUEUE_S / 0.5)
    assert waiting.get(0.0) == Missing(pytest.approx((100 - kept) * 0.5))
    assert [waiting.get(0.0) for _ in range(kept)] == [block(number) for number in range(100 - kept, 100)]
    assert waiting.get(0.0) is None


def test_a_stream_s_end_is_not_dropped_as_if_it_were_a_hole_in_one():
    waiting = BlockQueue()
    for number in range(10):
        waiting.put(block(number))
        if number == 3:
            waiting.put(Missing(0.2))
    waiting.put(Gap("lost"))
    for number in range(10, 14):
        waiting.put(block(number))
    for number in range(14, 25):
        waiting.put(block(number))
    assert waiting.get(0.0) == Missing(pytest.approx(5 * 0.5 + 0.2))  # the blocks up to it are gone, itself is not
    for number in range(25, 40):
        waiting.put(block(number))
    assert waiting.get(0.0) == Gap("lost")
    assert waiting.get(0.0) == block(20)


@pytest.mark.parametrize("rate_hz", [8_000, 32_000, 44_100, 48_000, 96_000])
def test_any_rate_becomes_16_khz_of_the_same_pitch_and_length(rate_hz):
    tone = np.round(8000 * np.sin(2 * np.pi * 440 * np.arange(2 * rate_hz) / rate_hz)).astype(np.int16)
    stereo = np.stack([np.zeros_like(tone), tone], axis=1)
    stream = StreamFormat("a device", rate_hz, 2)
    converter = Converter(2)
    step = round(rate_hz * 0.08)
    blocks = [RawBlock(stereo[start : start + step].tobytes(), stream) for start in range(0, len(tone), step)]
    heard = np.concatenate([out.samples for item in blocks for out in converter.convert(item)])
    assert heard.dtype == np.int16
    assert len(heard) == pytest.approx(32_000, abs=1_600)  # the resampler holds back its last 0.1 s at most
    spectrum = np.abs(np.fft.rfft(heard[1_600:17_600].astype(float) * np.hanning(16_000)))
    assert np.argmax(spectrum) == 440
    assert np.abs(heard[1_600:17_600]).max() == pytest.approx(8000, rel=0.01)


@pytest.mark.parametrize(("item", "comes"), [(Missing(0.5), Hole(8_000)), (MARK, MARK)], ids=["hole", "mark"])
def test_what_was_heard_before_a_hole_or_a_mark_comes_before_it_and_nothing_of_it_later(item, comes):
    stream = StreamFormat("a device", 48_000, 1)
    loud = RawBlock(np.full(4_800, 20_000, np.int16).tobytes(), stream)
    silence = RawBlock(np.zeros(4_800, np.int16).tobytes(), stream)
    converter = Converter(1)
    *heard, last = [out for each in (loud, loud, loud, item) for out in converter.convert(each)]
    assert last == comes
    assert sum(len(block.samples) for block in heard) == 3 * 1_600  # to the sample, so that it stands where it was
    assert abs(int(heard[-1].samples[-100]) - 20_000) < 200
    later = [out for each in (silence, item) for out in converter.convert(each)]
    assert max(np.abs(block.samples).max() for block in later[:-1]) <= 1  # 1: dither
    assert converter.convert(item) == [comes]


def test_of_what_was_heard_before_a_gap_nothing_comes_after_it():
    stream = StreamFormat("a device", 48_000, 1)
    converter = Converter(1)
    converter.convert(RawBlock(np.full(4_800, 20_000, np.int16).tobytes(), stream))
    assert converter.convert(Gap("lost")) == [Gap("lost")]
    silence = RawBlock(np.zeros(48_000, np.int16).tobytes(), stream)
    assert max(np.abs(block.samples).max() for block in converter.convert(silence)) <= 1


def test_reports_of_faults_find_the_virtual_microphone_under_its_old_name():
    import support.virtual_microphone as known

    from device.hil import virtual

    assert known is virtual
