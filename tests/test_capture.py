"""The capture: what a segmented stream comes to, and that a request is a function of the audio only."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rooms import noise
from support.segmenting import Scripted
from support.speech import ESPEAK_VOICES, FLITE_VOICES, active_rms, speak, to_samples, to_signal

from device.edges.wakeword import load_scorer
from device.hearing.capture import Capture, CaptureError, NoSpeech
from device.hearing.cut import CutRules
from device.hearing.frames import FRAME_SAMPLES, RATE_HZ, VAD_SAMPLES, Rechunker, samples_of
from device.hearing.request import Request
from device.hearing.wake import Detection

DEFAULTS = {"pre_roll_s": 0.5, "silence_s": 0.8, "no_speech_s": 4.0, "max_s": 15.0, "padding_s": 0.15}
VOICE = ESPEAK_VOICES[0]
REQUEST = "turn off the light"
RULES = CutRules()
FRAMES = RATE_HZ // VAD_SAMPLES  # a second of them


@pytest.fixture(scope="module")
def segment(tmp_path_factory):
    return load_scorer(("hey_jarvis",), engine="streaming", cache_dir=tmp_path_factory.mktemp("cache")).segmenter


def scripted(text, **changed):
    """A capture that hears what the text says; see `Scripted`."""
    return Capture(SimpleNamespace(**(DEFAULTS | changed)), partial(Scripted, text), RULES)


def new(segment, **changed):
    return Capture(SimpleNamespace(**(DEFAULTS | changed)), segment, RULES)


def said(text, voice=VOICE):
    signal = to_signal(speak(text, voice))
    return signal * (0.1 / active_rms(signal))


def silence(seconds):
    return np.zeros(samples_of(seconds))


def sound(*parts, seed=1):
    """Join the parts in a quiet room; return int16 samples."""
    dry = np.concatenate(parts)
    return to_samples(dry + 0.001 * noise("pink", len(dry), np.random.default_rng(seed)))


def fire(wake_end, late_s=0.1):
    """Detect the wake word so long after its end, at the end of a frame."""
    return Detection("hey_jarvis", 0.9, -(-(wake_end + samples_of(late_s)) // FRAME_SAMPLES) * FRAME_SAMPLES)


LEAD = np.concatenate([silence(2.0), said("hey jarvis")])
WAKE = fire(len(LEAD))
# In letters: 2 s of silence, a wake word of 0.6 s, which is detected 0.1 to 0.18 s later.
QUIET, WORD = "." * (2 * FRAMES), "w" * 30
LETTERS_WAKE = fire(len(QUIET + WORD) * VAD_SAMPLES)


def history_of(samples, wake=WAKE.wake_sample, seconds=4.0):
    return samples[max(0, wake - samples_of(seconds)) : wake]


def run(capture, samples, detection=WAKE, ended_by="end-of-input", rewakes=()):
    """Feed one capture; return its outcome and the stream position at which it came."""
    position = detection.wake_sample
    assert capture.begin(detection, history_of(samples, position))
    while position + FRAME_SAMPLES <= len(samples):
        outcome = capture.push(samples[position : position + FRAME_SAMPLES])
        position += FRAME_SAMPLES
        if outcome:
            return outcome, position
        for again in rewakes:
            if again.wake_sample == position:
                capture.rewake(again)
    return capture.finish(ended_by, samples[position:]), len(samples)


def run_letters(text, detection=LETTERS_WAKE, rewakes=(), seconds=12, **changed):
    """Run a capture on a stream that the text segments; return its outcome with positions in frames of 20 ms."""
    outcome, position = run(scripted(text, **changed), stream_of(seconds), detection, rewakes=rewakes)
    return outcome, position / VAD_SAMPLES


def stream_of(seconds):
    return np.random.default_rng(1).integers(-99, 99, seconds * RATE_HZ).astype(np.int16)


def check_request(outcome, samples, start, end):
    assert isinstance(outcome, Request)
    assert start - samples_of(0.4) <= outcome.start_sample <= start + samples_of(0.03)
    assert end - samples_of(0.03) <= outcome.end_sample <= end + samples_of(0.35)
    assert outcome.start_sample <= outcome.speech_sample <= outcome.end_sample
    np.testing.assert_array_equal(outcome.pcm, samples[outcome.start_sample : outcome.end_sample])


# What a segmented stream comes to.


@pytest.mark.parametrize("gap", [0, 5, 20, 150])
@pytest.mark.parametrize("length", [RULES.least, 20, 100])
def test_a_request_is_kept_with_the_padding_on_each_side(gap, length):
    text = QUIET + WORD + "." * gap + "r" * length
    outcome, position = run_letters(text)
    start, end = len(text) - length, len(text)
    assert outcome.speech_sample == start * VAD_SAMPLES
    assert (outcome.start_sample, outcome.end_sample) == (
        start * VAD_SAMPLES - samples_of(0.15 if gap else 0.1),  # a little of the wake word at most
        end * VAD_SAMPLES + samples_of(0.15),
    )
    assert outcome.ended_by == "silence"
    assert 0 <= position - end - 0.8 * FRAMES < FRAME_SAMPLES / VAD_SAMPLES


def test_fewer_frames_than_the_least_are_no_request():
    outcome, _ = run_letters(QUIET + WORD + "." * 10 + "r" * (RULES.least - 1))
    assert isinstance(outcome, NoSpeech)


def test_a_first_sound_near_the_request_belongs_to_it_and_one_far_from_it_does_not():
    far = QUIET + WORD + "." * 10 + "r" + "." * (RULES.near + 1) + "r" * 20
    near = QUIET + WORD + "." * 10 + "r" + "." * RULES.near + "r" * 20
    assert run_letters(far)[0].speech_sample == (len(far) - 20) * VAD_SAMPLES
    assert run_letters(near)[0].speech_sample == (len(near) - 21 - RULES.near) * VAD_SAMPLES


def test_a_bare_wake_word_is_no_speech_after_no_speech_s():
    outcome, _ = run_letters(QUIET + WORD)
    assert isinstance(outcome, NoSpeech)
    assert (outcome.word, outcome.wake_sample) == ("hey_jarvis", LETTERS_WAKE.wake_sample)
    assert 0 <= outcome.end_sample - LETTERS_WAKE.wake_sample - samples_of(4.0) < FRAME_SAMPLES


def test_of_an_unknown_wake_word_what_ends_before_the_detection_is_its_own_and_a_request_is_not():
    stream = stream_of(12)
    unknown = partial(Scripted, knows_word=False)
    fired = LETTERS_WAKE.wake_sample // VAD_SAMPLES
    taken_for_a_request = (QUIET + "w" * 15).ljust(fired - RULES.own - 12, ".") + "r" * 12
    bare = Capture(SimpleNamespace(**DEFAULTS), partial(unknown, taken_for_a_request), RULES)
    assert isinstance(run(bare, stream, LETTERS_WAKE)[0], NoSpeech)
    for said_later in (taken_for_a_request + "r", taken_for_a_request + "." * 50 + "r" * 20):
        outcome, _ = run(
            Capture(SimpleNamespace(**DEFAULTS), partial(unknown, said_later), RULES), stream, LETTERS_WAKE
        )
        assert outcome.end_sample == len(said_later) * VAD_SAMPLES + samples_of(0.15)
    known = scripted(taken_for_a_request)
    assert isinstance(run(known, stream, LETTERS_WAKE)[0], Request)


def test_a_pause_shorter_than_the_silence_ends_nothing_and_pauses_do_not_add_up():
    text = QUIET + WORD + ("." * 38 + "r" * 20) * 6
    outcome, _ = run_letters(text)
    assert outcome.end_sample == len(text) * VAD_SAMPLES + samples_of(0.15)


@pytest.mark.parametrize("max_s", [1.0, 2.5, 5.0])
def test_a_request_is_never_longer_than_the_maximum(max_s):
    outcome, position = run_letters(QUIET + WORD + "." * 5 + "r" * 400, max_s=max_s)
    assert (outcome.ended_by, len(outcome.pcm)) == ("max", samples_of(max_s))
    assert position * VAD_SAMPLES - outcome.end_sample <= FRAME_SAMPLES


@pytest.mark.parametrize(("pre_roll_s", "kept_s"), [(0.0, 0.0), (0.04, 0.04), (0.5, 0.1)])
@pytest.mark.parametrize("late_s", [0.1, 0.9])
def test_no_more_than_the_pre_roll_and_little_of_the_wake_word_is_kept_however_late_it_was_detected(
    late_s, pre_roll_s, kept_s
):
    text = QUIET + WORD[:-10] + "r" * 60
    end = len(QUIET + WORD[:-10]) * VAD_SAMPLES
    outcome, _ = run_letters(text, fire(end, late_s), pre_roll_s=pre_roll_s, padding_s=2.0)
    assert outcome.start_sample == end - samples_of(kept_s)


def test_what_is_taken_for_a_request_before_the_pre_roll_is_none():
    early = fire(len(QUIET + WORD) * VAD_SAMPLES, -0.25)
    outcome, _ = run_letters("." * 60 + "r" * 25 + "." * 15 + WORD, early, pre_roll_s=0.1)
    assert isinstance(outcome, NoSpeech)


def test_the_wake_word_spoken_again_starts_the_same_capture_over():
    text = QUIET + WORD + "." * 40 + WORD
    again = fire(len(text) * VAD_SAMPLES)
    outcome, _ = run_letters(text + "." * 20 + "r" * 30, rewakes=[again])
    assert outcome.wake_sample == again.wake_sample
    assert outcome.speech_sample == (len(text) + 20) * VAD_SAMPLES
    bare, _ = run_letters(text, rewakes=[again])
    assert isinstance(bare, NoSpeech)
    assert bare.wake_sample == again.wake_sample


def test_what_the_same_wake_word_sets_off_once_more_changes_nothing():
    text = QUIET + WORD + "." * 5 + "r" * 60
    outcome, _ = run_letters(text, rewakes=[fire(len(QUIET + WORD) * VAD_SAMPLES, 1.0)])
    assert outcome.wake_sample == LETTERS_WAKE.wake_sample


def test_the_wake_word_within_a_request_belongs_to_it():
    text = QUIET + WORD + "." * 5 + "r" * 60
    outcome, _ = run_letters(text + WORD + "r" * 20, rewakes=[fire(len(text + WORD) * VAD_SAMPLES)])
    assert outcome.wake_sample == LETTERS_WAKE.wake_sample
    assert outcome.end_sample == (len(text + WORD) + 20) * VAD_SAMPLES + samples_of(0.15)


def test_what_sounds_like_the_wake_word_at_the_start_of_a_request_loses_none_of_it():
    """The second detection's own segmenter takes a part of the request for the wake word."""
    heard = QUIET + WORD + "." * 15 + "r" * 80
    again = QUIET + WORD + "." * 15 + "r" * 10 + "w" * 20 + "r" * 50
    texts = iter((heard, again))
    capture = Capture(SimpleNamespace(**DEFAULTS), lambda *of: Scripted(next(texts), *of), RULES)
    second = fire((len(QUIET + WORD) + 15 + 30) * VAD_SAMPLES)
    outcome, _ = run(capture, stream_of(12), LETTERS_WAKE, rewakes=[second])
    assert outcome.speech_sample == (len(QUIET + WORD) + 15) * VAD_SAMPLES


def test_what_the_same_wake_word_sets_off_after_its_request_begins_nothing():
    text, samples = QUIET + WORD + "r" * 20, stream_of(12)
    capture = scripted(text)
    _, position = run(capture, samples, LETTERS_WAKE)
    late = Detection("hey_jarvis", 0.9, position)
    assert not capture.begin(late, history_of(samples, position))
    assert not capture.active
    capture.forget()
    assert capture.begin(late, history_of(samples, position))


def test_what_is_in_a_request_is_in_no_other_one():
    text = QUIET + WORD + "r" * 60
    capture, samples = scripted(text + "r" * 60 + "..." + WORD + "r" * 30, max_s=1.0), stream_of(12)
    first, _ = run(capture, samples, LETTERS_WAKE)
    second, _ = run(capture, samples, fire(len(text) * VAD_SAMPLES + samples_of(1.9)))
    assert first.ended_by == "max"
    assert second.start_sample >= first.end_sample


@pytest.mark.parametrize("ended_by", ["end-of-input", "shutdown"])
@pytest.mark.parametrize("rest", [0, 1, 319, 321, 1279])
def test_a_request_that_ends_with_the_input_still_comes_out(rest, ended_by):
    text = QUIET + WORD + "." * 5 + "r" * 500
    samples = stream_of(4)[: -(4 * RATE_HZ % FRAME_SAMPLES) - FRAME_SAMPLES + rest or None]
    outcome, _ = run(scripted(text), samples, LETTERS_WAKE, ended_by=ended_by)
    assert outcome.ended_by == ended_by
    assert 0 <= len(samples) - outcome.end_sample < VAD_SAMPLES
    np.testing.assert_array_equal(outcome.pcm, samples[outcome.start_sample : outcome.end_sample])


def test_the_input_may_end_with_the_wake_word():
    assert isinstance(run_letters(QUIET + WORD, seconds=3)[0], NoSpeech)
    assert scripted("").finish("shutdown", np.empty(0, np.int16)) is None


@settings(deadline=None, max_examples=60)
@given(
    text=st.text("wr.", max_size=60).map(lambda letters: "".join(letter * 5 for letter in letters)),
    history_s=st.sampled_from([0.0, 0.01, 0.08, 1.0, 4.0]),
    max_s=st.sampled_from([1.0, 3.0]),
)
def test_whatever_is_heard_an_outcome_comes_in_bounds_and_is_of_the_stream(text, history_s, max_s):
    samples, wake = stream_of(14), 3 * RATE_HZ - 3 * RATE_HZ % FRAME_SAMPLES
    capture = scripted("." * 90 + text, max_s=max_s, no_speech_s=2.0)
    capture.begin(Detection("alexa", 0.7, wake), history_of(samples, wake, history_s))
    outcome, position = None, wake
    while outcome is None and position + FRAME_SAMPLES <= len(samples):
        outcome = capture.push(samples[position : position + FRAME_SAMPLES])
        position += FRAME_SAMPLES
    assert outcome is not None
    assert not capture.active
    assert position - wake <= samples_of(2.0 + max_s) + 2 * FRAME_SAMPLES
    if isinstance(outcome, Request):
        assert wake - samples_of(history_s) <= outcome.start_sample <= outcome.speech_sample
        assert outcome.speech_sample < outcome.end_sample <= position
        assert len(outcome.pcm) <= samples_of(max_s)
        np.testing.assert_array_equal(outcome.pcm, samples[outcome.start_sample : outcome.end_sample])


def test_a_wrong_call_raises_and_leaves_the_state():
    capture = scripted("")
    with pytest.raises(CaptureError):
        capture.push(np.zeros(FRAME_SAMPLES, np.int16))
    with pytest.raises(CaptureError):
        capture.rewake(LETTERS_WAKE)
    assert not capture.active
    capture.begin(LETTERS_WAKE, np.zeros(0, np.int16))
    with pytest.raises(CaptureError):
        capture.begin(LETTERS_WAKE, np.zeros(0, np.int16))
    assert capture.active


# What is said.


@pytest.mark.parametrize("gap_s", [0.0, 0.1, 0.4, 0.9, 2.5])
@pytest.mark.parametrize("text", [REQUEST, "stop", "yes"])
def test_a_request_comes_out_sample_for_sample(segment, text, gap_s):
    start = len(LEAD) + samples_of(gap_s)
    samples = sound(LEAD, silence(gap_s), said(text), silence(2.0))
    outcome, position = run(new(segment), samples)
    end = start + len(said(text))
    check_request(outcome, samples, start, end)
    assert outcome.ended_by == "silence"
    assert samples_of(0.6) <= position - end <= samples_of(1.2)


@pytest.mark.parametrize(("voice", "pause_s"), [(FLITE_VOICES[2], 0.6), (FLITE_VOICES[3], 0.7)], ids=str)
def test_a_pause_after_a_faint_last_sound_is_still_inside_the_request(segment, voice, pause_s):
    lead = np.concatenate([silence(2.0), said("hey jarvis", voice)])
    parts = [lead, silence(0.3), said("remind me", voice), silence(pause_s), said("quiet", voice)]
    outcome, _ = run(new(segment), sound(*parts, silence(2.0)), detection=fire(len(lead)))
    assert outcome.end_sample >= sum(map(len, parts)) - samples_of(0.03)


STREAM = sound(LEAD, silence(0.2), said("what is the weather", FLITE_VOICES[3]), silence(1.5))


@pytest.fixture(scope="module")
def expected(segment):
    return run(new(segment), STREAM)[0]


@settings(deadline=None, max_examples=20)
@given(sizes=st.lists(st.integers(1, 9000), min_size=1, max_size=30), before=st.booleans())
def test_the_same_audio_gives_the_same_samples_however_it_comes_and_whatever_came_before(
    segment, expected, sizes, before
):
    capture, chunks = new(segment), Rechunker()
    if before:
        run(capture, sound(LEAD, silence(0.5), said(REQUEST), silence(2.0), seed=9))
        capture.forget()
    capture.begin(WAKE, history_of(STREAM))
    position, outcome = WAKE.wake_sample, None
    for size in sizes * (len(STREAM) // sum(sizes) + 1):
        for frame in chunks.push(STREAM[position : position + size]):
            outcome = outcome or capture.push(frame)
        position += size
        if outcome:
            break
    outcome = outcome or capture.finish("end-of-input", chunks.flush())
    assert (outcome.start_sample, outcome.end_sample) == (expected.start_sample, expected.end_sample)
    np.testing.assert_array_equal(outcome.pcm, expected.pcm)
