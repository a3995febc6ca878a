"""A bundled wake word's end, and whether more was said, is told from what is heard about it; of other words nothing."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from support.cutting import detect
from support.scenes import Scene, Utterance, render
from support.speech import ESPEAK_VOICES, FLITE_VOICES, Voice

from device.core.frames import FRAME_SAMPLES, RATE_HZ
from device.core.wake import Detection
from device.edges.wakeword import BUNDLED_WORDS, ENGINES, load_scorer
from device.edges.wakeword.word_end_model import BEFORE, HEARD_AFTER, WordEndModel
from device.edges.wakeword.word_ends import ROOM_S, WEIGHTS
from device.edges.wakeword.words import model_folder

VOICES = {"hey_jarvis": (*FLITE_VOICES, *ESPEAK_VOICES[::11]), "alexa": FLITE_VOICES}
SPOKEN = [(word, voice) for word, voices in VOICES.items() for voice in voices]


CLEAR = ("hey_jarvis", ESPEAK_VOICES[0])


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def scorer(cache):
    return load_scorer(BUNDLED_WORDS, engine="streaming", cache_dir=cache)


def hear(word, voice, text, scorer, **changed):
    """Return the recording, its detection and the true end of the wake word."""
    gain_db = changed.pop("gain_db", 0.0)
    utterance = Utterance(voice=voice, wake_word=word, text=text, gap_s=0.0, request_gain_db=gain_db)
    settings = {"noise": "pink", "snr_db": 20.0, "rt60_s": 0.25, "lead_s": 1.5, "tail_s": 1.5, "seed": 5} | changed
    recording = render(Scene(utterances=(utterance,), **settings), "", wake_word=word)
    truth = recording.truth
    end = truth.requests[0].wake_end_sample if text else truth.bare_wakes[0].end_sample
    return recording.samples, detect(recording.samples, word, end, scorer), end


def test_there_are_finite_weights_for_every_bundled_word():
    weights = np.load(WEIGHTS)
    assert weights.shape == (len(BUNDLED_WORDS), WordEndModel.SIZE)
    assert weights.dtype == np.float16
    assert np.isfinite(weights).all()


def told(scorer, samples, detection, heard_until=None):
    return scorer.word_end(detection, samples[:heard_until], 0)


@pytest.mark.parametrize("text", ["", "stop", "what time is it"])
def test_the_end_is_told_with_and_without_a_request_that_follows_at_once(scorer, text):
    heard = [hear(word, voice, text, scorer) for word, voice in SPOKEN]
    ends = [(told(scorer, samples, detection), end) for samples, detection, end in heard if detection]
    off_s = np.array([(one.sample - end) / RATE_HZ for one, end in ends])
    assert len(off_s) >= len(SPOKEN) - 2
    assert np.abs(np.median(off_s)) < 0.03
    assert np.abs(off_s).max() < 0.12
    assert all((one.followed > -2.6) == bool(text) for one, _ in ends)


@pytest.mark.parametrize("rt60_s", [0.0, 0.25, 0.6])
@pytest.mark.parametrize("snr_db", [10.0, 30.0])
def test_in_any_room_and_noise_a_bare_word_is_told_from_one_that_more_was_said_after(scorer, rt60_s, snr_db):
    for word, voice in SPOKEN[::3]:
        odds = {}
        for text in ("", "off", "lights"):
            samples, detection, _ = hear(word, voice, text, scorer, rt60_s=rt60_s, snr_db=snr_db)
            odds[text] = told(scorer, samples, detection).followed if detection else None
        if None not in odds.values():
            assert odds[""] < -2.6 < min(odds["off"], odds["lights"]), (word, str(voice), odds)


def test_the_end_is_told_also_where_the_recording_ends_with_the_word(scorer):
    samples, detection, end = hear(*CLEAR, "", scorer)
    last = max(end + RATE_HZ // 50, detection.wake_sample)
    assert abs(told(scorer, samples, detection, last).sample - end) < 0.12 * RATE_HZ


def test_both_engines_tell_the_same(scorer, cache):
    samples, detection, _ = hear(*CLEAR, "stop", scorer)
    ends = {
        told(load_scorer(("hey_jarvis",), engine=engine, cache_dir=cache), samples, detection) for engine in ENGINES
    }
    assert len(ends) == 1
    assert None not in ends


def test_it_depends_on_the_four_seconds_before_and_the_one_after_only(scorer):
    samples, detection, _ = hear(*CLEAR, "stop", scorer, lead_s=5.0)
    first, last = detection.wake_sample - round(ROOM_S * RATE_HZ), detection.wake_sample + HEARD_AFTER * FRAME_SAMPLES
    part = scorer.word_end(detection, samples[first:last], first)
    whole = told(scorer, samples, detection)
    assert part.sample == pytest.approx(whole.sample, abs=2)
    assert part.followed == pytest.approx(whole.followed, abs=0.01)


def test_what_sounds_like_the_words_end_within_the_request_is_not_taken_for_it(scorer):
    voice = Voice(synthesiser="espeak-ng", name="en-gb-scotland+f5", words_per_minute=180, pitch=62)
    settings = {"snr_db": 18.4, "level_dbfs": -25.6, "lead_s": 2.715, "tail_s": 2.5, "seed": 370804967, "gain_db": 1.4}
    samples, detection, end = hear("hey_jarvis", voice, "louder please", scorer, **settings)
    assert abs(told(scorer, samples, detection).sample - end) < 0.12 * RATE_HZ


def test_telling_changes_no_score(scorer):
    samples, detection, _ = hear(*CLEAR, "stop", scorer)
    frames = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    scorer.reset()
    expected = scorer.score(frames).copy()
    scorer.reset()
    half = len(frames) // 2
    first = scorer.score(frames[:half]).copy()
    told(scorer, samples, detection)
    np.testing.assert_array_equal(np.concatenate([first, scorer.score(frames[half:])]), expected)


def test_too_little_history_tells_nothing(scorer):
    detection = Detection("hey_jarvis", 0.9, BEFORE * FRAME_SAMPLES, (0.9,))
    assert told(scorer, np.zeros(8 * FRAME_SAMPLES, np.int16), detection) is None


def test_just_enough_history_tells_something(scorer):
    samples, detection, _ = hear(*CLEAR, "stop", scorer)
    first = detection.wake_sample - (BEFORE + 1) * FRAME_SAMPLES
    assert scorer.word_end(detection, samples[first:], first) is not None


def test_a_model_of_ones_own_has_none_even_under_a_bundled_name(scorer, cache, tmp_path):
    own = shutil.copy(model_folder() / "hey_jarvis_v0.1.onnx", tmp_path / "hey_jarvis.onnx")
    samples, detection, _ = hear(*CLEAR, "stop", scorer)
    theirs = load_scorer((str(own),), engine="streaming", cache_dir=cache)
    assert told(theirs, samples, replace(detection, word="hey_jarvis")) is None
