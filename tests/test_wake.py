"""The detector: threshold, patience, refractory in audio time, one detection for one spoken word."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.hearing.frames import FRAME_SAMPLES
from device.hearing.wake import Detection, Detector


def detector(*, words=("a",), thresholds=(0.5,), patience=1, refractory_frames=0) -> Detector:
    return Detector(words, thresholds, patience, refractory_frames * FRAME_SAMPLES)


def feed(of: Detector, rows, first_frame: int = 1) -> list[Detection]:
    """Push one row a frame; a bare number is the row of a single word."""
    found = []
    for frame, row in enumerate(rows, first_frame):
        scores = np.array([row] if np.isscalar(row) else row, np.float32)
        if detection := of.push(scores, frame * FRAME_SAMPLES):
            found.append(detection)
    return found


def frames_of(detections) -> list[int]:
    return [detection.wake_sample // FRAME_SAMPLES for detection in detections]


def test_a_score_equal_to_the_threshold_fires_at_its_frames_end():
    (found,) = feed(detector(), [0.25, 0.5])
    assert found == Detection("a", 0.5, 2 * FRAME_SAMPLES)


def test_a_score_below_the_threshold_does_not_fire():
    assert feed(detector(), [0.499] * 50) == []


def test_patience_asks_for_that_many_consecutive_scores():
    assert frames_of(feed(detector(patience=3), [0.9, 0.9, 0.1, 0.9, 0.9, 0.9, 0.9])) == [6]


def test_frames_that_nobody_scored_break_the_row_of_consecutive_scores():
    patient = detector(patience=2)
    assert feed(patient, [0.9], first_frame=1) == []
    assert feed(patient, [0.9], first_frame=5) == []
    assert frames_of(feed(patient, [0.9], first_frame=6)) == [6]


def test_a_score_that_stays_high_beyond_the_refractory_time_is_one_detection():
    assert frames_of(feed(detector(refractory_frames=3), [0.9] * 20)) == [1]


def test_after_the_refractory_time_and_a_fall_the_next_word_fires():
    rows = [0.9, 0.1, 0.9, 0.1, 0.1, 0.9]
    assert frames_of(feed(detector(refractory_frames=4), rows)) == [1, 6]


def test_the_refractory_time_ends_with_the_sample_it_says():
    assert frames_of(feed(detector(refractory_frames=4), [0.9, 0.1, 0.1, 0.1, 0.9])) == [1, 5]
    assert frames_of(feed(detector(refractory_frames=5), [0.9, 0.1, 0.1, 0.1, 0.9])) == [1]


def test_another_words_high_score_keeps_the_detector_quiet_until_it_too_has_fallen():
    two = detector(words=("a", "b"), thresholds=(0.5, 0.5))
    assert frames_of(feed(two, [(0.9, 0.6), (0.1, 0.9), (0.1, 0.4), (0.1, 0.9)])) == [1, 4]


def test_frames_that_nobody_scored_count_as_a_fall():
    one = detector()
    assert frames_of(feed(one, [0.9], first_frame=1)) == [1]
    assert frames_of(feed(one, [0.9], first_frame=40)) == [40]


def test_of_several_words_the_highest_that_qualifies_wins():
    two = detector(words=("a", "b"), thresholds=(0.5, 0.95))
    (found,) = feed(two, [(0.6, 0.94)])
    assert (found.word, found.score) == ("a", pytest.approx(0.6))
    two = detector(words=("a", "b"), thresholds=(0.5, 0.5))
    assert feed(two, [(0.6, 0.7)])[0].word == "b"


def test_a_word_short_of_patience_does_not_win_over_one_that_has_it():
    two = detector(words=("a", "b"), thresholds=(0.5, 0.5), patience=2)
    assert feed(two, [(0.6, 0.1), (0.6, 0.9)])[0].word == "a"


@pytest.mark.parametrize("wrong", [{"thresholds": ()}, {"patience": 0}])
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=r"threshold|patience"):
        detector(**wrong)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from([0.0, 0.4, 0.5, 1.0]), max_size=60), st.integers(1, 4), st.integers(0, 20))
def test_two_detections_are_apart_by_the_refractory_time_and_a_frame_below_the_threshold(scores, patience, refractory):
    fired = frames_of(feed(detector(patience=patience, refractory_frames=refractory), scores))
    for frame in fired:
        assert min(scores[frame - patience : frame]) >= 0.5
    for one, next_one in itertools.pairwise(fired):
        assert next_one - one >= refractory
        assert min(scores[one : next_one - 1]) < 0.5
