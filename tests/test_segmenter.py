"""The segmenter: what it says of a frame depends on the audio only, and its file says what it was made for."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.edges.wakeword import load_scorer
from device.edges.wakeword.segment_weights import SHIPPED, input_form, load
from device.edges.wakeword.segmenter import SETTLED
from device.errors import ModelError
from device.hearing.frames import FRAME_SAMPLES, VAD_SAMPLES
from device.hearing.segment_inputs import BEFORE, EMBEDDING_INPUTS, FRAME_INPUTS
from device.hearing.segment_network import DILATIONS, KINDS, REACH, REQUEST, WAKE_WORD, Weights, chances
from device.hearing.wake import Detection
from device.hearing.words import BUNDLED_WORDS
from device.hil.recordings import load_recordings
from training.saving import save

RECORDINGS = {recording.name: recording for recording in load_recordings(Path(__file__).parent / "fixtures")}
SAMPLES = RECORDINGS["hey-jarvis-request"].samples
TRUTH = RECORDINGS["hey-jarvis-request"].truth.requests[0]
WAKE = Detection("hey_jarvis", 0.9, -(-(TRUTH.wake_end_sample + 1600) // FRAME_SAMPLES) * FRAME_SAMPLES)


@pytest.fixture(scope="module")
def segment(tmp_path_factory):
    return load_scorer(("hey_jarvis",), engine="streaming", cache_dir=tmp_path_factory.mktemp("cache")).segmenter


def segmented(segment, samples, history, sizes=()):
    """The chances after all of a recording was pushed, in blocks of so many frames of 20 ms."""
    segmenter = segment(WAKE, samples[WAKE.wake_sample - history : WAKE.wake_sample])
    position, end = WAKE.wake_sample, len(samples) // VAD_SAMPLES * VAD_SAMPLES
    for size in [*sizes, (end - position) // VAD_SAMPLES]:
        block = samples[position : min(position + size * VAD_SAMPLES, end)]
        segmenter.push(block)
        position += len(block)
        assert len(segmenter.chances) == (position - segmenter.start_sample) // VAD_SAMPLES
    return segmenter.chances


def test_the_wake_word_and_the_request_are_told_apart(segment):
    found = segmented(segment, SAMPLES, 32_000)
    start = WAKE.wake_sample - min(32_000 // VAD_SAMPLES, BEFORE) * VAD_SAMPLES

    def middle(first, last):
        return slice((first - start) // VAD_SAMPLES + 4, (last - start) // VAD_SAMPLES - 4)

    assert found[middle(TRUTH.wake_start_sample, TRUTH.wake_end_sample), WAKE_WORD].mean() > 0.8
    assert found[middle(TRUTH.start_sample, TRUTH.end_sample), REQUEST].mean() > 0.8
    assert found[(TRUTH.end_sample - start) // VAD_SAMPLES + 12 :, REQUEST].max() < 0.5


def test_it_knows_the_bundled_wake_words_and_says_so_of_no_other(segment):
    history = SAMPLES[: WAKE.wake_sample]
    for word in BUNDLED_WORDS:
        assert segment(Detection(word, 0.9, WAKE.wake_sample), history).knows_word
    assert not segment(Detection("computer", 0.9, WAKE.wake_sample), history).knows_word


@settings(deadline=None, max_examples=25)
@given(sizes=st.lists(st.integers(1, 40), max_size=30), history=st.sampled_from([0, 320, 1600, 32_000]))
def test_blocks_of_any_size_are_segmented_alike(segment, sizes, history):
    np.testing.assert_allclose(
        segmented(segment, SAMPLES, history, sizes), segmented(segment, SAMPLES, history), atol=1e-5
    )


def test_what_is_settled_does_not_change_whatever_is_heard_after(segment):
    other = SAMPLES.copy()
    cut = WAKE.wake_sample + 60 * VAD_SAMPLES
    other[cut:] = np.random.default_rng(1).integers(-9000, 9000, len(other) - cut)
    settled = BEFORE + 60 - SETTLED
    same, changed = (segmented(segment, samples, 32_000) for samples in (SAMPLES, other))
    shift = len(same) - len(segmented(segment, SAMPLES, 32_000))
    assert shift == 0
    first = 32_000 // VAD_SAMPLES - BEFORE if 32_000 // VAD_SAMPLES < BEFORE else 0
    np.testing.assert_array_equal(same[: settled + first], changed[: settled + first])
    assert not np.array_equal(same, changed)


def random_weights(words=2, channels=6, told=4, known=3):
    rng = np.random.default_rng(1)

    def draw(*shape):
        return rng.normal(0, 0.5, shape).astype(np.float32)

    return Weights(
        embedding=draw(EMBEDDING_INPUTS, told), embedding_bias=draw(told), words=draw(words + 1, known),
        first=draw(FRAME_INPUTS + told + known, channels), first_bias=draw(channels),
        layers=draw(len(DILATIONS), 3 * channels, channels), layer_biases=draw(len(DILATIONS), channels),
        last=draw(channels, KINDS), last_bias=draw(KINDS),
    )  # fmt: skip


def test_a_frames_chances_depend_on_no_frame_beyond_the_reach():
    weights, rng = random_weights(), np.random.default_rng(2)
    frames = rng.normal(size=(200, FRAME_INPUTS)).astype(np.float32)
    embeddings = rng.normal(size=(200, EMBEDDING_INPUTS)).astype(np.float32)
    found = chances(weights, 1, frames, embeddings)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-5)
    frames[100] += 5.0
    moved = np.flatnonzero(np.abs(chances(weights, 1, frames, embeddings) - found).max(axis=1))
    assert moved.min() >= 100 - REACH
    assert moved.max() <= 100 + REACH


def test_a_network_is_read_as_it_was_written_and_says_what_it_knows(tmp_path):
    weights, path = random_weights(), tmp_path / "one.npz"
    save(path, weights, ("alexa", "hey_jarvis"), {"seed": 7})
    read, words = load(path)
    assert words == ("alexa", "hey_jarvis")
    np.testing.assert_allclose(read.layers, weights.layers, atol=1e-3)


def test_a_network_learnt_for_other_inputs_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "one.npz"
    with monkeypatch.context() as changed:
        changed.setattr("training.saving.input_form", lambda: input_form() | {"ahead": 5})
        save(path, random_weights(), ("alexa", "hey_jarvis"), {})
    with pytest.raises(ModelError, match="ahead = 5, not 4"):
        load(path)


@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_damaged_network_is_named_in_one_line(tmp_path, damage):
    path = tmp_path / "one.npz"
    if damage != "missing":
        whole = SHIPPED.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
    with pytest.raises(ModelError, match=r"one\.npz") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_the_shipped_network_says_where_it_comes_from():
    with np.load(SHIPPED) as held:
        about = str(held["about"])
    for fact in ("seed", "sources", "learnt_from", "held_out"):
        assert f'"{fact}"' in about
