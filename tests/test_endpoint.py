"""Speech or not, while it lasts: in steady noise, in babble, when a fan starts; the same whatever came before."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rooms import noise
from support.speech import ESPEAK_VOICES, FLITE_VOICES, active_rms, speak, to_samples, to_signal

from device.core.endpoint import Endpointer
from device.core.frames import FRAME_SAMPLES, RATE_HZ, VAD_SAMPLES
from device.edges.vad import WebrtcVad

VOICES = (ESPEAK_VOICES[0], ESPEAK_VOICES[1], FLITE_VOICES[0], FLITE_VOICES[3])


def said(text, voice):
    signal = to_signal(speak(text, voice))
    return signal * (0.1 / active_rms(signal))


def scene(voice, kind, snr_db, *, tail_s=2.0):
    """A room, the wake word, 0.3 s, a request, silence; return samples and where history, request and all end."""
    parts = [np.zeros(2 * RATE_HZ), said("hey jarvis", voice), np.zeros(int(0.3 * RATE_HZ))]
    history = sum(map(len, parts)) // FRAME_SAMPLES * FRAME_SAMPLES
    parts.append(said("turn off the light in the kitchen", voice))
    end = sum(map(len, parts))
    parts.append(np.zeros(int(tail_s * RATE_HZ)))
    dry = np.concatenate(parts)
    around = noise(kind, len(dry), np.random.default_rng(8)) * 0.1 * 10 ** (-snr_db / 20)
    return to_samples(dry + around), history, end


def decide(samples, history, classifier=None):
    endpointer = Endpointer(classifier or WebrtcVad(2), samples[:history])
    whole = len(samples) // FRAME_SAMPLES * FRAME_SAMPLES
    frames = [samples[at : at + FRAME_SAMPLES] for at in range(history, whole, FRAME_SAMPLES)]
    return np.array([speech for frame in frames for speech in endpointer.push(frame)])


@pytest.mark.parametrize("kind", ["white", "pink", "brown", "hum", "babble"])
@pytest.mark.parametrize("voice", VOICES, ids=str)
def test_the_end_of_speech_is_heard_in_noise_of_15_db(kind, voice):
    samples, history, end = scene(voice, kind, 15)
    speech = decide(samples, history)
    spoken = (end - history) // VAD_SAMPLES
    silences = np.diff(np.flatnonzero(np.concatenate(([True], speech[:spoken], [True]))))
    assert silences.max() < 40  # frames of 20 ms: nothing ended it before the person did
    assert np.flatnonzero(speech).max() < spoken + 50


@pytest.mark.parametrize("kind", ["white", "pink", "brown", "hum"])
@pytest.mark.parametrize("voice", VOICES, ids=str)
def test_in_steady_noise_a_voice_of_5_db_is_heard_to_its_end_and_nothing_after_it(kind, voice):
    samples, history, end = scene(voice, kind, 5)
    speech = decide(samples, history)
    spoken = (end - history) // VAD_SAMPLES
    assert np.diff(np.flatnonzero(np.concatenate(([True], speech[:spoken], [True])))).max() < 40
    assert not speech[spoken + 30 :].any()


class Deaf:
    """Hears no speech at all, as webrtcvad did for a whole second of one espeak-ng voice in a room with pink noise."""

    def is_speech(self, frame):
        return False


@pytest.mark.parametrize(("voice", "kind", "snr_db"), [(VOICES[2], "pink", 4), (VOICES[3], "white", 8)], ids=str)
def test_a_voice_that_webrtcvad_does_not_hear_is_no_silence(voice, kind, snr_db):
    samples, history, end = scene(voice, kind, snr_db)
    speech = decide(samples, history, Deaf())[: (end - history) // VAD_SAMPLES]
    assert np.diff(np.flatnonzero(np.concatenate(([True], speech, [True])))).max() < 40


def test_webrtcvad_alone_would_not_have_heard_it():
    samples, _, end = scene(VOICES[0], "babble", 15)
    vad = WebrtcVad(2)
    flags = [vad.is_speech(samples[at : at + VAD_SAMPLES]) for at in range(0, len(samples) - VAD_SAMPLES, VAD_SAMPLES)]
    assert sum(flags[end // VAD_SAMPLES + 50 :]) > 10


def test_a_fan_that_starts_becomes_part_of_the_room_within_two_seconds():
    samples, history, end = scene(VOICES[0], "pink", 30, tail_s=4.0)
    fan = noise("pink", len(samples), np.random.default_rng(2)) * 600
    fan[: (history + end) // 2] = 0
    speech = decide((samples + fan).astype(np.int16), history)
    assert not speech[(end - history) // VAD_SAMPLES + 100 :].any()


def test_one_click_is_not_speech():
    samples = (noise("pink", 4 * RATE_HZ, np.random.default_rng(4)) * 50).astype(np.int16)
    samples[40_000:40_020] = 20_000
    assert not decide(samples, 32_000).any()


def test_without_history_speech_is_still_speech():
    samples, history, end = scene(VOICES[0], "pink", 30)
    speech = decide(samples[history:], 0)
    assert speech[: (end - history) // VAD_SAMPLES].mean() > 0.7


@settings(deadline=None, max_examples=15)
@given(sizes=st.lists(st.integers(1, 8), min_size=1, max_size=10), seed=st.integers(0, 5))
def test_as_many_decisions_come_out_as_frames_went_in(sizes, seed):
    endpointer = Endpointer(WebrtcVad(2), np.zeros(0, np.int16))
    rng = np.random.default_rng(seed)
    for size in sizes:
        assert len(endpointer.push(rng.integers(-3000, 3000, size * VAD_SAMPLES).astype(np.int16))) == size
    assert endpointer.frames == len(endpointer.levels) == len(endpointer.voices) == sum(sizes)
