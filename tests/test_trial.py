"""Trying a wake word: each time it is said is found in a stream, with its scores and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from device import build
from device.config import settings as config
from device.config.sections import CaptureSettings, WakeSettings
from device.edges.vad import WebrtcVad
from device.edges.wav import AudioFile
from device.hearing.capture import NoSpeech
from device.hearing.frames import FRAME_SAMPLES, RATE_HZ, VAD_SAMPLES
from device.hearing.pipeline import Heard
from device.hearing.sound import level_dbfs
from device.tools.trial import Trial, held

FIXTURES = Path(__file__).parent / "fixtures"
RNG = np.random.default_rng(3)


def sound(name: str) -> np.ndarray:
    return np.concatenate(list(AudioFile(FIXTURES / f"{name}.wav")))


ALONE = sound("wake-word-alone")  # the word from 1.40 to 2.26 s


@pytest.fixture
def trial() -> Trial:
    return new_trial()


def new_trial(word: str = "hey_jarvis", threshold: float = 0.5, no_speech_s: float = 4.0) -> Trial:
    wake, capture = (
        WakeSettings(words=(word,), threshold=threshold),
        CaptureSettings(no_speech_s=no_speech_s, silence_s=min(no_speech_s, 0.8)),
    )
    settings = config.Settings(wake=wake, capture=capture)
    pipeline = build.build_pipeline(settings, build.build_scorer(settings), None)
    return Trial(pipeline, WebrtcVad(2), threshold=threshold, patience=1)


def hear(trial: Trial, samples: np.ndarray) -> None:
    for _ in trial.push(samples):
        pass


def room(seconds: float) -> np.ndarray:
    return RNG.normal(0, 8, round(seconds * RATE_HZ)).astype(np.int16)


def test_a_bare_word_is_one_attempt_that_gives_silence(trial):
    (attempt,) = trial.recording("alone", [ALONE])
    assert (attempt.source, attempt.heard, attempt.outcome, attempt.request_s) == ("alone", True, "silence", None)
    assert attempt.start_s == pytest.approx(1.4, abs=0.25)
    frames = ALONE[: len(ALONE) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    assert attempt.level_dbfs == pytest.approx(max(map(level_dbfs, frames)), abs=0.1)
    assert attempt.room_dbfs == pytest.approx(level_dbfs(ALONE[:16000]), abs=2)
    assert attempt.score > 0.99
    assert trial.other_score < 0.05


def test_what_is_said_after_it_is_a_request_of_that_length(trial):
    (attempt,) = trial.recording("request", [sound("hey-jarvis-request")])
    assert (attempt.heard, attempt.outcome) == (True, "request")
    assert attempt.request_s == pytest.approx(1.34, abs=0.2)


def test_several_times_in_one_recording_are_as_many_attempts(trial):
    attempts = trial.recording("thrice", [np.tile(ALONE, 3)])
    assert [attempt.outcome for attempt in attempts] == ["silence"] * 3
    starts = [attempt.start_s for attempt in attempts]
    assert np.diff(starts) == pytest.approx(len(ALONE) / RATE_HZ, abs=0.3)


def test_a_recording_that_holds_nothing_but_the_word_is_heard_to_the_end_of_its_scores(trial):
    (attempt,) = trial.recording("tight", [ALONE[22_000:36_300]])
    assert attempt.heard
    (attempt,) = trial.recording("cut in the word", [ALONE[22_000:33_000]])
    assert attempt.outcome in ("not heard", "silence")


@pytest.mark.parametrize("gap_s", [0.6, 2.0, 3.8])
def test_said_again_before_the_outcome_is_known_the_first_time_is_interrupted(trial, gap_s):
    word = ALONE[20_000:37_000]
    attempts = trial.recording("twice", [room(2), word, ALONE[:0], room(gap_s), word, room(6)])
    assert [attempt.outcome for attempt in attempts] == ["interrupted", "silence"]
    starts = [attempt.start_s for attempt in attempts]
    assert starts == pytest.approx([2.15, 2.15 + len(word) / RATE_HZ + gap_s], abs=0.25)


@pytest.mark.parametrize(
    "samples", [np.zeros(30_000, np.int16), room(3), np.zeros(100, np.int16)], ids=["silence", "room", "short"]
)
def test_a_recording_in_which_nobody_speaks_is_one_attempt_that_was_not_heard(trial, samples):
    (attempt,) = trial.recording("nothing", [samples])
    assert (attempt.heard, attempt.start_s, attempt.score < 0.1) == (False, 0.0, True)
    assert attempt.level_dbfs <= -65
    assert trial.other_score == 0


def test_speech_that_is_not_heard_is_an_attempt_with_its_level_and_score(trial):
    (heard,) = trial.recording("its word", [ALONE])
    (attempt,) = new_trial("alexa").recording("another word", [ALONE])
    assert (attempt.heard, attempt.outcome, attempt.level_dbfs) == (False, "not heard", heard.level_dbfs)
    assert attempt.score < 0.1


def test_a_word_below_its_threshold_is_an_attempt_with_the_score_that_it_lacks():
    weak = (ALONE // 300).astype(np.int16)
    scores = {threshold: new_trial(threshold=threshold).recording("w", [weak]) for threshold in (0.5, 1.0)}
    assert len({len(attempts) for attempts in scores.values()}) == 1
    (attempt,) = scores[1.0]
    assert not attempt.heard
    assert attempt.score > 0.25


def test_talk_that_goes_on_is_no_attempt_and_its_scores_are_those_of_what_is_not_the_word():
    trial = new_trial(threshold=1.0)  # nothing reaches it
    talk, word = sound("speech-without-wake-word")[20_000:50_000], ALONE[22_000:36_500]
    for block in (room(2), talk, word, *[talk] * 4):
        hear(trial, block)
    assert trial.attempts == []
    assert trial.other_score > 0.9


def test_a_word_is_found_amid_a_steady_sound_that_webrtcvad_takes_for_speech():
    seconds = np.arange(len(ALONE)) / RATE_HZ
    buzz = sum(np.sin(2 * np.pi * 150 * number * seconds) / number for number in range(1, 20))
    buzz = (1000 * buzz).astype(np.int16)
    vad = WebrtcVad(2)
    assert all(vad.is_speech(part) for part in buzz[16_000:80_000].reshape(-1, VAD_SAMPLES))
    trial = new_trial("alexa")
    hear(trial, ALONE + buzz)
    assert [attempt.outcome for attempt in trial.attempts] == ["not heard"]
    assert trial.attempts[0].start_s == pytest.approx(1.4, abs=0.25)


class Firing:
    """A pipeline that finds what it is given, all with the first frame."""

    def __init__(self, *findings: Heard | NoSpeech) -> None:
        self.findings = findings
        self.position = 0
        self.scores = np.zeros((1, 1), np.float32)

    def push(self, frame: np.ndarray) -> tuple[Heard | NoSpeech, ...]:
        self.position += len(frame)
        findings, self.findings = self.findings, ()
        return findings


@pytest.mark.parametrize(("again_s", "outcomes"), [(1.1, ["silence"]), (2.1, ["interrupted", "silence"])])
def test_a_word_that_fires_twice_is_one_attempt_and_one_that_is_said_again_another(again_s, outcomes):
    twice = [Heard("hey_jarvis", 0.9, round((9 + later_s) * RATE_HZ), later_s > 0) for later_s in (0, again_s)]
    pipeline = Firing(*twice, NoSpeech("hey_jarvis", 0, 0))
    trial = Trial(pipeline, WebrtcVad(2), threshold=0.5, patience=1)
    hear(trial, room(1))
    assert [attempt.outcome for attempt in trial.attempts] == outcomes


def test_while_the_outcome_is_waited_for_each_moment_says_since_when(trial):
    waiting = [moment.since_heard_s for moment in trial.push(ALONE)]
    assert None in (waiting[0], waiting[-1])
    waited = [seconds for seconds in waiting if seconds is not None]
    assert waited == sorted(waited)
    assert waited[-1] == pytest.approx(4.0, abs=0.3)  # [capture] no_speech_s


def test_a_words_late_scores_are_no_attempt_of_their_own_where_the_outcome_is_known_before_them():
    for late in range(0, FRAME_SAMPLES, 160):  # the frames fall otherwise each time
        trial = new_trial(no_speech_s=0.5)
        (attempt,) = trial.recording("alone", [ALONE[late:]])
        assert attempt.heard
        assert trial.other_score < 0.05


def test_broken_off_what_was_heard_is_kept_without_an_outcome(trial):
    trial.break_off()
    assert trial.attempts == []
    hear(trial, ALONE[:48_000])
    trial.break_off()
    (attempt,) = trial.attempts
    assert (attempt.heard, attempt.outcome) == (True, "interrupted")


def test_a_gap_ends_what_is_open_and_the_next_word_is_found_again(trial):
    hear(trial, ALONE[:48_000])
    trial.gap()
    hear(trial, ALONE)
    assert [attempt.heard for attempt in trial.attempts] == [True, True]
    assert trial.attempts[-1].outcome == "silence"


def test_a_hole_is_borne(trial):
    hear(trial, ALONE[:16_000])
    trial.hole(4_000)
    hear(trial, ALONE[16_000:])
    assert [attempt.heard for attempt in trial.attempts] == [True]


def test_clipping_is_seen(trial):
    loud = np.clip(ALONE.astype(np.int32) * 30, -32768, 32767).astype(np.int16)
    assert [attempt.clips for attempt in trial.recording("loud", [loud])] == [True]


@pytest.mark.parametrize(("frames", "expected"), [(1, 0.9), (2, 0.8), (3, 0.3), (6, 0.0)])
def test_held_is_the_highest_score_that_so_many_frames_in_a_row_reach(frames, expected):
    assert held([0.1, 0.9, 0.8, 0.3, 0.85], frames) == expected
