"""The review choice as a rule: unknown is strictest, and a tag only ever tightens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.tags import reviews

from device.message.review import Review, tighten, unreadable


def test_a_choice_that_cannot_be_read_is_an_opt_out():
    assert unreadable() == Review(opt_out=True, choice="unreadable", revision=0, changed_at=None)


@given(reviews, st.lists(reviews))
def test_a_tag_only_ever_tightens_whatever_is_chosen_afterwards(tag, choices):
    for choice in choices:
        tightened = tighten(tag, choice)
        assert tightened.opt_out == (tag.opt_out or choice.opt_out)
        assert tightened in (tag, choice)
        tag = tightened


@given(reviews, reviews)
def test_a_tag_that_is_opted_out_keeps_who_said_so(tag, choice):
    if tag.opt_out:
        assert tighten(tag, choice) is tag
