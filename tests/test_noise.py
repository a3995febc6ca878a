"""Levels in bands, and the room's own among them."""

import numpy as np
import pytest
from support.rooms import NOISE_KINDS, noise
from support.speech import ESPEAK_VOICES, active_rms, speak, to_samples, to_signal

from device.hearing.noise import BANDS, band_levels, room_level

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


def test_digital_silence_has_a_level():
    assert np.isfinite(room_level(band_levels(np.zeros(16_000, np.int16)))).all()


@pytest.mark.parametrize("kind", STEADY)
def test_speech_in_a_third_of_the_time_hardly_changes_what_the_room_is_taken_for(kind):
    quiet = room(kind, 4.0)
    said = to_signal(speak("turn off the light", ESPEAK_VOICES[0]))[: 16_000 * 4 // 3]
    spoken = quiet.copy()
    spoken[-len(said) :] += said * (0.1 / active_rms(said))
    alone, beside = (room_level(band_levels(to_samples(one))) for one in (quiet, spoken))
    assert np.abs(beside - alone).mean() < 1.0


def test_one_frame_is_enough_to_measure():
    assert room_level(band_levels(RNG.normal(0, 100, 320).astype(np.int16))).shape == (BANDS,)
