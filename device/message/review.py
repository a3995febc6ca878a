"""The review choice: what is stored becomes what is tagged; unknown is the strictest, and a tag only ever tightens."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

Choice = Literal["user", "default", "unreadable"]
REVIEWABLE, OPTED_OUT = "reviewable", "opted-out"  # in topics, in the database and in its witness


def decision(*, opt_out: bool) -> str:
    """Return the word for a review decision."""
    return OPTED_OUT if opt_out else REVIEWABLE


def opts_out(word: str) -> bool:
    """Return the review decision that a word stands for: any but ``reviewable`` is an opt-out."""
    return word != REVIEWABLE


class Permission(Struct, frozen=True, omit_defaults=True):
    """What is allowed of one kind of use, in the words of CAWG's training and data mining assertion."""

    use: Literal["allowed", "notAllowed", "constrained"]
    constraint_info: str = ""


_LABELS = {
    "data_mining": "cawg.data_mining",
    "ai_inference": "cawg.ai_inference",
    "ai_generative_training": "cawg.ai_generative_training",
    "ai_training": "cawg.ai_training",
}


class Uses(Struct, frozen=True, kw_only=True, rename=_LABELS):
    """What may be done with a request, as the entries of a ``cawg.training-mining`` assertion.

    Attributes:
        human_review: people listen to it. CAWG has no word for that; this one is ours.
        data_mining: patterns are looked for in many of them.
        ai_inference: a model is run on it.
        ai_generative_training: a model that generates is trained on it.
        ai_training: any other model is.
    """

    human_review: Permission
    data_mining: Permission
    ai_inference: Permission
    ai_generative_training: Permission
    ai_training: Permission


_NO, _YES = Permission("notAllowed"), Permission("allowed")
_TO_ANSWER = Permission("constrained", "only to answer the one who spoke")
# Allowed is what the sentence under the switch asks for, no more: of data mining it says nothing.
_USES_OPTED_OUT = Uses(
    human_review=_NO, data_mining=_NO, ai_inference=_TO_ANSWER, ai_generative_training=_NO, ai_training=_NO
)
_USES_REVIEWABLE = Uses(
    human_review=_YES, data_mining=_NO, ai_inference=_YES, ai_generative_training=_YES, ai_training=_YES
)


def uses(*, opt_out: bool) -> Uses:
    """Return what a review decision allows."""
    return _USES_OPTED_OUT if opt_out else _USES_REVIEWABLE


class Review(Struct, frozen=True, kw_only=True):
    """May people listen to a request, who said so, and when.

    Attributes:
        opt_out: true: no human may review it and it trains nothing.
        choice: ``user`` chose, ``default`` nobody chose yet, ``unreadable`` the stored choice could not be read.
        revision: counts the user's changes, from 0.
        changed_at: UTC time of the last change, RFC 3339; None while nobody chose.
        wording: the version of the sentence under the switch when it was chosen; unset where none was shown.
        use: the same decision in standard words; set at publishing only, so that it cannot differ.
    """

    opt_out: bool
    choice: Choice
    revision: int
    changed_at: str | None
    wording: int | UnsetType = UNSET
    use: Uses | UnsetType = UNSET


class ReviewState(Review, frozen=True, kw_only=True):
    """The choice as the retained state shows it.

    Attributes:
        withdrawn_at: when, with this opt-out, what had been sent as reviewable was withdrawn; unset if it was not.
    """

    withdrawn_at: str | UnsetType = UNSET


def unreadable() -> Review:
    """What counts when the stored choice cannot be read: an opt-out."""
    return Review(opt_out=True, choice="unreadable", revision=0, changed_at=None)


def tighten(tagged: Review, current: Review) -> Review:
    """Return the stricter of a request's own tag and today's choice; a request once opted out stays so.

    Args:
        tagged: what the request was tagged with.
        current: the choice stored now.
    """
    return current if current.opt_out and not tagged.opt_out else tagged


def spelled_out(review: Review, *, wording: int | UnsetType = UNSET) -> Review:
    """Return a request's choice as it is published: with what it allows, and the version of what the chooser read."""
    return msgspec.structs.replace(review, wording=wording, use=uses(opt_out=review.opt_out))


def contradiction(review: Review) -> str:
    """Return where a review says one thing and its ``use`` another, as a stranger's may; empty if they agree."""
    if review.use is UNSET:  # of a version that did not know it
        return ""
    expected = "notAllowed" if review.opt_out else "allowed"
    if review.use.human_review.use != expected:
        return f"human_review is {review.use.human_review.use!r}"
    allowed = [name for name in _LABELS if getattr(review.use, name).use == "allowed"]
    return f"{_LABELS[allowed[0]]} is 'allowed'" if review.opt_out and allowed else ""
