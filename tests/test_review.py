"""The review choice as a rule: unknown is strictest, and a tag only ever tightens."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from support.tags import reviews

from device.message.review import Review, spelled_out, tighten, unreadable, uses


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


def test_an_opted_out_request_may_be_used_for_nothing_but_its_answer():
    spelled = msgspec.to_builtins(uses(opt_out=True))
    assert spelled.pop("cawg.ai_inference") == {
        "use": "constrained", "constraint_info": "only to answer the one who spoke",
    }  # fmt: skip
    assert set(spelled) == {"human_review", "cawg.data_mining", "cawg.ai_generative_training", "cawg.ai_training"}
    assert all(permission == {"use": "notAllowed"} for permission in spelled.values())


def test_a_reviewable_request_allows_what_the_sentence_asks_for_and_no_data_mining():
    spelled = msgspec.to_builtins(uses(opt_out=False))
    assert spelled.pop("cawg.data_mining") == {"use": "notAllowed"}
    assert set(spelled) == {"human_review", "cawg.ai_inference", "cawg.ai_generative_training", "cawg.ai_training"}
    assert all(permission == {"use": "allowed"} for permission in spelled.values())


@given(reviews, reviews)
def test_what_is_allowed_follows_the_tightened_choice(tag, choice):
    published = spelled_out(tighten(tag, choice))
    assert published.use == uses(opt_out=tag.opt_out or choice.opt_out)
