"""How much sound is missing, by when blocks began and how much was delivered before them."""

from __future__ import annotations

import time
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.edges.microphone import portaudio
from device.edges.microphone.inputs import InputDevice
from device.edges.microphone.timing import LEAST_MISSING_S, StreamClock

FRAMES, RATE_HZ = 3_840, 48_000
BLOCK_S = FRAMES / RATE_HZ


def run(clock, starts_s, jitter_s=()):
    jitter = [*jitter_s, *[0.0] * len(starts_s)]
    return [
        clock.missing_s(start + late, FRAMES, overflowed=False) for start, late in zip(starts_s, jitter, strict=False)
    ]


@given(
    st.floats(0, 1e6),
    st.lists(st.floats(-0.03, 0.03), min_size=1, max_size=200),
    st.floats(0, 5),
    st.floats(-100e-6, 100e-6),
)
def test_what_is_missing_is_known_however_unsteadily_times_are_told_and_whatever_the_clock_s_drift(
    began_s, jitter_s, lost_s, drift
):
    clock = StreamClock(RATE_HZ)
    for number, late_s in enumerate(jitter_s):
        assert clock.missing_s(began_s + number * BLOCK_S * (1 + drift) + late_s, FRAMES, overflowed=False) == 0
    next_s = began_s + len(jitter_s) * BLOCK_S * (1 + drift)
    found_s = clock.missing_s(next_s + lost_s, FRAMES, overflowed=True)
    assert found_s == pytest.approx(max(lost_s, LEAST_MISSING_S), abs=0.031)
    assert found_s >= LEAST_MISSING_S


def test_a_second_hole_is_measured_from_the_first():
    clock = StreamClock(RATE_HZ)
    run(clock, [number * BLOCK_S for number in range(5)])
    assert clock.missing_s(5 * BLOCK_S + 0.3, FRAMES, overflowed=True) == pytest.approx(0.3)
    assert clock.missing_s(6 * BLOCK_S + 0.3 + 0.5, FRAMES, overflowed=True) == pytest.approx(0.5)
    run(clock, [number * BLOCK_S + 0.8 for number in range(7, 10)])
    assert clock.missing_s(10 * BLOCK_S + 0.8 + 0.25, FRAMES, overflowed=True) == pytest.approx(0.25)


def test_before_the_first_block_nothing_can_be_missing():
    assert StreamClock(RATE_HZ).missing_s(5.0, FRAMES, overflowed=True) == 0


@pytest.mark.parametrize("clock", [time.time, time.monotonic], ids=["plug-in", "card"])
def test_a_callback_that_came_late_makes_a_hole_no_longer(clock):
    """By either clock that ALSA may stamp blocks with; the callback waits where the interpreter is busy."""

    def offer(*, samplerate, **_):
        if samplerate != RATE_HZ:
            raise OSError("Invalid sample rate")
        return Mock()

    missing_s, sounddevice = [], Mock(PortAudioError=OSError)
    sounddevice.RawInputStream.side_effect = offer
    portaudio.open_stream(
        sounddevice, InputDevice(0, "ear", "ear"), [1], on_block=lambda _, missing, form: missing_s.append(missing),
        on_end=Mock(),
    )  # fmt: skip
    deliver = sounddevice.RawInputStream.call_args.kwargs["callback"]
    began_s = clock()
    for number, (late_s, lost_s) in enumerate([(0.0, 0.0), (0.0, 0.0), (0.4, 0.25)]):
        captured_s = began_s + number * BLOCK_S + lost_s
        times = SimpleNamespace(currentTime=clock() - late_s, inputBufferAdcTime=captured_s)
        deliver(b"", FRAMES, times, SimpleNamespace(input_overflow=lost_s > 0))
    assert missing_s == [0, 0, pytest.approx(0.25, abs=0.02)]
