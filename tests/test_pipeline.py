"""One stream's way: the same audio gives the same events, however it comes and whether gated or not."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.recordings import load_recordings, words_of
from support.scenes import render, sample_scenes

from device.core.capture import Capture, NoSpeech
from device.core.frames import FRAME_SAMPLES
from device.core.gate import Gate
from device.core.pipeline import Heard, Pipeline
from device.core.tag import Request
from device.core.wake import Detector
from device.edges.vad import WebrtcVad
from device.edges.wakeword import load_scorer

RECORDINGS = {recording.name: recording for recording in load_recordings(Path(__file__).parent / "fixtures")}
CAPTURE = SimpleNamespace(pre_roll_s=0.5, silence_s=0.8, no_speech_s=4.0, max_s=15.0, padding_s=0.15)


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    words = words_of(RECORDINGS.values())
    return load_scorer(words, engine="streaming", cache_dir=tmp_path_factory.mktemp("cache"))


def build(scorer, *, gated=True, cutting=CAPTURE):
    detector = partial(Detector, scorer.words, (0.5,) * len(scorer.words), patience=1, refractory_samples=16_000)
    gate = Gate(WebrtcVad(2)) if gated else None
    return Pipeline(scorer, detector, Capture(cutting, partial(WebrtcVad, 2), scorer.word_end), gate)


def hear(pipeline, blocks, ended_by="end-of-input"):
    events = [event for block in blocks for event in pipeline.push(block)]
    return told([*events, *pipeline.finish(ended_by)])


def told(events):
    """Events that can be compared: PCM as bytes."""
    return [
        (event.wake_word, event.wake_sample, event.start_sample, event.end_sample, event.ended_by, event.pcm.tobytes())
        if isinstance(event, Request)
        else event
        for event in events
    ]


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_wake_word_of_a_recording_gives_its_request_or_none_and_nothing_else(scorer, name):
    recording = RECORDINGS[name]
    pipeline = build(scorer)
    events = [*pipeline.push(recording.samples), *pipeline.finish("end-of-input")]
    requests = [event for event in events if isinstance(event, Request)]
    assert len(requests) == len(recording.truth.requests)
    assert sum(isinstance(event, NoSpeech) for event in events) == len(recording.truth.bare_wakes)
    for request in requests:
        kept = recording.samples[request.start_sample : request.end_sample]
        assert np.array_equal(request.pcm, kept)


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_gate_changes_no_event(scorer, name):
    blocks = [RECORDINGS[name].samples]
    assert hear(build(scorer), blocks) == hear(build(scorer, gated=False), blocks)


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(["two-requests", "no-gap", "pauses-inside", "wake-word-alone"]), st.data())
def test_the_size_of_the_blocks_changes_no_event(scorer, name, data):
    samples = RECORDINGS[name].samples
    cuts = data.draw(st.lists(st.integers(0, len(samples)), max_size=40).map(sorted))
    assert hear(build(scorer), np.split(samples, cuts)) == hear(build(scorer), [samples])


def test_a_second_stream_is_heard_as_if_it_were_the_first(scorer):
    pipeline = build(scorer)
    first = hear(pipeline, [RECORDINGS["two-requests"].samples])
    assert hear(pipeline, [RECORDINGS["two-requests"].samples]) == first


def test_a_long_silence_before_changes_nothing_but_the_positions(scorer):
    samples = RECORDINGS["hey-jarvis-request"].samples
    quiet = np.random.default_rng(1).normal(0, 3, 40 * FRAME_SAMPLES * 10).astype(np.int16)
    alone = [event for event in hear(build(scorer), [samples]) if isinstance(event, tuple)]
    later = [event for event in hear(build(scorer), [quiet, samples]) if isinstance(event, tuple)]
    assert len(alone) == len(later) == 1
    assert later[0][1] == alone[0][1] + len(quiet)


def test_a_request_that_reaches_the_end_comes_out_with_what_ended_it(scorer):
    recording = RECORDINGS["hey-jarvis-request"]
    end = recording.truth.requests[0].end_sample - 3_000
    for reason in ("end-of-input", "shutdown"):
        events = hear(build(scorer), [recording.samples[:end]], reason)
        assert [event[4] for event in events if isinstance(event, tuple)] == [reason]
        assert events[-1][3] == end


def test_a_gap_closes_the_open_request_before_it_and_starts_anew_after_it(scorer):
    recording = RECORDINGS["hey-jarvis-request"]
    middle = (recording.truth.requests[0].start_sample + recording.truth.requests[0].end_sample) // 2
    pipeline = build(scorer)
    before = [*pipeline.push(recording.samples[:middle]), *pipeline.gap()]
    requests = [event for event in before if isinstance(event, Request)]
    assert [(request.end_sample, request.ended_by) for request in requests] == [(middle, "end-of-input")]
    after = told([*pipeline.push(recording.samples), *pipeline.finish("end-of-input")])
    assert [event[1] - middle for event in after if isinstance(event, tuple)] == [requests[0].wake_sample]


def test_a_wake_word_inside_a_request_starts_no_second_one(scorer):
    recording = RECORDINGS["wake-word-inside"]
    events = hear(build(scorer), [recording.samples])
    assert sum(isinstance(event, tuple) for event in events) == 1


def test_while_nobody_speaks_nothing_is_scored(scorer):
    calls = []

    class Counting:
        words, context_frames = scorer.words, scorer.context_frames
        reset, word_end = staticmethod(scorer.reset), staticmethod(scorer.word_end)

        @staticmethod
        def score(frames):
            calls.append(len(frames))
            return scorer.score(frames)

    pipeline = build(Counting)
    assert not list(pipeline.push(np.zeros(200 * FRAME_SAMPLES, np.int16)))
    assert not calls
    assert [event for event in pipeline.push(RECORDINGS["hey-jarvis-request"].samples) if isinstance(event, Heard)]
    assert calls[0] == scorer.context_frames + 1


def detections(scorer, samples, *, gated):
    return [event for event in build(scorer, gated=gated).push(samples) if isinstance(event, Heard)]


def parity_in_noise(scorer, size, seed, snrs_db, gain=1.0):
    """How many wake words are heard without a gate; with one, exactly the same ones are."""
    heard = 0
    for name, word, scene in sample_scenes(size, seed, snrs_db=snrs_db):
        samples = np.round(render(scene, name, wake_word=word).samples * gain).astype(np.int16)
        ungated = detections(scorer, samples, gated=False)
        assert detections(scorer, samples, gated=True) == ungated, (name, gain)
        heard += len(ungated)
    return heard


@pytest.mark.parametrize("gain", [1.0, 0.1, 0.02])
def test_the_gate_changes_no_detection_in_noise_at_any_level(scorer, gain):
    assert parity_in_noise(scorer, 20, 51, (0.0, 5.0, 10.0, 20.0), gain) >= 5


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("gain", [1.0, 0.1, 0.02])
def test_the_gate_changes_no_detection_in_hundreds_of_noisy_recordings(scorer, gain):
    assert parity_in_noise(scorer, 200, 52, (-5.0, 0.0, 5.0, 10.0, 20.0), gain) >= 60
