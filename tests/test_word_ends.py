"""A bundled wake word's end is told from its embeddings, whatever follows; other words have none."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from support.cutting import detect
from support.scenes import Scene, Utterance, render
from support.speech import ESPEAK_VOICES, FLITE_VOICES

from device.core.frames import FRAME_SAMPLES, RATE_HZ
from device.core.wake import Detection
from device.edges.wakeword import BUNDLED_WORDS, ENGINES, load_scorer
from device.edges.wakeword.sessions import FEATURES
from device.edges.wakeword.word_ends import WEIGHTS, WINDOW
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
    utterance = Utterance(voice=voice, wake_word=word, text=text, gap_s=0.0)
    settings = {"noise": "pink", "snr_db": 20.0, "rt60_s": 0.25, "lead_s": 1.5, "tail_s": 1.5, "seed": 5} | changed
    recording = render(Scene(utterances=(utterance,), **settings), "", wake_word=word)
    truth = recording.truth
    end = truth.requests[0].wake_end_sample if text else truth.bare_wakes[0].end_sample
    return recording.samples, detect(recording.samples, word, end, scorer), end


def test_there_are_finite_weights_for_every_bundled_word():
    weights = np.load(WEIGHTS)
    assert weights.shape == (len(BUNDLED_WORDS), WINDOW * FEATURES + 1)
    assert weights.dtype == np.float32
    assert np.isfinite(weights).all()


@pytest.mark.parametrize("text", ["", "stop", "what time is it"])
def test_the_end_is_told_with_and_without_a_request_that_follows_at_once(scorer, text):
    heard = [hear(word, voice, text, scorer) for word, voice in SPOKEN]
    off_s = np.array([(detection.end_sample - end) / RATE_HZ for _, detection, end in heard if detection])
    assert len(off_s) >= len(SPOKEN) - 2
    assert np.abs(np.median(off_s)) < 0.03
    assert np.abs(off_s).max() < 0.12


def test_both_engines_tell_the_same(scorer, cache):
    samples, detection, _ = hear(*CLEAR, "stop", scorer)
    history = samples[: detection.wake_sample]
    told = {
        load_scorer(("hey_jarvis",), engine=engine, cache_dir=cache).word_end(detection, history) for engine in ENGINES
    }
    assert len(told) == 1
    assert None not in told


def test_it_depends_on_the_last_three_seconds_only(scorer):
    samples, detection, _ = hear(*CLEAR, "stop", scorer, lead_s=5.0)
    history = samples[: detection.wake_sample]
    assert scorer.word_end(detection, history[-3 * RATE_HZ :]) == pytest.approx(
        scorer.word_end(detection, history), abs=2
    )


def test_telling_changes_no_score(scorer):
    samples, detection, _ = hear(*CLEAR, "stop", scorer)
    frames = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    scorer.reset()
    expected = scorer.score(frames).copy()
    scorer.reset()
    half = len(frames) // 2
    first = scorer.score(frames[:half]).copy()
    scorer.word_end(detection, samples[: detection.wake_sample])
    np.testing.assert_array_equal(np.concatenate([first, scorer.score(frames[half:])]), expected)


def test_too_little_history_tells_nothing(scorer):
    detection = Detection("hey_jarvis", 0.9, 3 * FRAME_SAMPLES, (0.9,))
    assert scorer.word_end(detection, np.zeros(3 * FRAME_SAMPLES, np.int16)) is None
    assert scorer.word_end(detection, np.zeros(0, np.int16)) is None


def test_a_model_of_ones_own_has_none_even_under_a_bundled_name(scorer, cache, tmp_path):
    own = shutil.copy(model_folder() / "hey_jarvis_v0.1.onnx", tmp_path / "hey_jarvis.onnx")
    samples, detection, _ = hear(*CLEAR, "stop", scorer)
    theirs = load_scorer((str(own),), engine="streaming", cache_dir=cache)
    assert theirs.word_end(replace(detection, word="hey_jarvis"), samples[: detection.wake_sample]) is None
