"""Which of the configured wake words is listened for, and from which score on, where that was changed from afar.

Only what the configuration names can be chosen. So nobody makes the device hear a word that its owner did not choose;
and since those models are loaded, a change counts from one frame to the next, with nothing to load that could fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ALL = "all"  # stands in the place of a word where every configured one is meant
LOWEST = 0.1  # of a threshold from afar: with one near 0 whatever is said would be recorded


class Tuning(Struct, frozen=True, kw_only=True):
    """What was changed; whatever it leaves out is as configured.

    Attributes:
        word: the only word that is listened for; None: every configured one.
        thresholds: the score from which on a word counts, 0 to 1, by word.
    """

    word: str | None = None
    thresholds: dict[str, Annotated[float, Meta(gt=0, le=1)]] = {}


UNCHANGED = Tuning()


def tuned(before: Tuning, *, word: str, threshold: float | None, words: Sequence[str]) -> Tuning:
    """Return a tuning that was changed once more.

    Args:
        before: what was changed so far.
        word: the word to listen for, or whose threshold is changed; ``ALL``: every one.
        threshold: 0 to 1; None: it is the word that is chosen.
        words: those of the configuration.
    """
    if threshold is None:
        return Tuning(word=None if word == ALL else word, thresholds=before.thresholds)
    changed = dict.fromkeys(words if word == ALL else [word], threshold)
    return Tuning(word=before.word, thresholds=before.thresholds | changed)


def counting(tuning: Tuning, configured: Mapping[str, float]) -> Tuning:
    """Return what counts of a tuning: nothing about a word that is not configured, and nothing that is so already.

    Args:
        tuning: what was changed.
        configured: each word's threshold in the configuration.
    """
    only = tuning.word if len(configured) > 1 and tuning.word in configured else None
    thresholds = tuning.thresholds.items()
    return Tuning(word=only, thresholds={word: one for word, one in thresholds if one != configured.get(word, one)})


def listens_for(tuning: Tuning, word: str) -> bool:
    """Return whether a configured word is listened for."""
    return tuning.word in (None, word)
