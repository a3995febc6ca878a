"""The second opinion: a detection counts when the other model agrees, soon enough, and never holds up the stream."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.speech import FLITE_VOICES, speak

from device.build import build_pipeline
from device.config.settings import Settings, WakeSettings
from device.edges.second_model import CONFIRMED_WORDS, MicroModels
from device.edges.wakeword import load_scorer
from device.hearing.confirm import (
    FIRST_SHARE,
    LONGEST_SAMPLES,
    PATIENCE_SAMPLES,
    Confirmer,
    Unconfirmed,
    gain_of,
    together,
)
from device.hearing.frames import FRAME_SAMPLES
from device.hearing.pipeline import Heard
from device.hearing.sound import level_dbfs
from device.hearing.wake import Detection
from device.hil.recordings import load_recordings

FRAME = np.zeros(FRAME_SAMPLES, np.int16)
WAKE = Detection("alexa", 0.7, 40 * FRAME_SAMPLES)
THRESHOLDS = {"alexa": 0.5, "hey_jarvis": 0.5}
RECORDINGS = {recording.name: recording for recording in load_recordings(Path(__file__).parent / "fixtures")}
CHANCE = st.floats(0, 1)


class Written:
    """A second model's probabilities, one each time that it hears more."""

    def __init__(self, probabilities):
        self.probabilities = probabilities
        self.heard = []

    def hear(self, samples):
        self.heard.append(samples)
        return max(self.probabilities[: len(self.heard)], default=0.0)


class Scripted:
    """A second model of "alexa": its probabilities at the history and at each frame.

    And of the word alone, one frame after it was detected, heard twice, and two.
    """

    def __init__(self, *probabilities, alone=(0.0, 0.0, 0.0)):
        self.probabilities = probabilities
        self.alone = alone
        self.opinions = []

    def opinion(self, word):
        if word != "alexa":
            return None
        asked = len(self.opinions)
        self.opinions.append(Written([self.alone[asked - 1]] if asked else self.probabilities))
        return self.opinions[-1]


def play(probabilities, scores=(), wake=WAKE, threshold=0.5):
    """What becomes of a detection: the verdict, and after how many frames it came.

    Args:
        probabilities: the second model's, at the detection and at each frame after it.
        scores: the first one's at each frame after it; 0 where they end.
        wake: the detection.
        threshold: of its word.
    """
    confirmer = Confirmer(Scripted(*probabilities), {"alexa": threshold})
    if verdict := confirmer.ask(wake, FRAME):
        return verdict, 0
    scores = iter(scores)
    for number in range(1, 100):
        assert confirmer.word == "alexa"
        if verdict := confirmer.push(FRAME, wake.wake_sample + number * FRAME_SAMPLES, next(scores, 0.0)):
            assert confirmer.word is None
            return verdict, number
    raise AssertionError("no verdict in 8 s")


@pytest.mark.parametrize("frames", range(6))
def test_it_counts_as_soon_as_both_models_are_sure_enough(frames):
    verdict, number = play([0.0] * frames + [0.99])
    assert (verdict.confirmed, number) == (0.99, frames)
    assert verdict.together == together(0.7, 0.99)


def test_it_does_not_count_if_they_are_not_in_time():
    verdict, number = play([0.2] * 6 + [0.99])
    assert verdict == Unconfirmed("alexa", 0.7, WAKE.wake_sample, 0.2, together(0.7, 0.2))
    assert number * FRAME_SAMPLES == PATIENCE_SAMPLES


@pytest.mark.parametrize(
    ("scores", "second", "counts"),
    [(10, 0.1, True), (3, 0.1, False), (0, 0.97, True), (0, 0.6, False), (10, 0.001, False)],
)
def test_the_longer_the_first_model_is_sure_the_less_the_second_must_be(scores, second, counts):
    verdict, _ = play([0.0, second], [1.0] * scores)
    assert isinstance(verdict, Detection) == counts


def test_each_model_counts_where_it_is_surest_not_both_at_once():
    verdict, number = play([0.0, 0.55, 0.55, 0.55, 0.55], [0.1, 0.9, 1.0, 0.95])
    assert (verdict.score, verdict.confirmed, number) == (1.0, 0.55, 4)


def test_while_the_first_model_still_hears_something_the_second_is_waited_for_but_not_for_ever():
    weak = 0.5 * FIRST_SHARE
    assert play([0.0] * 8 + [0.99], [weak] * 3)[1] == 8
    verdict, number = play([0.0] * 9 + [0.99], [weak] * 3)
    assert (type(verdict), number) == (Unconfirmed, 8)
    assert play([], [weak] * 99)[1] * FRAME_SAMPLES == LONGEST_SAMPLES


def test_a_higher_threshold_asks_more_of_both():
    scores = [1.0] * 4
    assert isinstance(play([0.6], scores, threshold=0.5)[0], Detection)
    assert isinstance(play([0.6], scores, threshold=0.9)[0], Unconfirmed)


def test_without_another_model_of_the_word_or_any_it_counts_at_once():
    other = Detection("hey_jarvis", 0.7, WAKE.wake_sample)
    assert Confirmer(Scripted(), THRESHOLDS).ask(other, FRAME) is other
    assert Confirmer(None, THRESHOLDS).ask(WAKE, FRAME) is WAKE


def test_one_that_is_held_back_is_decided_by_the_threshold_of_when_it_was_detected():
    confirmer = Confirmer(Scripted(0.0, 0.0, 0.9), {"alexa": 0.5})
    assert confirmer.ask(WAKE, FRAME) is None
    confirmer.thresholds = {"alexa": 0.99}
    assert confirmer.push(FRAME, WAKE.wake_sample + FRAME_SAMPLES, 0.9) is None
    found = confirmer.push(FRAME, WAKE.wake_sample + 2 * FRAME_SAMPLES, 0.9)
    assert (found.word, found.confirmed) == ("alexa", 0.9)
    assert found.together < 0.99


def test_late_scores_of_a_word_that_is_held_back_count_for_nothing():
    confirmer = Confirmer(Scripted(0.0, 0.0, 0.95), THRESHOLDS)
    assert confirmer.ask(WAKE, FRAME) is None
    assert confirmer.push(FRAME, WAKE.wake_sample + FRAME_SAMPLES, 0.1) is None
    assert confirmer.ask(Detection("hey_jarvis", 0.9, WAKE.wake_sample + FRAME_SAMPLES), FRAME) is None
    assert confirmer.push(FRAME, WAKE.wake_sample + 2 * FRAME_SAMPLES, 0.1).score == 0.7


def test_a_word_that_a_request_follows_at_once_counts_if_it_would_with_silence_after_it():
    scripted = Scripted(0.0, alone=(0.0, 0.0, 0.9))
    confirmer = Confirmer(scripted, THRESHOLDS)
    rng = np.random.default_rng(1)
    history = np.concatenate([rng.normal(0, 20, 16_000), rng.normal(0, 3000, 16_000)]).astype(np.int16)
    assert confirmer.ask(WAKE, history) is None
    assert confirmer.push(FRAME + 1000, WAKE.wake_sample + FRAME_SAMPLES, 1.0) is None
    found = confirmer.push(FRAME + 1000, WAKE.wake_sample + 2 * FRAME_SAMPLES, 1.0)
    assert found.confirmed == 0.9
    (heard,) = scripted.opinions[3].heard
    silence = heard[len(history) + 2 * FRAME_SAMPLES :] / gain_of(history)
    assert len(silence) == 5 * FRAME_SAMPLES
    assert 15 <= np.std(silence) <= 21  # as the room was before the word, not as what followed


def test_what_the_second_model_says_of_the_word_alone_one_frame_after_it_counts_then_or_not_at_all():
    def hear(alone):
        confirmer = Confirmer(Scripted(0.0, alone=alone), THRESHOLDS)
        assert confirmer.ask(WAKE, FRAME) is None
        for number in range(1, 12):
            if verdict := confirmer.push(FRAME, WAKE.wake_sample + number * FRAME_SAMPLES, float(number <= 4)):
                return type(verdict), number
        raise AssertionError("no verdict")

    assert hear((0.9, 0.0, 0.0)) == (Detection, 1)
    assert hear((0.5, 0.0, 0.0)) == (Unconfirmed, 9)
    assert hear((0.0, 0.0, 0.5)) == (Detection, 3)  # two frames after it, it counts on, as the first model stays sure


def test_the_word_alone_is_heard_once_more_from_between_two_decisions_of_the_second_model():
    scripted = Scripted(0.0, alone=(0.0, 0.9, 0.0))
    confirmer = Confirmer(scripted, THRESHOLDS)
    assert confirmer.ask(WAKE, np.arange(32_000).astype(np.int16)) is None
    assert confirmer.push(FRAME, WAKE.wake_sample + FRAME_SAMPLES, 1.0).confirmed == 0.9
    (first,), (again,) = (opinion.heard for opinion in scripted.opinions[1:])
    np.testing.assert_array_equal(again, first[240:])  # 15 ms: halfway between decisions and between spectra


def test_at_once_the_word_alone_counts_only_while_the_first_model_hears_something():
    for score, type_ in ((0.15, Detection), (0.14, type(None))):
        confirmer = Confirmer(Scripted(0.0, alone=(0.95, 0.95, 0.0)), THRESHOLDS)
        assert confirmer.ask(WAKE, FRAME) is None
        assert type(confirmer.push(FRAME, WAKE.wake_sample + FRAME_SAMPLES, score)) is type_


def test_a_stream_that_ends_then_is_told_only_what_lasts():
    confirmer = Confirmer(Scripted(0.2, alone=(0.6, 0.0, 0.0)), THRESHOLDS)
    confirmer.ask(WAKE, FRAME)
    assert confirmer.push(FRAME, WAKE.wake_sample + FRAME_SAMPLES, 0.2) is None
    given_up = confirmer.give_up()
    assert (given_up.confirmed, given_up.together) == (0.2, pytest.approx(together(0.9, 0.2)))


def test_the_second_model_hears_loud_and_quiet_talkers_at_one_level():
    rng = np.random.default_rng(1)
    for rms in (30, 300, 9000):
        scripted = Scripted(0.0)
        Confirmer(scripted, THRESHOLDS).ask(WAKE, np.clip(rng.normal(0, rms, 32_000), -32_768, 32_767).astype(np.int16))
        (heard,) = scripted.opinions[0].heard
        assert -25 <= level_dbfs(heard) <= -23


@given(st.lists(st.integers(-32_768, 32_767), max_size=400))
def test_no_sound_is_too_short_or_too_loud_or_too_quiet_for_it(values):
    confirmer = Confirmer(Scripted(0.0), THRESHOLDS)
    assert confirmer.ask(WAKE, np.array(values * 9, np.int16)) is None
    for number in range(1, 3):
        assert confirmer.push(FRAME, WAKE.wake_sample + number * FRAME_SAMPLES, 0.1) is None


def test_a_stream_that_ends_gives_a_detection_up():
    confirmer = Confirmer(Scripted(0.0), THRESHOLDS)
    assert confirmer.give_up() is None
    confirmer.ask(WAKE, FRAME)
    assert isinstance(confirmer.give_up(), Unconfirmed)
    assert confirmer.word is None


@given(st.lists(CHANCE, max_size=14), st.lists(CHANCE, max_size=14))
def test_there_is_a_verdict_in_time_whatever_the_models_say_and_it_is_theirs(probabilities, scores):
    verdict, number = play(probabilities, scores)
    assert number * FRAME_SAMPLES <= LONGEST_SAMPLES
    heard = [0.7, *scores[:number]]
    second = max([0.0, *probabilities[: number + 1]])
    assert (verdict.score, verdict.confirmed) == (max(heard), second)
    assert verdict.together == pytest.approx(together(sum(heard), second))
    assert isinstance(verdict, Detection) == (verdict.together >= 0.5)


@given(st.floats(0, 12), st.floats(0, 12), CHANCE, CHANCE)
def test_a_surer_model_never_makes_both_less_sure(scores, more_scores, second, surer):
    low, high = sorted((second, surer))
    assert 0 <= together(min(scores, more_scores), low) <= together(max(scores, more_scores), high) <= 1


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
    assert heard_by("alexa", other) < 0.1


@pytest.mark.parametrize(("louder_db", "places"), [(0, 40), (-16, 10)])
def test_two_models_hear_a_word_that_a_request_follows_at_once_wherever_frames_begin(louder_db, places):
    """Not hearing it alone or at one level misses some, and most of the quiet ones; not hearing it twice misses one."""
    settings = Settings(wake=WakeSettings(words=("alexa",)))
    scorer = load_scorer(settings.wake.words, engine="streaming", cache_dir=None)
    said = RECORDINGS["no-gap-soft-start"].samples * 10.0 ** (louder_db / 20.0)
    missed = []
    for early in range(0, FRAME_SAMPLES, FRAME_SAMPLES // places):
        room = np.random.default_rng(early).normal(0, 3, 48_000 + early)
        scorer.reset()
        pipeline = build_pipeline(settings, scorer, gate=None)
        events = pipeline.push(np.rint(np.concatenate([room, said])).astype(np.int16))
        if not any(isinstance(event, Heard) for event in events):
            missed.append(early)
    assert not missed


def test_an_opinion_depends_on_nothing_that_was_heard_before():
    models, samples = MicroModels(), RECORDINGS["alexa-request"].samples[:40_000]
    first = models.opinion("alexa").hear(samples)
    models.opinion("alexa").hear(RECORDINGS["hey-jarvis-request"].samples)
    assert models.opinion("alexa").hear(samples) == first


def test_only_words_with_another_model_get_an_opinion():
    models = MicroModels()
    assert all(models.opinion(word) for word in CONFIRMED_WORDS)
    assert models.opinion("hey_jarvis") is None
