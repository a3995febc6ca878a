"""Where a request begins and ends in frames that are segmented already."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.hearing.cut import CutRules, Span, request_in, runs, wake_word_in
from device.hearing.segment_network import KINDS, NOTHING, REQUEST, WAKE_WORD

RULES = CutRules(sure=0.5, least=4, near=6, wake_sure=0.5)
KIND = {".": NOTHING, "w": WAKE_WORD, "r": REQUEST}


def chances(text, chance=0.9):
    found = np.full((len(text), KINDS), (1 - chance) / 2, np.float32)
    found[np.arange(len(text)), [KIND[letter] for letter in text]] = chance
    return found


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("", None),
        ("wwww......", None),
        ("ww..rrr...", None),
        ("ww..rrrr..", Span(4, 8)),
        ("ww..rrrr....rrr", Span(4, 15)),
        ("r......rrrr", Span(0, 11)),
        ("r.......rrrr", Span(8, 12)),
        ("r......r......rrrr", Span(0, 18)),
        ("rrrr" + "." * 50 + "r", Span(0, 55)),
    ],
)
def test_a_request_reaches_from_its_first_frame_to_its_last(text, span):
    assert request_in(chances(text), 0, RULES) == span


def test_frames_before_the_earliest_count_for_nothing():
    assert request_in(chances("rrrrrrrr"), 3, RULES) == Span(3, 8)
    assert request_in(chances("rrrrrrrr"), 5, RULES) is None


def test_what_ends_while_the_wake_word_lasts_is_no_request():
    assert request_in(chances("rrrr....rrrr"), 0, RULES, wake_word_until=4) == Span(8, 12)
    assert request_in(chances("rrrr....rrrr"), 0, RULES, wake_word_until=3) == Span(0, 12)


def test_a_frame_counts_from_the_chance_that_is_sure():
    assert request_in(chances("rrrrr", 0.49), 0, RULES) is None
    assert request_in(chances("rrrrr", 0.51), 0, RULES) == Span(0, 5)


@pytest.mark.parametrize(
    ("text", "fired", "span"),
    [("....", 2, None), (".ww..ww.", 8, Span(5, 7)), (".ww..ww.", 3, Span(1, 3)), (".wwww", 3, Span(1, 5))],
)
def test_the_wake_word_is_the_run_nearest_to_the_detection(text, fired, span):
    assert wake_word_in(chances(text), fired, RULES) == span


@given(st.lists(st.booleans()))
def test_runs_are_all_the_true_frames_and_never_touch(mask):
    found = runs(np.array(mask, np.bool_))
    rebuilt = np.zeros(len(mask), np.bool_)
    for start, end in found:
        assert start < end
        rebuilt[start:end] = True
    assert rebuilt.tolist() == mask
    assert all(before[1] < after[0] for before, after in pairwise(found))
