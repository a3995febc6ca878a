"""The capture: its table, its limits, and that a request is a function of the audio only."""

import dataclasses
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rooms import noise
from support.speech import ESPEAK_VOICES, FLITE_VOICES, active_rms, speak, to_samples, to_signal

from device.core.capture import TRANSITIONS, Capture, Event, NoSpeech, State, TransitionError, follow
from device.core.frames import FRAME_SAMPLES, RATE_HZ, Rechunker, samples_of
from device.core.tag import Request
from device.core.wake import Detection, WordEnd
from device.edges.vad import WebrtcVad

DEFAULTS = {"pre_roll_s": 0.5, "silence_s": 0.8, "no_speech_s": 4.0, "max_s": 15.0, "padding_s": 0.15}
VOICE = ESPEAK_VOICES[0]
REQUEST = "turn off the light"


def untold(detection, audio, start_sample):
    """Know of no word how it ended."""
    del detection, audio, start_sample


def new(word_end=untold, **changed):
    return Capture(SimpleNamespace(**(DEFAULTS | changed)), partial(WebrtcVad, 2), word_end)


def said(text, voice=VOICE):
    signal = to_signal(speak(text, voice))
    return signal * (0.1 / active_rms(signal))


def silence(seconds):
    return np.zeros(samples_of(seconds))


def sound(*parts, seed=1):
    """Join the parts in a quiet room; return int16 samples."""
    dry = np.concatenate(parts)
    return to_samples(dry + 0.001 * noise("pink", len(dry), np.random.default_rng(seed)))


def in_noise(kind, snr_db, *parts):
    """Join the parts in a noise so far below the speech; return int16 samples."""
    dry = np.concatenate(parts)
    return to_samples(dry + 0.1 * 10 ** (-snr_db / 20) * noise(kind, len(dry), np.random.default_rng(1)))


def fire(wake_end):
    """Detect the wake word 0.1 to 0.18 s after its end, with the scores that a detector gives then."""
    wake = -(-(wake_end + samples_of(0.1)) // FRAME_SAMPLES) * FRAME_SAMPLES
    return Detection("hey_jarvis", 0.9, wake, (*(0.0,) * 12, 0.004, 0.05, 0.9))


SLOWLY = np.concatenate([silence(2.0), said("hey jarvis", dataclasses.replace(ESPEAK_VOICES[3], words_per_minute=130))])
LEAD = np.concatenate([silence(2.0), said("hey jarvis")])
WAKE = fire(len(LEAD))


def history_of(samples, wake=WAKE.wake_sample, seconds=4.0):
    return samples[max(0, wake - samples_of(seconds)) : wake]


def run(capture, samples, detection=WAKE, ended_by="end-of-input", rewakes=()):
    """Feed one capture; return its outcome and the stream position at which it came."""
    position = detection.wake_sample
    capture.begin(detection, history_of(samples, position))
    while position + FRAME_SAMPLES <= len(samples):
        outcome = capture.push(samples[position : position + FRAME_SAMPLES])
        position += FRAME_SAMPLES
        if outcome:
            return outcome, position
        for again in rewakes:
            if again.wake_sample == position:
                capture.rewake(again)
    return capture.finish(ended_by, samples[position:]), len(samples)


def check_request(outcome, samples, start, end):
    assert isinstance(outcome, Request)
    assert start - samples_of(0.4) <= outcome.start_sample <= start
    assert end - samples_of(0.03) <= outcome.end_sample <= end + samples_of(0.35)
    assert outcome.start_sample <= outcome.speech_sample <= outcome.end_sample
    np.testing.assert_array_equal(outcome.pcm, samples[outcome.start_sample : outcome.end_sample])


@pytest.mark.parametrize("gap_s", [0.0, 0.1, 0.4, 0.9, 2.5])
@pytest.mark.parametrize("text", [REQUEST, "stop", "yes"])
def test_a_request_comes_out_sample_for_sample(text, gap_s):
    start = len(LEAD) + samples_of(gap_s)
    samples = sound(LEAD, silence(gap_s), said(text), silence(2.0))
    outcome, position = run(new(), samples)
    end = start + len(said(text))
    check_request(outcome, samples, start, end)
    assert outcome.ended_by == "silence"
    assert (
        samples_of(0.6) <= position - end <= samples_of(1.2 if gap_s else 2.0)
    )  # a short one may be a rest of the word


def test_a_bare_wake_word_is_no_speech_after_no_speech_s():
    outcome, _ = run(new(), sound(LEAD, silence(6.0)))
    assert isinstance(outcome, NoSpeech)
    assert (outcome.word, outcome.wake_sample) == ("hey_jarvis", WAKE.wake_sample)
    assert 0 <= outcome.end_sample - WAKE.wake_sample - samples_of(4.0) < FRAME_SAMPLES


def test_a_pause_shorter_than_the_silence_ends_nothing_and_pauses_do_not_add_up():
    phrases = ["call", "the dentist", "at noon", "on friday", "and say", "that I am late"]
    parts = [LEAD, silence(0.3)]
    for phrase in phrases:
        parts += [said(phrase), silence(0.6)]
    samples = sound(*parts, silence(2.0))
    end = sum(map(len, parts)) - samples_of(0.6)
    check_request(run(new(), samples)[0], samples, len(LEAD) + samples_of(0.3), end)


@pytest.mark.parametrize(("voice", "pause_s"), [(FLITE_VOICES[2], 0.6), (FLITE_VOICES[3], 0.7)], ids=str)
def test_a_pause_after_a_faint_last_sound_is_still_inside_the_request(voice, pause_s):
    lead = np.concatenate([silence(2.0), said("hey jarvis", voice)])
    parts = [lead, silence(0.3), said("remind me", voice), silence(pause_s), said("quiet", voice)]
    end = sum(map(len, parts))
    outcome, _ = run(new(), in_noise("brown", 14, *parts, silence(2.0)), detection=fire(len(lead)))
    assert outcome.end_sample >= end - samples_of(0.03)


@pytest.mark.parametrize(("text", "kind"), [("at half past six", "white"), ("volume six", "pink")])
def test_a_last_sound_that_only_the_silence_after_it_shows_is_kept(text, kind):
    voice = FLITE_VOICES[0]
    lead = np.concatenate([silence(2.0), said("hey jarvis", voice)])
    parts = [lead, silence(0.3), said(text, voice)]
    outcome, _ = run(new(), in_noise(kind, 10, *parts, silence(2.0)), detection=fire(len(lead)))
    assert outcome.end_sample >= sum(map(len, parts)) - samples_of(0.03)


def test_in_noise_that_hides_faint_sounds_a_longer_silence_ends_a_request():
    decided = {}
    for snr_db in (3, 30):
        parts = [LEAD, silence(0.3), said(REQUEST)]
        samples = in_noise("pink", snr_db, *parts, silence(3.0))
        outcome, decided[snr_db] = run(new(), samples)
        assert outcome.ended_by == "silence"
    assert decided[3] - decided[30] >= samples_of(0.24)


def test_the_pre_roll_counts_from_a_told_end_where_the_detector_fired_much_later():
    samples = sound(LEAD, said(REQUEST), silence(2.0))
    late = dataclasses.replace(WAKE, wake_sample=WAKE.wake_sample + 8 * FRAME_SAMPLES, scores=(0.0,) * 15 + (0.9,))
    told = new(lambda *_: WordEnd(len(LEAD), 5.0))
    check_request(run(told, samples, detection=late)[0], samples, len(LEAD), len(LEAD) + len(said(REQUEST)))


def test_a_rest_of_a_wake_word_said_slowly_ends_no_request_that_comes_a_second_later():
    start = len(SLOWLY) + samples_of(1.0)
    samples = sound(SLOWLY, silence(1.0), said(REQUEST), silence(2.0))
    detection = fire(len(SLOWLY) - samples_of(0.4))  # while the word is still being said
    outcome, _ = run(new(), samples, detection=detection)
    check_request(outcome, samples, start, start + len(said(REQUEST)))


@pytest.mark.parametrize("ended_by", ["end-of-input", "shutdown"])
@pytest.mark.parametrize("rest", [0, 1, 319, 321, 1279])
def test_a_request_that_ends_with_the_input_still_comes_out(rest, ended_by):
    samples = sound(LEAD, silence(0.3), said("what is the weather like"))
    samples = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES - FRAME_SAMPLES + rest]
    outcome, _ = run(new(), samples, ended_by=ended_by)
    assert (outcome.end_sample, outcome.ended_by) == (len(samples), ended_by)
    np.testing.assert_array_equal(outcome.pcm, samples[outcome.start_sample :])


def test_the_input_may_end_with_the_wake_word():
    samples = sound(LEAD, silence(0.3))
    assert isinstance(run(new(), samples)[0], NoSpeech)
    assert new().finish("shutdown", samples[:0]) is None


@pytest.mark.parametrize("max_s", [1.0, 2.5, 5.0])
def test_a_request_is_never_longer_than_the_maximum(max_s):
    samples = sound(LEAD, silence(0.3), *[said("and then turn off the light")] * 8, silence(2.0))
    outcome, position = run(new(max_s=max_s), samples)
    assert outcome.ended_by == "max"
    assert samples_of(max_s) - FRAME_SAMPLES <= len(outcome.pcm) <= samples_of(max_s)
    assert position - outcome.end_sample <= 2 * FRAME_SAMPLES


def test_a_noise_that_never_ends_is_given_up():
    roar = 0.2 * np.random.default_rng(1).normal(size=20 * RATE_HZ) * np.repeat([1.0, 0.01] * 100, RATE_HZ // 10)
    _, position = run(new(max_s=5.0), sound(LEAD, silence(0.6), roar))
    assert position - WAKE.wake_sample <= samples_of(4.0 + 5.0) + FRAME_SAMPLES


@pytest.mark.parametrize("pre_roll_s", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("slow_frames", [0, 3, 12])
def test_a_request_never_begins_before_the_pre_roll_which_counts_from_where_the_score_began_to_rise(
    pre_roll_s, slow_frames
):
    detection = dataclasses.replace(WAKE, scores=(0.0,) * 4 + (0.3,) * slow_frames + (0.9,))
    samples = sound(LEAD, said(REQUEST), silence(2.0))
    outcome, _ = run(new(pre_roll_s=pre_roll_s), samples, detection=detection)
    assert outcome.start_sample >= WAKE.wake_sample - slow_frames * FRAME_SAMPLES - samples_of(pre_roll_s)


def test_padding_is_kept_on_each_side_and_not_into_the_wake_word():
    samples = sound(LEAD, silence(0.9), said(REQUEST), silence(2.0))
    bare, padded = (run(new(padding_s=padding_s), samples)[0] for padding_s in (0.0, 0.3))
    assert bare.start_sample - padded.start_sample == samples_of(0.3)
    assert padded.end_sample - bare.end_sample == samples_of(0.3)
    close = sound(LEAD, said(REQUEST), silence(2.0))
    assert run(new(padding_s=2.0), close)[0].start_sample > len(LEAD) - samples_of(0.35)


def test_the_wake_word_spoken_again_starts_the_same_capture_over():
    again_end = len(LEAD) + samples_of(0.8) + len(said("hey jarvis"))
    again = fire(again_end)
    samples = sound(LEAD, silence(0.8), said("hey jarvis"), silence(0.4), said(REQUEST), silence(2.0))
    outcome, _ = run(new(), samples, rewakes=[again])
    check_request(outcome, samples, again_end + samples_of(0.4), again_end + samples_of(0.4) + len(said(REQUEST)))
    assert outcome.wake_sample == again.wake_sample
    bare = sound(LEAD, silence(0.8), said("hey jarvis"), silence(6.0))
    outcome, _ = run(new(), bare, rewakes=[again])
    assert isinstance(outcome, NoSpeech)
    assert outcome.wake_sample == again.wake_sample


def test_what_the_same_wake_word_sets_off_once_more_changes_nothing():
    samples = sound(LEAD, silence(0.1), said(REQUEST), silence(2.0))
    again = dataclasses.replace(WAKE, score=0.6, wake_sample=WAKE.wake_sample + 13 * FRAME_SAMPLES)
    told = [WordEnd(len(LEAD), 5.0)]
    capture = new(lambda *_: told[-1])
    capture.begin(WAKE, samples[: WAKE.wake_sample])
    for start in range(WAKE.wake_sample, again.wake_sample, FRAME_SAMPLES):
        assert capture.push(samples[start : start + FRAME_SAMPLES]) is None
    capture.rewake(again)
    outcomes = [
        capture.push(samples[start : start + FRAME_SAMPLES])
        for start in range(again.wake_sample, len(samples), FRAME_SAMPLES)
        if capture.active
    ]
    assert (outcomes[-1].wake_sample, outcomes[-1].score) == (WAKE.wake_sample, WAKE.score)


def test_what_the_same_wake_word_sets_off_after_its_request_begins_nothing():
    samples = sound(LEAD, said("stop"), silence(4.0))
    ends = [len(LEAD)]
    capture = new(lambda *_: WordEnd(ends[-1], 5.0))
    _, position = run(capture, samples)
    late = dataclasses.replace(WAKE, wake_sample=position)
    assert position - len(LEAD) < samples_of(2.0)
    assert not capture.begin(late, history_of(samples, position))
    assert not capture.active
    ends.append(position)  # another word, by what is told of it
    assert capture.begin(late, history_of(samples, position))


def test_what_is_in_a_request_is_in_no_other_one():
    samples = sound(LEAD, said("stop"), silence(1.0), said(REQUEST), silence(2.0))
    ends = {False: len(LEAD), True: len(LEAD) - samples_of(0.4)}  # whatever is told of a word heard late
    capture = new(lambda detection, *_: WordEnd(ends[detection is not WAKE], 5.0))
    first, position = run(capture, samples)
    second, _ = run(capture, samples, dataclasses.replace(WAKE, wake_sample=position))
    assert first.end_sample <= second.start_sample
    check_request(second, samples, len(samples) - samples_of(2.0) - len(said(REQUEST)), len(samples) - samples_of(2.0))


def test_what_goes_on_after_the_longest_request_is_cut_where_that_ends():
    samples = sound(LEAD, said("find the song that is called"), said(REQUEST), silence(2.0))
    capture = new(lambda detection, *_: WordEnd(detection.wake_sample - samples_of(0.1), 5.0), max_s=1.0)
    first, position = run(capture, samples)
    assert first.ended_by == "max"
    second, _ = run(capture, samples, dataclasses.replace(WAKE, wake_sample=position))
    assert second.start_sample == first.end_sample


def test_the_wake_word_within_a_request_belongs_to_it():
    first = said("find the song that is called")
    start = len(LEAD) + samples_of(0.3)
    end = start + len(first) + len(said("hey jarvis"))
    samples = sound(LEAD, silence(0.3), first, said("hey jarvis"), silence(2.0))
    outcome, _ = run(new(), samples, rewakes=[fire(end)])
    check_request(outcome, samples, start, end)
    assert outcome.wake_sample == WAKE.wake_sample


STREAM = sound(LEAD, silence(0.2), said("what is the weather", FLITE_VOICES[3]), silence(1.5))


@settings(deadline=None, max_examples=20)
@given(sizes=st.lists(st.integers(1, 9000), min_size=1, max_size=30), before=st.booleans())
def test_the_same_audio_gives_the_same_samples_however_it_comes_and_whatever_came_before(sizes, before):
    expected, _ = run(new(), STREAM)
    capture, chunks = new(), Rechunker()
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


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 2**32 - 1),
    level=st.sampled_from([0, 1, 300, 8000, 40_000]),
    burst=st.integers(50, 20_000),
    history_s=st.sampled_from([0.0, 0.01, 0.08, 1.0, 4.0]),
    max_s=st.sampled_from([1.0, 3.0]),
)
def test_whatever_is_heard_an_outcome_comes_in_bounds_and_is_of_the_stream(seed, level, burst, history_s, max_s):
    rng = np.random.default_rng(seed)
    shape = np.repeat(rng.choice([0.0, 0.05, 1.0], 200_000 // burst + 1), burst)[:200_000]
    samples = np.clip(rng.normal(0, 1, 200_000) * shape * level, -32768, 32767).astype(np.int16)
    wake = 64_000
    detection = Detection("alexa", 0.7, wake, (0.1, 0.7))
    capture = new(max_s=max_s, no_speech_s=2.0)
    capture.begin(detection, history_of(samples, wake, history_s))
    outcome, position = None, wake
    while outcome is None and position + FRAME_SAMPLES <= len(samples):
        outcome = capture.push(samples[position : position + FRAME_SAMPLES])
        position += FRAME_SAMPLES
    assert outcome is not None
    assert not capture.active
    assert position - wake <= samples_of(2.0 + max_s) + FRAME_SAMPLES
    if isinstance(outcome, Request):
        assert wake - samples_of(min(0.5, history_s)) <= outcome.start_sample <= outcome.speech_sample
        assert outcome.speech_sample < outcome.end_sample <= position
        assert len(outcome.pcm) <= samples_of(max_s)
        np.testing.assert_array_equal(outcome.pcm, samples[outcome.start_sample : outcome.end_sample])


def test_every_capture_has_a_classifier_of_its_own():
    made = []
    capture = Capture(SimpleNamespace(**DEFAULTS), lambda: made.append(WebrtcVad(2)) or made[-1], untold)
    for _ in range(2):
        run(capture, STREAM)
    assert len(made) == 2


def test_nothing_is_kept_after_a_capture():
    capture = new()
    run(capture, sound(LEAD, silence(0.2), said(REQUEST), silence(2.0)))
    assert not [name for name, value in vars(capture).items() if isinstance(value, np.ndarray)]
    assert capture._take is None


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_what_is_not_in_the_table_raises(state, event):
    if event in TRANSITIONS[state]:
        assert follow(state, event) is TRANSITIONS[state][event]
    else:
        with pytest.raises(TransitionError, match=f"{event.name} cannot happen while {state.name}"):
            follow(state, event)


def test_every_state_can_be_reached_and_left():
    reached = {after for events in TRANSITIONS.values() for after in events.values()}
    assert reached == set(TRANSITIONS) == set(State)
    assert all(State.IDLE in events.values() for state, events in TRANSITIONS.items() if state is not State.IDLE)


def test_a_wrong_call_raises_and_leaves_the_state():
    capture = new()
    with pytest.raises(TransitionError):
        capture.push(np.zeros(FRAME_SAMPLES, np.int16))
    with pytest.raises(TransitionError):
        capture.rewake(WAKE)
    assert capture.state is State.IDLE
    capture.begin(WAKE, np.zeros(0, np.int16))
    state = capture.state
    with pytest.raises(TransitionError):
        capture.begin(WAKE, np.zeros(0, np.int16))
    assert capture.state is state
