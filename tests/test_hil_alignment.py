"""What was heard is laid over what was played to the sample; drop-outs, clipping and drift are found where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from device.hearing.frames import RATE_HZ
from device.hil.alignment import Alignment, chirp, clipped_samples, dips, find_chirp, floor_dbfs, jumps, resampled
from device.hil.recordings import load_recording, load_recordings

FIXTURES = Path(__file__).parent / "fixtures"
SPEECH = (
    load_recording(FIXTURES / "pauses-inside.wav", FIXTURES / "pauses-inside.json").samples / 32768
)  # 5 s of a talker


def room(samples, level, seed=0):
    return np.random.default_rng(seed).normal(0, level, samples)


def echo(sound, seconds=0.3):
    """As in a room: the sound, and a tail of echoes 10 dB below."""
    tail = room(int(seconds * RATE_HZ), 0.02, 7) * np.exp(-np.arange(int(seconds * RATE_HZ)) / (0.08 * RATE_HZ))
    tail[0] = 1.0
    return np.convolve(sound, tail)[: len(sound)]


@pytest.mark.parametrize("level", [0.0, 0.001, 0.03])
@pytest.mark.parametrize("sample", [0, 7_001, 15_000])
def test_a_chirp_is_found_to_the_sample_also_in_noise_and_with_echoes(level, sample):
    heard = room(20_000 + len(chirp()), level)
    heard[sample : sample + len(chirp())] += chirp() * 0.2
    found = find_chirp(echo(heard))
    assert found is not None
    assert abs(found.sample - sample) < 1.0


@pytest.mark.parametrize("recording", list(load_recordings(FIXTURES)), ids=lambda recording: recording.name)
def test_no_fixture_comes_near_a_chirp(recording):
    heard = recording.samples / 32768
    assert find_chirp(heard) is None
    some = heard.copy()
    some[8_000 : 8_000 + len(chirp())] += chirp() * 0.02
    near = find_chirp(some)  # one as faint as the room's noise, or a whisper
    assert near is None or abs(near.sample - 8_000) < 2


@pytest.mark.parametrize("seed", range(40))
def test_no_chirp_is_found_in_noise_or_speech(seed):
    assert find_chirp(room(30_000, 0.05, seed)) is None
    assert find_chirp(np.zeros(30_000)) is None
    start = seed * 1_000
    assert find_chirp(SPEECH[start : start + 30_000] + room(len(SPEECH[start : start + 30_000]), 1e-4, seed)) is None


def test_the_span_maps_there_and_back_and_tells_the_drift():
    span = Alignment(start=1_000.5, stretch=1.0001)
    assert span.back(span.at(40_000)) == pytest.approx(40_000)
    assert span.drift_ppm == pytest.approx(100)


@pytest.mark.parametrize("missing_s", [0.003, 0.02])
def test_missing_and_doubled_sound_are_found_where_they_are(missing_s):
    cut, length = 2 * RATE_HZ, int(missing_s * RATE_HZ)
    noise = room(len(SPEECH) + length, 0.0005)
    lost = np.delete(SPEECH, slice(cut, cut + length))
    ((second, change),) = jumps(SPEECH, lost + noise[: len(lost)])
    assert abs(second - 2.0) < 1.0
    assert change == pytest.approx(-missing_s, abs=0.0005)
    doubled = np.insert(SPEECH, cut, SPEECH[cut : cut + length])
    assert [round(change, 3) for _, change in jumps(SPEECH, doubled + noise)] == [missing_s]


@pytest.mark.parametrize("heard", [SPEECH, SPEECH * 0.1, echo(SPEECH), SPEECH + room(len(SPEECH), 0.01)])
def test_what_only_came_through_a_room_has_no_drop_outs(heard):
    assert jumps(SPEECH, heard) == []
    assert dips(SPEECH, heard) == []


@pytest.mark.parametrize("recording", list(load_recordings(FIXTURES)), ids=lambda recording: recording.name)
@pytest.mark.parametrize("level", [1e-5, 1e-3, 5e-3])
def test_no_fixture_has_drop_outs_of_its_own(recording, level):
    """Nor a hum, which fits a period further as well."""
    played = recording.samples / 32768
    at = np.arange(len(played))
    for late in (0.0, 0.5, 3.3):  # in samples: an alignment is never perfect
        heard = np.interp(at - late, at, played) + room(len(played), level)
        assert jumps(played, heard) == []
        assert dips(played, heard) == []


def test_drift_of_two_clocks_is_no_drop_out():
    stretch = 1 + 300e-6
    heard = resampled(SPEECH, stretch, int(len(SPEECH) * stretch))
    assert jumps(resampled(SPEECH, stretch, len(heard)), heard) == []
    assert jumps(SPEECH, heard) == []


def test_sound_that_breaks_off_for_a_moment_is_found_where_it_does():
    heard = SPEECH * 0.5 + room(len(SPEECH), 1e-5)
    loudest = int(np.argmax(np.convolve(SPEECH**2, np.ones(800), "same")))
    heard[loudest - 240 : loudest + 240] = 0
    found = dips(SPEECH, heard)
    assert found
    assert all(abs(second - loudest / RATE_HZ) < 0.03 for second in found)


def test_clipping_counts_flat_tops_and_not_one_peak():
    sound = SPEECH / np.abs(SPEECH).max()
    assert clipped_samples(sound) <= 1
    assert clipped_samples(np.clip(sound * 2, -1, 1)) > 50


def test_a_rooms_level_passes_over_a_single_click():
    heard = room(3 * RATE_HZ, 0.001)
    heard[RATE_HZ] = 1.0
    assert floor_dbfs(heard) == pytest.approx(-60, abs=1)
    assert floor_dbfs(np.zeros(RATE_HZ)) == -100
