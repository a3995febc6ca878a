"""One stream's way: the same audio gives the same events, however it comes and whether gated or not."""

from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pipelines import CAPTURE, build, requests_of, told
from support.scenes import render, sample_scenes

from device.edges.vad import WebrtcVad
from device.edges.wakeword import load_scorer
from device.hearing.capture import NoSpeech
from device.hearing.confirm import Unconfirmed
from device.hearing.frames import FRAME_SAMPLES
from device.hearing.gate import Gate
from device.hearing.pipeline import Heard
from device.hearing.request import Request
from device.hil.recordings import load_recordings, words_of

RECORDINGS = {recording.name: recording for recording in load_recordings(Path(__file__).parent / "fixtures")}


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    words = words_of(RECORDINGS.values())
    return load_scorer(words, engine="streaming", cache_dir=tmp_path_factory.mktemp("cache"))


def hear(pipeline, blocks, ended_by="end-of-input"):
    events = [event for block in blocks for event in pipeline.push(block)]
    return told([*events, *pipeline.finish(ended_by)])


@pytest.fixture(scope="module")
def whole(scorer):
    """What is heard of a recording that comes in one block, by its name."""
    return cache(lambda name: hear(build(scorer), [RECORDINGS[name].samples]))


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
def test_the_gate_changes_no_event(scorer, whole, name):
    assert hear(build(scorer, gated=False), [RECORDINGS[name].samples]) == whole(name)


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(["two-requests", "no-gap", "pauses-inside", "wake-word-alone"]), st.data())
def test_the_size_of_the_blocks_changes_no_event(scorer, whole, name, data):
    samples = RECORDINGS[name].samples
    cuts = data.draw(st.lists(st.integers(0, len(samples)), max_size=40).map(sorted))
    assert hear(build(scorer), np.split(samples, cuts)) == whole(name)


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
    assert [(request.end_sample, request.ended_by) for request in requests] == [(middle, "gap")]
    after = told([*pipeline.push(recording.samples), *pipeline.finish("end-of-input")])
    assert [event[1] - middle for event in after if isinstance(event, tuple)] == [requests[0].wake_sample]


def with_hole(samples, start, length, *, step=1_000):
    """What a pipeline comes to whose stream lost ``length`` samples at ``start``, told in blocks."""

    def play(pipeline):
        for block in np.split(samples[:start], range(step, start, step)):
            yield from pipeline.push(block)
        yield from pipeline.hole(length)
        yield from pipeline.push(samples[start + length :])
        yield from pipeline.finish("end-of-input")

    return play


@pytest.mark.parametrize("length", [160, 4_000, 15_999])
@pytest.mark.parametrize("where", [0.3, 0.6])
def test_a_hole_within_a_request_is_silence_of_its_length_and_the_rest_follows(scorer, where, length):
    recording = RECORDINGS["pauses-inside"]
    pipeline = build(scorer)
    (whole,) = requests_of([*pipeline.push(recording.samples), *pipeline.finish("end-of-input")])
    start = whole.start_sample + round(where * (whole.end_sample - whole.start_sample)) + 7
    (request,) = requests_of(with_hole(recording.samples, start, length)(build(scorer)))
    assert request.ended_by == "silence"
    assert abs(request.start_sample - whole.start_sample) <= 1_600  # a cut may see less of the speech next to it
    assert abs(request.end_sample - whole.end_sample) <= 1_600
    expected = recording.samples.copy()
    expected[start : start + length] = 0
    assert np.array_equal(request.pcm, expected[request.start_sample : request.end_sample])
    assert [(hole.start_sample, hole.duration_s) for hole in request.holes] == [(start, length / 16_000)]


def test_a_hole_is_not_the_silence_that_ends_a_request(scorer):
    """0.4 s of a pause, a hole of 0.9 s, 0.3 s of a pause: nobody knows what was said in the hole."""
    recording = RECORDINGS["hey-jarvis-request"]
    end = recording.truth.requests[0].end_sample
    noise = np.random.default_rng(4).normal(0, 3, 40_000).astype(np.int16)
    speech = recording.samples[recording.truth.requests[0].start_sample : end]
    pause = [noise[:6_400], noise[:14_400], noise[:4_800]]
    samples = np.concatenate([recording.samples[:end], *pause, speech, noise])
    (request,) = requests_of(with_hole(samples, end + 6_400, 14_400)(build(scorer)))
    assert request.end_sample > end + 25_600 + len(speech) // 2
    assert len(request.holes) == 1


@pytest.mark.parametrize("level", [20, 200, 2000])
def test_a_hole_opens_no_gate(scorer, level):
    """The gate would stay open in a room's steady noise for as long as its floor takes to come back up to it."""
    noise = np.random.default_rng(5).normal(0, level, 12 * 16_000).astype(np.int16)
    gate, opened = Gate(WebrtcVad(2)), []
    watched = SimpleNamespace(push=lambda frame: opened.append(gate.push(frame)) or opened[-1], hold=gate.hold)
    list(with_hole(noise, 6 * 16_000 + 300, 7_000)(build(scorer, gate=watched)))
    before, after = opened[50:75], opened[76:]
    assert sum(after) / len(after) <= sum(before) / len(before) + 0.1


def test_a_hole_in_the_wake_word_leaves_it_heard(scorer):
    recording = RECORDINGS["hey-jarvis-request"]
    end = recording.truth.requests[0].wake_end_sample
    for start in range(end - 8_000, end, 1_600):
        assert len(requests_of(with_hole(recording.samples, start, 800)(build(scorer)))) == 1, start


def test_holes_outside_the_cut_are_not_listed_and_those_across_it_in_part(scorer):
    recording = RECORDINGS["hey-jarvis-request"]
    pipeline = build(scorer)
    (whole,) = requests_of([*pipeline.push(recording.samples), *pipeline.finish("end-of-input")])
    for start, end in ((whole.end_sample + 500, whole.end_sample + 4_000), (100, 4_000)):
        (request,) = requests_of(with_hole(recording.samples, start, end - start)(build(scorer)))
        assert request.holes == ()
    (request,) = requests_of(with_hole(recording.samples, whole.end_sample - 800, 1_600)(build(scorer)))
    (hole,) = request.holes
    assert hole.start_sample == whole.end_sample - 800
    assert hole.start_sample + round(hole.duration_s * 16_000) == min(request.end_sample, whole.end_sample + 800)
    assert not request.pcm[hole.start_sample - request.start_sample :][: round(hole.duration_s * 16_000)].any()


@pytest.mark.parametrize("opened", [True, False])
def test_more_than_a_second_is_a_gap_after_which_positions_are_right(scorer, opened):
    recording = RECORDINGS["hey-jarvis-request"]
    middle = (recording.truth.requests[0].start_sample + recording.truth.requests[0].end_sample) // 2
    before = recording.samples[: middle if opened else 4_000]
    pipeline = build(scorer)
    events = [*pipeline.push(before), *pipeline.hole(16_001)]
    assert [(request.end_sample, request.ended_by) for request in requests_of(events)] == [(middle, "gap")] * opened
    (after,) = requests_of([*pipeline.push(recording.samples), *pipeline.finish("end-of-input")])
    assert after.holes == ()
    shift = len(before) + 16_001
    assert np.array_equal(after.pcm, recording.samples[after.start_sample - shift : after.end_sample - shift])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 110_000), st.integers(1, 16_000)), max_size=6), st.data())
def test_whatever_holes_there_are_time_stays_right_and_the_size_of_the_blocks_changes_no_event(scorer, holes, data):
    samples = RECORDINGS["pauses-inside"].samples
    spans, last = [], 0
    for start, length in sorted(holes):
        if start >= last and start + length < len(samples):
            spans.append((start, length))
            last = start + length

    def play(pipeline, cuts):
        position = 0
        for start, length in [*spans, (len(samples), 0)]:
            heard = samples[position:start]
            for block in np.split(heard, [cut - position for cut in cuts if position < cut < start]):
                yield from pipeline.push(block)
            yield from pipeline.hole(length)
            position = start + length
        assert pipeline.position == len(samples) // FRAME_SAMPLES * FRAME_SAMPLES
        yield from pipeline.finish("end-of-input")

    cuts = data.draw(st.lists(st.integers(0, len(samples)), max_size=20).map(sorted))
    events = list(play(build(scorer), cuts))
    assert told(events) == told(play(build(scorer), []))
    expected = samples.copy()
    for start, length in spans:
        expected[start : start + length] = 0
    for request in requests_of(events):
        assert np.array_equal(request.pcm, expected[request.start_sample : request.end_sample])


def test_a_wake_word_inside_a_request_starts_no_second_one(scorer):
    recording = RECORDINGS["wake-word-inside"]
    events = hear(build(scorer), [recording.samples])
    assert sum(isinstance(event, tuple) for event in events) == 1


class Agreeing:
    """A second model of every word that agrees when it has heard so many frames beyond the detection; None: never."""

    def __init__(self, frames):
        self.frames = frames

    def opinion(self, word):
        heard = []
        return SimpleNamespace(hear=lambda samples: heard.append(samples) or float(len(heard) - 1 == self.frames))


@pytest.mark.parametrize("name", ["two-requests", "no-gap", "wake-word-alone", "wake-word-inside", "both-words"])
@pytest.mark.parametrize("frames", [0, 3, 5])
def test_a_second_model_that_agrees_changes_nothing_but_when_the_wake_word_is_reported(scorer, name, frames):
    events = [hear(build(scorer, second=second), [RECORDINGS[name].samples]) for second in (None, Agreeing(frames))]
    requests = [[event for event in one if not isinstance(event, Heard)] for one in events]
    assert requests[0] == requests[1]
    assert {event.confirmed for event in events[1] if isinstance(event, Heard)} == {1.0}


def test_a_second_model_that_does_not_agree_lets_nothing_begin(scorer):
    events = hear(build(scorer, second=Agreeing(None)), [RECORDINGS["two-requests"].samples])
    assert events
    assert all(isinstance(event, Unconfirmed) for event in events)


class Written:
    """Scores that are written down, a frame each, 0 where they end; segments as the real scorer does."""

    def __init__(self, scorer, scores):
        self.words, self.context_frames, self.segmenter = scorer.words, scorer.context_frames, scorer.segmenter
        self.left = iter(scores)

    def reset(self):
        pass

    def score(self, frames):
        first = [next(self.left, 0.0) for _ in frames]
        return np.array([[score] + [0.0] * (len(self.words) - 1) for score in first], np.float32)


def test_a_word_counts_at_once_after_something_that_was_not_confirmed(scorer):
    class NotTheFirst(Agreeing):
        def opinion(self, word):
            # Of the first word it is asked twice: as it was said, and with silence after it.
            self.frames = None if self.asked < 2 else 0
            self.asked += 1
            return super().opinion(word)

        asked = 0

    written = Written(scorer, [0.0] * 20 + [0.6] + [0.0] * 6 + [0.9])  # 0.56 s apart, of the refractory second
    samples = np.zeros(60 * FRAME_SAMPLES, np.int16)
    events = hear(build(written, gated=False, second=NotTheFirst(None)), [samples])
    assert [type(event) for event in events[:2]] == [Unconfirmed, Heard]


def test_the_end_of_a_word_that_counted_does_not_confirm_another(scorer):
    heard = []

    class Listening(Agreeing):
        def opinion(self, word):
            opinion = super().opinion(word)
            return SimpleNamespace(hear=lambda samples: heard.append(len(samples)) or opinion.hear(samples))

    written = Written(scorer, [0.0] * 40 + [0.9] + [0.0] * 13 + [0.9])
    list(build(written, gated=False, second=Listening(0)).push(np.zeros(60 * FRAME_SAMPLES, np.int16)))
    assert heard[:2] == [32_000, 14 * FRAME_SAMPLES]


def test_while_nobody_speaks_nothing_is_scored(scorer):
    calls = []

    class Counting:
        words, context_frames = scorer.words, scorer.context_frames
        reset, segmenter = staticmethod(scorer.reset), staticmethod(scorer.segmenter)

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


@pytest.mark.parametrize("block", [FRAME_SAMPLES, 1000, 16_000])
def test_it_shows_the_score_of_every_frame_once_whatever_the_blocks(scorer, block):
    samples = RECORDINGS["hey-jarvis-request"].samples
    scorer.reset()
    frames = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    expected = np.concatenate([scorer.score(frame[np.newaxis]).copy() for frame in frames])
    pipeline, shown = build(scorer, gated=False), []
    for start in range(0, len(samples), block):
        list(pipeline.push(samples[start : start + block]))
        shown.append(pipeline.scores)
    shown = np.concatenate(shown)
    assert len(frames) - len(shown) in (0, 1)  # two frames are scored together
    assert np.array_equal(shown, expected[: len(shown)])


def test_it_shows_whether_its_gate_let_the_last_frame_pass_also_while_a_capture_is_open(scorer):
    samples = RECORDINGS["hey-jarvis-request"].samples
    decisions, shown = [], []

    class Noting(Gate):
        def push(self, frame):
            decisions.append(super().push(frame))
            return decisions[-1]

    patient = SimpleNamespace(**{**vars(CAPTURE), "silence_s": 3.0})  # the gate closes before the request ends
    samples = np.concatenate([samples, np.zeros(4 * 16_000, np.int16)])
    pipeline = build(scorer, gate=Noting(WebrtcVad(2)), cutting=patient)
    for frame in samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES):
        list(pipeline.push(frame))
        shown.append(pipeline.gate_open)
    assert shown == decisions
    assert {True, False} == set(decisions)


# A button in the place of the wake word.


def pressed(pipeline, samples, at):
    """Hear samples, the button being pressed after so many of them."""
    events = [*pipeline.push(samples[:at]), *pipeline.press(), *pipeline.push(samples[at:])]
    return [*events, *pipeline.finish("end-of-input")]


def without_wake_word(name):
    """A recording's request without what was said before it, between two seconds of its room, and where it begins."""
    recording = RECORDINGS[name]
    request = recording.truth.requests[0]
    room = np.tile(recording.samples[:8_000], 4)
    return np.concatenate([room, recording.samples[request.start_sample - 800 :], room]), len(room) + 800


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("name", ["hey-jarvis-request", "alexa-request", "short-request", "reverberant-room"])
@pytest.mark.parametrize("before_s", [0.1, 1.0])
def test_a_press_records_what_is_said_next_though_no_wake_word_was(scorer, name, before_s, gated):
    samples, begins = without_wake_word(name)
    at = begins - round(before_s * 16_000)
    heard, request = pressed(build(scorer, gated=gated), samples, at)
    assert (heard.word, heard.score, heard.wake_sample) == ("button", 1.0, at // FRAME_SAMPLES * FRAME_SAMPLES)
    truth = RECORDINGS[name].truth.requests[0]
    assert request.wake_word == "button"
    assert heard.wake_sample <= request.start_sample <= begins + 480  # 30 ms
    assert request.end_sample >= begins + truth.end_sample - truth.start_sample - 480
    assert np.array_equal(request.pcm, samples[request.start_sample : request.end_sample])


def test_nothing_of_before_a_press_is_kept_though_somebody_spoke(scorer):
    samples, begins = without_wake_word("pauses-inside")
    at = begins + 8_000  # half a second into what is said
    heard, *_, request = pressed(build(scorer), samples, at)
    assert heard.wake_sample <= request.start_sample < heard.wake_sample + 3 * FRAME_SAMPLES


def test_a_press_after_which_nothing_is_said_is_no_speech(scorer):
    quiet = RECORDINGS["quiet-room"].samples
    quiet = np.tile(quiet, 2)
    heard, nothing = pressed(build(scorer), quiet, 20_000)
    assert isinstance(nothing, NoSpeech)
    assert (nothing.word, nothing.wake_sample) == ("button", heard.wake_sample)


def test_a_press_while_a_request_is_spoken_is_part_of_it(scorer, whole):
    recording = RECORDINGS["pauses-inside"]
    middle = recording.truth.requests[0].start_sample + 8_000
    events = pressed(build(scorer), recording.samples, middle)
    assert told([event for event in events if isinstance(event, Request)]) == [
        event for event in whole("pauses-inside") if isinstance(event, tuple)
    ]


def test_a_press_while_a_request_is_waited_for_begins_the_wait_anew(scorer):
    quiet = np.tile(RECORDINGS["quiet-room"].samples, 3)
    pipeline = build(scorer)
    events = [*pipeline.push(quiet[:16_000]), *pipeline.press(), *pipeline.push(quiet[16_000:64_000])]
    events += [*pipeline.press(), *pipeline.push(quiet[64_000:])]
    (nothing,) = [event for event in events if isinstance(event, NoSpeech)]
    assert nothing.end_sample - 64_000 // FRAME_SAMPLES * FRAME_SAMPLES >= 4 * 16_000
