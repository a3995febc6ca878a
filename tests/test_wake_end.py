"""The wake word's end: told by the scores' course, made exact by the level's valley."""

import numpy as np
import pytest

from device.core.wake_end import rise_of, wake_end


def course(valley=None, *, silence_from=None, frames=150):
    """Loudness of speech of 20 dB that wavers a little, with a dip or silence in it."""
    loud = 20 + np.sin(np.arange(frames))
    if valley is not None:
        loud[valley - 1 : valley + 2] = [12, 8, 12]
    if silence_from is not None:
        loud[silence_from:] = 1.0
    return loud.astype(np.float32)


@pytest.mark.parametrize(
    ("scores", "risen"),
    [
        ((0.9,), 0),
        ((0, 0, 0.9), 0),
        ((0, 0.02, 0.3, 0.9), 2),
        ((0.5, 0, 0, 0, 0, 0.1, 0.9), 1),
        ((0.5, 0, 0, 0, 0.1, 0.9), 5),
    ],
)
def test_a_rise_is_counted_back_over_short_dips(scores, risen):
    assert rise_of(scores, 0.01) == risen


@pytest.mark.parametrize("valley", [95, 98, 101])
def test_it_ends_in_a_valley_near_where_it_is_expected(valley):
    assert wake_end(course(valley), 100, (0, 0, 0, 0.9)).earliest == pytest.approx(valley, abs=1)


def test_a_slow_rise_puts_the_end_further_back():
    slow = wake_end(course(), 100, (0, 0, 0.02, 0.1, 0.3, 0.4, 0.9))
    fast = wake_end(course(), 100, (0, 0, 0, 0, 0, 0, 0.9))
    assert slow.expected < fast.expected - 10
    assert slow.earliest < fast.earliest - 10


@pytest.mark.parametrize("silence_from", [98, 104])
def test_it_does_not_end_before_a_silence_near_where_it_is_expected(silence_from):
    assert wake_end(course(silence_from=silence_from), 104, (0, 0, 0.1, 0.9)).earliest >= silence_from


def test_without_a_valley_it_may_end_well_before_where_it_is_expected():
    plain = wake_end(np.full(150, 20, np.float32), 100, (0, 0, 0, 0.9))
    assert plain.earliest < plain.expected - 3
    assert wake_end(course(100), 100, (0, 0, 0, 0.9)).earliest > plain.earliest


@pytest.mark.parametrize("frames", [1, 5])
def test_the_end_is_told_however_little_was_heard(frames):
    found = wake_end(course(frames=frames), frames, (0.9,))
    assert 0 <= found.earliest <= found.expected
