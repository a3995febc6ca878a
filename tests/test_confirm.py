"""The second opinion: a detection counts when the other model agrees, soon enough, and never holds up the stream."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.speech import FLITE_VOICES, speak

from device.edges.second_model import CONFIRMED_WORDS, MicroModels
from device.hearing.confirm import AGREES, PATIENCE_SAMPLES, Confirmer, Unconfirmed
from device.hearing.frames import FRAME_SAMPLES
from device.hearing.wake import Detection
from device.hil.recordings import load_recordings

FRAME = np.zeros(FRAME_SAMPLES, np.int16)
WAKE = Detection("alexa", 0.7, 40 * FRAME_SAMPLES)
RECORDINGS = {recording.name: recording for recording in load_recordings(Path(__file__).parent / "fixtures")}


class Scripted:
    """A second model of "alexa" whose probabilities are written down: the history's first, then a frame's each."""

    def __init__(self, *probabilities):
        self.probabilities = probabilities
        self.heard = []

    def opinion(self, word):
        return self if word == "alexa" else None

    def hear(self, samples):
        self.heard.append(len(samples))
        return max(self.probabilities[: len(self.heard)], default=0.0)


def play(probabilities, frames=10):
    """What becomes of a detection: the verdict, and after how many frames it came."""
    confirmer = Confirmer(Scripted(*probabilities))
    if verdict := confirmer.ask(WAKE, FRAME):
        return verdict, 0
    for number in range(1, frames + 1):
        assert confirmer.waiting
        if verdict := confirmer.push(FRAME, WAKE.wake_sample + number * FRAME_SAMPLES):
            assert not confirmer.waiting
            return verdict, number
    return None, frames


@pytest.mark.parametrize("frames", range(6))
def test_it_counts_as_soon_as_the_other_model_agrees(frames):
    verdict, number = play([0.0] * frames + [0.8])
    assert (verdict.confirmed, number) == (0.8, frames)


def test_it_does_not_count_if_the_other_model_does_not_agree_in_time():
    verdict, number = play([AGREES - 0.01] * 6 + [0.9])
    assert verdict == Unconfirmed("alexa", 0.7, WAKE.wake_sample, AGREES - 0.01)
    assert number * FRAME_SAMPLES == PATIENCE_SAMPLES


def test_without_another_model_of_the_word_or_any_it_counts_at_once():
    other = Detection("hey_jarvis", 0.7, WAKE.wake_sample)
    assert Confirmer(Scripted()).ask(other, FRAME) is other
    assert Confirmer(None).ask(WAKE, FRAME) is WAKE


def test_late_scores_of_a_word_that_is_held_back_count_for_nothing():
    confirmer = Confirmer(Scripted(0.0, 0.0, 0.5))
    assert confirmer.ask(WAKE, FRAME) is None
    assert confirmer.push(FRAME, WAKE.wake_sample + FRAME_SAMPLES) is None
    assert confirmer.ask(Detection("alexa", 0.9, WAKE.wake_sample + FRAME_SAMPLES), FRAME) is None
    assert confirmer.push(FRAME, WAKE.wake_sample + 2 * FRAME_SAMPLES).score == 0.7


def test_a_stream_that_ends_gives_a_detection_up():
    confirmer = Confirmer(Scripted(0.0))
    assert confirmer.give_up() is None
    confirmer.ask(WAKE, FRAME)
    assert isinstance(confirmer.give_up(), Unconfirmed)
    assert not confirmer.waiting


@given(st.lists(st.floats(0, 1), max_size=12))
def test_there_is_a_verdict_within_the_patience_whatever_the_other_model_says(probabilities):
    verdict, number = play(probabilities)
    assert verdict is not None
    assert number * FRAME_SAMPLES <= PATIENCE_SAMPLES
    assert isinstance(verdict, Unconfirmed) == (max(probabilities[:6], default=0.0) < AGREES)


def heard_by(word, samples):
    """The real model's probability over all of the samples, in pieces of any size."""
    opinion = MicroModels().opinion(word)
    return max(opinion.hear(piece) for piece in np.split(samples, [7, 5000, 5001, 20_000]))


def test_microwakeword_hears_its_word_and_not_another():
    recording = RECORDINGS["alexa-request"]
    end = recording.truth.requests[0].wake_end_sample + 4000
    assert heard_by("alexa", recording.samples[max(end - 40_000, 0) : end]) > 0.5
    silence = np.zeros(8000, np.int16)
    other = np.concatenate([silence, speak("turn off the light", FLITE_VOICES[3]), silence])
    assert heard_by("alexa", other) < AGREES


def test_an_opinion_depends_on_nothing_that_was_heard_before():
    models, samples = MicroModels(), RECORDINGS["alexa-request"].samples[:40_000]
    first = models.opinion("alexa").hear(samples)
    models.opinion("alexa").hear(RECORDINGS["hey-jarvis-request"].samples)
    assert models.opinion("alexa").hear(samples) == first


def test_only_words_with_another_model_get_an_opinion():
    models = MicroModels()
    assert all(models.opinion(word) for word in CONFIRMED_WORDS)
    assert models.opinion("hey_jarvis") is None
