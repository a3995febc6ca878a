"""What the device plays is none of a request, in samples of the stream; somebody's wake word still counts meanwhile."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pipelines import CAPTURE, build, requests_of, told

from device.edges.wakeword import load_scorer
from device.hearing.capture import NoSpeech
from device.hearing.masks import LATE_SAMPLES
from device.hearing.pipeline import Heard
from device.hil.recordings import load_recordings

(RECORDING,) = (one for one in load_recordings(Path(__file__).parent / "fixtures") if one.name == "hey-jarvis-request")
SAMPLES = RECORDING.samples
TRUTH = RECORDING.truth.requests[0]
OWN = frozenset({"hey_jarvis"})
NOISE = np.random.default_rng(4).normal(0, 3, 80_000).astype(np.int16)


def hear(pipeline, samples, *marks, cuts=()):
    """What is heard of samples with what is done at positions: (position, action); in blocks that end at the cuts."""
    at = sorted([*marks, *((cut, lambda _: ()) for cut in cuts)], key=lambda mark: mark[0])
    position, found = 0, []
    for until, action in [*at, (len(samples), lambda _: ())]:
        found += pipeline.push(samples[position:until])
        found += action(pipeline)
        position = until
    return [*found, *pipeline.finish("end-of-input")]


def played(start, end, own=frozenset(), key="answer"):
    """Marks around what the device plays."""
    begin = start, lambda pipeline: pipeline.mask(key, samples=len(SAMPLES), own=own)
    return begin, (end, lambda pipeline: pipeline.unmask(key, 0))


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    return load_scorer(["hey_jarvis"], engine="streaming", cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def pipeline(scorer):
    return build(scorer)


def test_a_wake_word_in_what_is_played_sets_nothing_off_and_somebodys_afterwards_does(pipeline):
    pause = NOISE[: LATE_SAMPLES + 8_000]
    samples = np.concatenate([SAMPLES, pause, SAMPLES])
    (request,) = requests_of(events := hear(pipeline, samples, *played(100, len(SAMPLES), OWN)))
    assert request.start_sample > len(SAMPLES) + len(pause)
    assert len([event for event in events if isinstance(event, Heard)]) == 1


def test_late_scores_of_it_set_nothing_off_either(pipeline):
    assert hear(pipeline, SAMPLES, *played(0, TRUTH.wake_end_sample - 4_000, OWN)) == []


def test_somebodys_wake_word_is_heard_and_nothing_of_before_the_end_of_what_is_played_is_kept(pipeline):
    end = TRUTH.start_sample + 4_000
    (request,) = requests_of(hear(pipeline, SAMPLES, *played(0, end)))
    assert request.wake_sample < end <= request.start_sample
    assert np.array_equal(request.pcm, SAMPLES[request.start_sample : request.end_sample])
    assert request.holes == ()


def test_the_padding_does_not_reach_into_what_was_played_until_the_wake_word(scorer):
    padded = SimpleNamespace(**{**vars(CAPTURE), "padding_s": 0.5})
    (request,) = requests_of(hear(build(scorer, cutting=padded), SAMPLES))
    end = request.start_sample + 800
    (request,) = requests_of(hear(build(scorer, cutting=padded), SAMPLES, *played(0, end)))
    assert end < request.wake_sample
    assert (request.start_sample, request.holes) == (end, ())


def test_where_only_what_is_played_is_heard_after_a_wake_word_there_is_no_request(pipeline):
    """A bare wake word, then an answer that talks."""
    samples = np.concatenate([SAMPLES, NOISE])
    events = hear(pipeline, samples, *played(TRUTH.wake_end_sample + 800, TRUTH.end_sample + 3_000))
    assert [type(event) for event in events] == [Heard, NoSpeech]


def test_what_is_played_while_somebody_speaks_is_a_hole_of_the_request(pipeline, scorer):
    (whole,) = requests_of(hear(build(scorer), SAMPLES))
    first, last = whole.start_sample + 9_001, whole.start_sample + 11_000
    (request,) = requests_of(hear(pipeline, SAMPLES, *played(first, last)))
    assert [(hole.start_sample, hole.duration_s) for hole in request.holes] == [(first, 1_999 / 16_000)]
    expected = SAMPLES.copy()
    expected[first:last] = 0
    assert np.array_equal(request.pcm, expected[request.start_sample : request.end_sample])


def test_what_is_played_twice_at_once_is_masked_until_both_have_ended(pipeline):
    (chime, end_of_chime), answer = played(200, 4_000), played(100, len(SAMPLES), OWN, key="another")
    assert hear(pipeline, SAMPLES, chime, end_of_chime, *answer) == []


def test_a_sound_of_known_length_is_masked_so_long(scorer):
    for length in (4_000, 8_000):
        start, end = TRUTH.wake_end_sample + 800, TRUTH.wake_end_sample + 800 + length
        marks = [(start, lambda pipeline, length=length: pipeline.mask("hook", samples=length))]
        (request,) = requests_of(hear(build(scorer), SAMPLES, *marks))
        assert request.start_sample >= end


def test_it_goes_on_over_a_gap_and_not_into_another_recording(pipeline):
    list(pipeline.push(NOISE))
    pipeline.mask("answer", samples=200_000, own=OWN)
    assert [*pipeline.gap(20_000), *pipeline.push(SAMPLES), *pipeline.finish("end-of-input")] == []
    assert len(requests_of([*pipeline.push(SAMPLES), *pipeline.finish("end-of-input")])) == 1


def test_one_that_nobody_ends_ends_by_itself(pipeline):
    pipeline.mask("answer", samples=1_000, own=OWN)
    assert len(requests_of(hear(pipeline, SAMPLES))) == 1


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, len(SAMPLES)), st.integers(1, 40_000), st.lists(st.integers(1, len(SAMPLES) - 1), max_size=8),
)  # fmt: skip
def test_whatever_is_masked_none_of_it_is_kept_and_the_size_of_the_blocks_changes_nothing(
    scorer,
    start,
    length,
    cuts,
):
    end = min(start + length, len(SAMPLES))
    in_one = hear(build(scorer), SAMPLES, *played(start, end))
    assert told(in_one) == told(hear(build(scorer), SAMPLES, *played(start, end), cuts=cuts))
    for request in requests_of(in_one):
        first, last = (max(at - request.start_sample, 0) for at in (start, end))
        assert not request.pcm[first:last].any()
