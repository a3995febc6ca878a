"""The streaming engine's scores are openwakeword's, on speech and on whatever else a microphone may give."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from device.edges.wakeword import load_scorer
from device.edges.wakeword.words import model_folder
from device.hearing.frames import FRAME_SAMPLES, Rechunker
from device.hearing.words import BUNDLED_WORDS

FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("*.wav"))
LARGEST_DIFFERENCE = 1e-5


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def streaming(cache):
    return load_scorer(BUNDLED_WORDS, engine="streaming", cache_dir=cache)


@pytest.fixture(scope="module")
def reference():
    return load_scorer(BUNDLED_WORDS, engine="reference", cache_dir=None)


def fresh(scorer):
    scorer.reset()
    return scorer


def in_calls_of(scorer, frames, sizes) -> np.ndarray:
    """Score frames in calls of these sizes, over and over."""
    scores, start, calls = [], 0, 0
    while start < len(frames):
        size = sizes[calls % len(sizes)]
        scores.append(scorer.score(frames[start : start + size]).copy())
        start, calls = start + size, calls + 1
    return np.concatenate(scores)


def recording(path: Path) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    samples = np.ascontiguousarray(samples[:: rate // 16_000, 0])
    return samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_scores_of_a_recording_are_openwakewords_from_the_first_frame_on(streaming, reference, path):
    frames = recording(path)
    scores = in_calls_of(fresh(streaming), frames, [1, 2, 1, 26])
    np.testing.assert_allclose(scores, fresh(reference).score(frames), rtol=0, atol=LARGEST_DIFFERENCE)


def test_the_recordings_reach_high_and_low_scores(streaming):
    highest = {path.stem: fresh(streaming).score(recording(path)).max() for path in FIXTURES}
    assert highest["hey-jarvis-request"] > 0.9
    assert highest["quiet-room"] < 0.1


def generated(kind: str, seed: int, level: int, samples: int) -> np.ndarray:
    """Audio of one kind, int16, shape (samples,)."""
    random = np.random.default_rng(seed)
    time = np.arange(samples)
    hertz = 10 ** random.uniform(0, 3.9)
    tone = np.sin(2 * np.pi * hertz / 16_000 * time + random.uniform(0, 6))
    match kind:
        case "silence":
            signal = np.zeros(samples)
        case "constant":
            signal = np.full(samples, random.choice([-1, 1]))
        case "noise":
            signal = random.normal(0, 0.3, samples)
        case "tone":
            signal = tone
        case "clipped":
            signal = random.normal(0, 4, samples) + 4 * tone
        case "square":
            signal = np.sign(tone)
        case "bursts":
            signal = random.normal(0, 1, samples) * (np.sin(2 * np.pi * time / random.integers(4000, 30_000)) > 0.4)
        case "clicks":
            signal = (random.random(samples) > 0.9995) * random.choice([-1.0, 1.0], samples)
        case "drifting":
            signal = np.cumsum(random.normal(0, 0.01, samples))
    return np.clip(np.round(signal * level), -32_768, 32_767).astype(np.int16)


KINDS = ["silence", "constant", "noise", "tone", "clipped", "square", "bursts", "clicks", "drifting"]
AUDIO = st.builds(
    generated, st.sampled_from(KINDS), st.integers(0, 2**32 - 1), st.sampled_from([1, 30, 1000, 32_767]), st.just(8000)
)
STREAM = st.lists(AUDIO, min_size=1, max_size=5).map(np.concatenate)


@settings(deadline=None, max_examples=40)
@given(STREAM, st.lists(st.integers(1, 3000), min_size=1, max_size=5), st.lists(st.integers(1, 30), min_size=1))
def test_scores_of_any_audio_in_any_pieces_are_openwakewords(streaming, reference, audio, blocks, sizes):
    chunker, frames, start = Rechunker(), [], 0
    for block in blocks * (len(audio) // sum(blocks) + 1):
        frames += [frame.copy() for frame in chunker.push(audio[start : start + block])]
        start += block
    frames = np.array(frames).reshape(-1, FRAME_SAMPLES)
    scores = in_calls_of(fresh(streaming), frames, sizes)
    np.testing.assert_allclose(scores, fresh(reference).score(frames), rtol=0, atol=LARGEST_DIFFERENCE)


@settings(deadline=None, max_examples=25)
@given(STREAM.filter(lambda audio: len(audio) >= 40_000), st.data())
def test_after_a_reset_and_the_past_replayed_scores_are_those_of_the_whole_stream(streaming, audio, data):
    frames = audio[: len(audio) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    whole = fresh(streaming).score(frames).copy()
    at = data.draw(st.integers(streaming.context_frames, len(frames) - 1))
    fresh(streaming).score(frames[at - streaming.context_frames : at])
    np.testing.assert_array_equal(streaming.score(frames[at:]), whole[at:])


def test_one_frame_less_of_the_past_would_not_be_enough(streaming):
    """What is cut 80 dB below a frame's loudest row depends on the end of the frame before."""
    random = np.random.default_rng(3)
    loud, quiet = random.integers(-32_767, 32_767, (30, FRAME_SAMPLES)), random.integers(-1, 2, (30, FRAME_SAMPLES))
    frames = np.concatenate([loud, quiet]).astype(np.int16)
    whole = fresh(streaming).score(frames).copy()
    enough = streaming.context_frames
    differing = {enough: 0, enough - 1: 0}
    for past in differing:
        for at in range(len(loud), len(frames)):
            fresh(streaming).score(frames[at - past : at])
            differing[past] += (streaming.score(frames[at : at + 1])[0] != whole[at]).any()
    assert differing[enough] == 0
    assert differing[enough - 1] == 1


def test_one_words_scores_are_the_same_alone_and_among_others(cache, streaming):
    frames = recording(FIXTURES[0])
    alone = load_scorer(["hey_marvin"], engine="streaming", cache_dir=cache).score(frames)[5:, 0]
    np.testing.assert_array_equal(fresh(streaming).score(frames)[5:, 2], alone)


def test_a_model_of_another_window_scores_beside_a_bundled_one_as_in_openwakeword(cache):
    words = [str(model_folder() / "weather_v0.1.onnx"), "hey_jarvis"]
    frames = recording(FIXTURES[0])
    scores = load_scorer(words, engine="streaming", cache_dir=cache).score(frames)
    expected = load_scorer(words, engine="reference", cache_dir=None).score(frames)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=LARGEST_DIFFERENCE)


def test_scoring_frame_by_frame_keeps_no_memory(streaming):
    frames = recording(FIXTURES[0])[:50]
    in_calls_of(fresh(streaming), frames, [1])
    ours = [
        tracemalloc.Filter(inclusive=True, filename_pattern="*/device/edges/wakeword/*")
    ]  # not other tests' threads
    kept = []
    tracemalloc.start()
    try:
        for _ in range(3):
            for frame in range(len(frames)):
                streaming.score(frames[frame : frame + 1])
            gc.collect()
            kept.append(sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces(ours).traces))
    finally:
        tracemalloc.stop()
    assert kept[2] - kept[1] < len(frames)  # less than a byte a frame
