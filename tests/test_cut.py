"""What a capture held, found from both sides: requests, and what is none."""

import numpy as np
import pytest
from support.rooms import noise, reverberate
from support.speech import ESPEAK_VOICES, FLITE_VOICES, active_rms, speak, to_samples, to_signal

from device.core.cut import _is_said, locate, runs
from device.core.frames import RATE_HZ, VAD_SAMPLES
from device.core.noise import band_levels
from device.core.wake import WordEnd
from device.core.wake_end import WakeEnd

VOICES = (ESPEAK_VOICES[0], ESPEAK_VOICES[4], FLITE_VOICES[3])
COURSE = (0.0,) * 10 + (0.004, 0.05, 0.9)


def said(text, voice):
    signal = to_signal(speak(text, voice))
    return signal * (0.1 / active_rms(signal))


def found(after, voice, *, rt60_s=0.0, fan=0.0, fired_s=0.1, told_s=None, followed=0.0):
    """What is found when ``after`` follows the wake word, with its end and 1 s of silence; in seconds from that end.

    ``told_s``: how late the wake word's end is told, and ``followed``, whether more was said; None: neither is.
    """
    before = np.concatenate([np.zeros(2 * RATE_HZ), said("hey jarvis", voice)])
    dry = np.concatenate([before, after, np.zeros(RATE_HZ)])
    wet = reverberate(dry, rt60_s, 1)[: len(dry)]
    wet = wet + noise("pink", len(wet), np.random.default_rng(6)) * 0.001
    wet[len(before) + len(after) // 2 :] += (
        noise("pink", len(wet), np.random.default_rng(7))[len(before) + len(after) // 2 :] * fan
    )
    fired = (len(before) + int(fired_s * RATE_HZ)) // VAD_SAMPLES
    levels = band_levels(to_samples(wet)[: len(wet) // VAD_SAMPLES * VAD_SAMPLES])
    told = None if told_s is None else WordEnd(len(before) + round(told_s * RATE_HZ), followed)
    span = locate(levels, fired, COURSE, told, trailing_silence=True)
    if span is None:
        return None
    return tuple((frame * VAD_SAMPLES - len(before)) / RATE_HZ for frame in (span.start, span.end))


def knock(hertz=0.0, decay_s=0.05):
    time_s = np.arange(RATE_HZ // 2) / RATE_HZ
    sound = np.sin(2 * np.pi * hertz * time_s) if hertz else np.random.default_rng(3).normal(size=len(time_s))
    return 0.3 * sound * np.exp(-time_s / decay_s)


@pytest.mark.parametrize("voice", VOICES, ids=str)
@pytest.mark.parametrize("rt60_s", [0.0, 0.25, 0.4])
@pytest.mark.parametrize("fired_s", [0.2, 0.1, 0.0])
def test_a_bare_wake_word_and_its_reverberation_are_no_request(voice, rt60_s, fired_s):
    assert found(np.zeros(RATE_HZ), voice, rt60_s=rt60_s, fired_s=fired_s) is None


@pytest.mark.parametrize("sound", [knock(), knock(90), np.eye(1, 3000)[0]], ids=["slam", "thud", "click"])
def test_a_knock_is_no_request(sound):
    assert found(np.concatenate([np.zeros(RATE_HZ // 2), sound]), VOICES[0]) is None


@pytest.mark.parametrize("voice", VOICES, ids=str)
@pytest.mark.parametrize("gap_s", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("text", ["stop", "yes", "what time is it"])
def test_a_request_is_found_where_it_is(text, gap_s, voice):
    request = said(text, voice)
    after = np.concatenate([np.zeros(int(gap_s * RATE_HZ)), request])
    start, end = found(after, voice)
    assert start < gap_s + 0.1
    assert start > gap_s - 0.3
    assert end == pytest.approx(len(after) / RATE_HZ, abs=0.1)


@pytest.mark.parametrize("text", ["help", "hang up"])
def test_a_short_word_right_after_the_wake_word_is_kept_in_a_room(text):
    for voice in (*FLITE_VOICES, *VOICES):
        assert found(said(text, voice), voice, rt60_s=0.4) is not None


@pytest.mark.parametrize("text", ["off", "no", "go", "up", "mute"])
@pytest.mark.parametrize("told_s", [-0.04, 0.0, 0.02])
def test_the_shortest_word_right_after_a_wake_word_whose_end_is_told_is_a_request(text, told_s):
    for voice in VOICES:
        start, end = found(said(text, voice), voice, rt60_s=0.25, told_s=told_s, followed=4.0)
        assert -0.2 < start < 0.03, voice
        assert end > len(said(text, voice)) / RATE_HZ - 0.03, voice


@pytest.mark.parametrize("voice", VOICES, ids=str)
@pytest.mark.parametrize("rt60_s", [0.0, 0.25, 0.4, 0.8])
@pytest.mark.parametrize("told_s", [-0.03, 0.0, 0.03])
def test_with_a_told_end_a_bare_wake_word_is_no_request_in_any_room(voice, rt60_s, told_s):
    assert found(np.zeros(RATE_HZ), voice, rt60_s=rt60_s, told_s=told_s, followed=-4.0) is None


def test_of_a_sound_at_the_wake_words_end_its_model_says_whether_it_is_more():
    rest = said("a", VOICES[0])[: RATE_HZ // 8]
    assert found(rest, VOICES[0], told_s=0.0, followed=-4.0) is None
    start, _ = found(rest, VOICES[0], told_s=0.0, followed=4.0)
    assert start < 0.03


@pytest.mark.parametrize("voice", VOICES, ids=str)
def test_the_wake_words_own_end_is_left_out_where_what_was_said_comes_a_little_later(voice):
    request = said("what time is it", voice)
    start, _ = found(np.concatenate([np.zeros(RATE_HZ // 5), request]), voice, told_s=0.0, followed=4.0)
    assert 0.05 < start < 0.23


@pytest.mark.parametrize("voice", VOICES, ids=str)
def test_a_told_end_keeps_the_first_of_two_words_with_a_long_pause_between(voice):
    after = np.concatenate([said("add", voice), np.zeros(int(0.8 * RATE_HZ)), said("three apples", voice)])
    start, _ = found(after, voice, told_s=0.0, followed=4.0)
    assert start < 0.03


@pytest.mark.parametrize("kind", ["white", "pink", "babble"])
def test_the_more_of_a_request_noise_may_hide_the_more_is_kept_after_it(kind):
    dry = np.concatenate([np.zeros(2 * RATE_HZ), said("hey jarvis", VOICES[0]), np.zeros(RATE_HZ // 2)])
    fired = (len(dry) - RATE_HZ // 3) // VAD_SAMPLES
    dry = np.concatenate([dry, said("what time is it", VOICES[0]), np.zeros(RATE_HZ)])
    around = noise(kind, len(dry), np.random.default_rng(2)) * 0.1
    spans = []
    for snr_db in (5.0, 15.0, 40.0):
        heard = to_samples(dry + around * 10 ** (-snr_db / 20))
        levels = band_levels(heard[: len(heard) // VAD_SAMPLES * VAD_SAMPLES])
        spans.append(locate(levels, fired, COURSE, trailing_silence=True))
    assert spans[0].drowned > spans[1].drowned > spans[2].drowned == 0.0
    assert 1.0 >= spans[0].drowned > 0.6
    assert spans[0].end >= spans[2].end


@pytest.mark.parametrize("text", ["up", "on", "what"])
def test_a_word_that_begins_loudest_is_no_knock(text):
    for voice in FLITE_VOICES:
        after = np.concatenate([np.zeros(RATE_HZ // 3), said(text, voice)])
        assert found(after, voice, rt60_s=0.25) is not None, voice


def test_a_rest_of_the_wake_word_is_told_from_the_request_by_a_pause_longer_than_any_inside_one():
    rest = said("is", VOICES[0])  # as of a "jarvis" said so slowly that the detector fired in the middle of it
    start, _ = found(
        np.concatenate([rest, np.zeros(int(0.9 * RATE_HZ)), said("what time is it", VOICES[0])]), VOICES[0]
    )
    assert start > len(rest) / RATE_HZ
    start, _ = found(
        np.concatenate([rest, np.zeros(int(0.4 * RATE_HZ)), said("what time is it", VOICES[0])]), VOICES[0]
    )
    assert start < 0.1


def test_a_click_after_the_request_does_not_lengthen_it():
    request = said("what time is it", VOICES[0])
    _, end = found(np.concatenate([np.zeros(4000), request, np.zeros(9600), np.eye(1, 100)[0] * 0.9]), VOICES[0])
    assert end == pytest.approx((4000 + len(request)) / RATE_HZ, abs=0.1)


def test_a_fan_that_starts_in_the_request_does_not_lengthen_it():
    request = said("what time is it in the town", VOICES[0])
    _, end = found(np.concatenate([np.zeros(4000), request]), VOICES[0], fan=0.02)
    assert end == pytest.approx((4000 + len(request)) / RATE_HZ, abs=0.2)


def test_nothing_heard_is_nothing_found():
    assert locate(band_levels(np.zeros(0, np.int16)), 0, COURSE, trailing_silence=False) is None


def test_runs_are_first_frames_and_the_ones_after_the_last():
    assert runs(np.array([True, False, False, True, True])) == [(0, 1), (3, 5)]
    assert runs(np.zeros(3, np.bool_)) == []


@pytest.mark.parametrize(
    ("followed", "lateness", "is_said"), [(0.5, -10.7, False), (0.5, 1.0, True), (8.6, -6.3, True)]
)
def test_where_the_last_syllable_is_well_before_the_words_end_only_surely_more_was_said(followed, lateness, is_said):
    wake = WakeEnd(earliest=175, expected=177.0, followed=followed)
    assert _is_said((148, 183), lateness, wake, []) is is_said
