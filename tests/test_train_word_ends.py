"""What ``scripts/train-word-ends`` writes is what it learnt, and the scenes that it learns from are as it says."""

import numpy as np
import pytest
from sklearn.neural_network import MLPRegressor
from support import train_word_ends
from support.sentences import speak_in_one_breath
from support.speech import ESPEAK_VOICES, FLITE_VOICES, missing_synthesisers, speak
from support.word_end_scenes import hear

from device.core.frames import RATE_HZ
from device.edges.wakeword.word_end_model import HIDDEN, Network, WordEndModel

pytestmark = pytest.mark.skipif(
    bool(missing_synthesisers()), reason=f"not installed: {' '.join(missing_synthesisers())} (Debian packages)"
)
SIZE = 24


@pytest.fixture(scope="module")
def examples():
    return hear("alexa", FLITE_VOICES, [7], SIZE)


def test_the_weights_written_are_those_of_the_network_that_learnt():
    rng = np.random.default_rng(0)
    inputs = rng.normal(3.0, rng.uniform(0.1, 5.0, 12), (600, 12)).astype(np.float32)
    targets = np.abs(inputs[:, 0] - 3.0) + inputs[:, 1]
    model = MLPRegressor(hidden_layer_sizes=(HIDDEN,), max_iter=200, learning_rate_init=0.01, random_state=0)
    network = Network(train_word_ends._network(model, inputs, targets).astype(np.float32), 12)
    scaled = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    np.testing.assert_allclose(network.tell(inputs), model.predict(scaled), atol=1e-3)
    assert np.corrcoef(network.tell(inputs), targets)[0, 1] > 0.9


def test_what_was_learnt_by_heart_is_told(examples, monkeypatch):
    monkeypatch.setitem(train_word_ends.LEARNING, "batch_size", 16)  # there are fewer than for the real ones
    model = WordEndModel(train_word_ends.train(examples).astype(np.float32))
    told = [model.tell(example.heard, example.detection) for example in examples]
    off_s = [
        (end.sample - one.detection.wake_sample - one.end) / RATE_HZ for end, one in zip(told, examples, strict=True)
    ]
    assert np.median(np.abs(off_s)) < 0.05
    known = [
        (end.followed > 0, one.followed) for end, one in zip(told, examples, strict=True) if one.followed is not None
    ]
    assert sum(said == true for said, true in known) >= 0.8 * len(known)


def test_bare_wake_words_and_what_follows_at_once_are_both_learnt_from(examples):
    assert len(examples) == SIZE
    assert {True, False} <= {example.followed for example in examples}


def test_the_same_seed_gives_the_same_scenes(examples):
    again = hear("alexa", FLITE_VOICES, [7], 2)
    assert len(again) == 2
    for one, other in zip(examples, again, strict=False):
        assert (one.end, one.followed, one.detection) == (other.end, other.followed, other.detection)
        np.testing.assert_array_equal(one.heard.features, other.heard.features)
        np.testing.assert_array_equal(one.heard.levels, other.heard.levels)


def test_a_sentence_sounds_the_same_whatever_was_said_before():
    """Within a process espeak-ng goes on from the sentence before."""
    first, _ = speak_in_one_breath("hey jarvis", "hush", ESPEAK_VOICES[0])
    speak_in_one_breath("hey jarvis", "turn it off", ESPEAK_VOICES[-1])
    again, _ = speak_in_one_breath("hey jarvis", "hush", ESPEAK_VOICES[0])
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("voice", [ESPEAK_VOICES[0], ESPEAK_VOICES[-1], FLITE_VOICES[1], FLITE_VOICES[3]], ids=str)
def test_in_one_breath_a_word_ends_where_the_synthesiser_says(voice):
    alone = len(speak("hey jarvis", voice))
    said = {text: speak_in_one_breath("hey jarvis", text, voice) for text in ("hush", "turn it off", "apples")}
    ends = [end for _, end in said.values()]
    assert max(ends) - min(ends) < 0.06 * RATE_HZ
    assert all(0.6 * alone < end <= alone for end in ends)
    for text, (signal, end) in said.items():  # and what follows is the rest, as long as said by itself
        assert 0.6 < (len(signal) - end) / len(speak(text, voice)) < 1.3
