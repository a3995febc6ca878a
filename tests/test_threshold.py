"""Which threshold some scores suggest, and what reason is given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.tools.threshold import suggest

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=9)


@pytest.mark.parametrize(
    ("scores", "other", "threshold", "suggested", "reason"),
    [
        ([0.99, 0.97, 0.91], 0.01, 0.5, 0.5, "as it is: all 3 scored 0.91 or more, what was not the word 0.01 or less"),
        ([0.99, 0.97, 0.91], 0.01, 0.7, 0.7, "as it is"),
        ([0.9], 0.0, 0.5, 0.5, "as it is: it scored 0.90 or more"),
        ([0.99, 0.8, 0.46], 0.02, 0.5, 0.35, "lower than 0.5: all 3 scored 0.46"),
        ([0.99, 0.9, 0.97], 0.01, 0.95, 0.5, "lower than 0.95"),
        ([0.99, 0.97], 0.52, 0.5, 0.65, "higher than 0.5: all 2 scored 0.97 or more, what was not the word 0.52"),
        ([0.99, 0.97], 0.0, 0.05, 0.5, "higher than 0.05"),
        ([0.99, 0.97, 0.04], 0.01, 0.5, 0.5, "; 1 more only 0.04 or less, which no threshold mends"),
        ([0.1, 0.04], 0.01, 0.5, None, "no score was over 0.10"),
        ([], 0.01, 0.5, None, "no score was over 0.00"),
        (
            [0.5, 0.6],
            0.45,
            0.5,
            None,
            "all 2 scored 0.50 or more, but what was not the word 0.45: none tells them apart",
        ),
    ],
)
def test_it_lies_between_the_word_and_everything_else(scores, other, threshold, suggested, reason):
    told = suggest(scores, other, threshold)
    assert told.threshold == suggested
    assert reason in told.reason


@given(SCORES, st.floats(0, 1), st.floats(0.01, 1))
def test_with_the_suggestion_the_word_is_heard_and_nothing_else(scores, other, threshold):
    suggested = suggest(scores, other, threshold).threshold
    if suggested is not None:
        assert suggested > other
        likely = [score for score in scores if score >= 0.25]
        assert likely
        assert min(likely) >= suggested


@given(SCORES, st.floats(0, 1), st.floats(0.01, 1))
def test_who_follows_the_suggestion_is_given_it_again(scores, other, threshold):
    suggested = suggest(scores, other, threshold).threshold
    if suggested is not None:
        assert suggest(scores, other, suggested).threshold == suggested
