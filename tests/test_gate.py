"""The gate: closed in steady noise, open for a voice of any level, and for a hang-over after it."""

from pathlib import Path

import numpy as np
import pytest
from support.rooms import noise

from device.edges.vad import WebrtcVad
from device.hearing.frames import FRAME_SAMPLES
from device.hearing.gate import HANG_OVER_FRAMES, Gate
from device.hil.recordings import load_recordings

FIXTURES = {recording.name: recording for recording in load_recordings(Path(__file__).parent / "fixtures")}


class Deaf:
    """A classifier that hears nothing, to see what the level alone does."""

    @staticmethod
    def is_speech(frame):
        return False


def frames_of(samples):
    return samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)


def opened(gate, samples):
    return [gate.push(frame) for frame in frames_of(samples)]


def room(kind, rms, seconds=60):
    samples = noise(kind, seconds * 16_000, np.random.default_rng(5))
    return np.round(samples / np.sqrt(np.mean(samples**2)) * rms).clip(-32768, 32767).astype(np.int16)


@pytest.mark.parametrize("kind", ["white", "pink", "brown", "hum"])
@pytest.mark.parametrize("rms", [0, 10, 40, 100])
def test_steady_noise_of_a_quiet_room_keeps_it_closed(kind, rms):
    gate = Gate(WebrtcVad(2))
    opened(gate, room(kind, rms, 5))  # webrtcvad gets to know the room
    assert np.mean(opened(gate, room(kind, rms))) < 0.02


@pytest.mark.parametrize("gain", [1, 0.1, 0.03, 0.01])
def test_a_wake_word_of_any_level_opens_it_before_the_word_ends(gain):
    recording = FIXTURES["hey-jarvis-request"]
    quiet = room("white", 2, 5)
    samples = np.concatenate([quiet, np.round(recording.samples * gain).astype(np.int16)])
    end = len(quiet) + recording.truth.requests[0].wake_end_sample
    assert opened(Gate(WebrtcVad(2)), samples)[end // FRAME_SAMPLES]


def test_the_level_alone_hears_what_the_classifier_does_not():
    samples = np.concatenate([room("pink", 40, 5), FIXTURES["hey-jarvis-request"].samples])
    assert any(opened(Gate(Deaf()), samples))


def test_it_stays_open_for_the_hang_over_after_the_last_sign_and_no_longer():
    click = np.zeros(40 * FRAME_SAMPLES, np.int16)
    click[3 * FRAME_SAMPLES + 100] = 20_000
    was_open = opened(Gate(Deaf()), click)
    assert was_open == [False] * 3 + [True] * HANG_OVER_FRAMES + [False] * (37 - HANG_OVER_FRAMES)


def test_a_room_that_becomes_louder_for_good_closes_it_again():
    gate = Gate(Deaf())
    opened(gate, room("pink", 40, 5))
    assert any(opened(gate, room("pink", 200, 30)))
    assert not any(opened(gate, room("pink", 200, 30)))


def test_hold_keeps_it_open_for_another_hang_over():
    gate = Gate(Deaf())
    gate.push(np.zeros(FRAME_SAMPLES, np.int16))
    gate.hold()
    assert sum(opened(gate, np.zeros(40 * FRAME_SAMPLES, np.int16))) == HANG_OVER_FRAMES - 1
