"""The review choice: what is stored becomes what is tagged; unknown is the strictest, and a tag only ever tightens."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Choice = Literal["user", "default", "unreadable"]
REVIEWABLE, OPTED_OUT = "reviewable", "opted-out"  # in topics, in the database and in its witness


def decision(*, opt_out: bool) -> str:
    """Return the word for a review decision."""
    return OPTED_OUT if opt_out else REVIEWABLE


def opts_out(word: str) -> bool:
    """Return the review decision that a word stands for: any but ``reviewable`` is an opt-out."""
    return word != REVIEWABLE


class Review(Struct, frozen=True, kw_only=True):
    """May people listen to a request, who said so, and when.

    Attributes:
        opt_out: true: no human may review it and it trains nothing.
        choice: ``user`` chose, ``default`` nobody chose yet, ``unreadable`` the stored choice could not be read.
        revision: counts the user's changes, from 0.
        changed_at: UTC time of the last change, RFC 3339; None while nobody chose.
    """

    opt_out: bool
    choice: Choice
    revision: int
    changed_at: str | None


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
