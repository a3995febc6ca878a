"""The room: its floor in bands, and what stands out of it."""

import numpy as np
import pytest
from support.rooms import NOISE_KINDS, noise
from support.speech import ESPEAK_VOICES, active_rms, speak, to_samples, to_signal

from device.core.noise import BANDS, Floor, band_levels, floor_of, loudness, prominence, room_after, room_before

RNG = np.random.default_rng(5)
STEADY = [*(kind for kind in NOISE_KINDS if kind != "babble"), "fan"]


def room(kind, seconds=3.0, amplitude=0.01):
    return noise(kind, int(seconds * 16_000), np.random.default_rng(3)) * amplitude


def test_a_level_is_the_deviation_of_white_noise_in_db():
    levels = band_levels(RNG.normal(0, 100, 320 * 500).astype(np.int16))
    assert levels.shape == (500, BANDS)
    assert 10 * np.log10(np.mean(10 ** (levels / 10), axis=0)) == pytest.approx(40, abs=0.6)


def test_direct_current_changes_no_level():
    quiet = RNG.normal(0, 100, 3200).astype(np.int16)
    assert band_levels(quiet + 9000) == pytest.approx(band_levels(quiet), abs=0.5)


def test_digital_silence_has_a_floor():
    floor = floor_of(band_levels(np.zeros(16_000, np.int16)))
    assert np.isfinite(floor.level_db).all()
    assert (floor.spread_db > 0).all()


@pytest.mark.parametrize("kind", STEADY)
def test_steady_noise_does_not_stand_out_of_itself(kind):
    levels = band_levels(to_samples(room(kind)))
    assert np.mean(prominence(levels[75:], floor_of(levels[:75])) > 9) < 0.01


@pytest.mark.parametrize("kind", STEADY)
def test_the_floor_is_found_under_speech(kind):
    said = to_signal(speak("hey jarvis", ESPEAK_VOICES[0]))
    mixed = room(kind)
    mixed[20_000 : 20_000 + len(said)] += said * (0.1 / active_rms(said))
    alone, under = (floor_of(band_levels(to_samples(signal))) for signal in (room(kind), mixed))
    assert under.level_db == pytest.approx(alone.level_db, abs=1.5)


def test_noise_itself_is_hardly_louder_than_its_floor():
    levels = band_levels(to_samples(room("pink")))
    assert np.median(loudness(levels, floor_of(levels))) == pytest.approx(1.0, abs=0.5)


def test_babble_stirs_more_than_a_fan_and_less_than_who_speaks():
    said = to_signal(speak("hey jarvis", ESPEAK_VOICES[0]))
    stirs = {}
    for kind in ("pink", "babble"):
        mixed = room(kind, 4.0)
        mixed[-len(said) :] += said * (0.1 / active_rms(said))
        levels = band_levels(to_samples(mixed))
        found = room_before(levels)
        stirs[kind] = found.stir_db
        assert found.clear_db < np.quantile(loudness(levels[-30:], found.floor), 0.8)
    assert stirs["pink"] < 3.5 < stirs["babble"]


@pytest.mark.parametrize("kind", STEADY)
def test_where_the_noise_is_steady_less_stands_out_than_where_voices_are(kind):
    said = to_signal(speak("hey jarvis", ESPEAK_VOICES[0]))
    rooms = {}
    for around in (kind, "babble"):
        mixed = room(around, 4.0)
        mixed[-len(said) :] += said * (0.1 / active_rms(said))
        rooms[around] = room_before(band_levels(to_samples(mixed)))
    assert rooms[kind].stands_out < 5.5 < 8.5 < rooms["babble"].stands_out
    assert rooms[kind].clear_db == 0.0 < rooms["babble"].clear_db


def test_what_was_said_a_second_before_the_wake_word_is_no_noise_of_the_room():
    parts = [to_signal(speak(text, ESPEAK_VOICES[0])) for text in ("turn off the light in the hall", "hey jarvis")]
    before, wake = (part * (0.1 / active_rms(part)) for part in parts)
    signal = np.concatenate([before, np.zeros(16_000), wake])
    signal = (signal + noise("pink", len(signal), np.random.default_rng(3)) * 0.005)[len(signal) % 320 :]
    assert room_before(band_levels(to_samples(signal))).stir_db < 6


def test_a_room_nobody_heard_is_a_silent_one():
    found = room_before(np.zeros((0, BANDS), np.float32))
    assert isinstance(found.floor, Floor)
    assert found.stir_db == found.clear_db == 0.0


def test_a_room_may_be_measured_on_a_single_frame():
    assert room_after(band_levels(np.zeros(320, np.int16))).stands_out > 0
