"""What the scores of a wake word that was said a few times suggest for its threshold, and why."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ANOTHER_DAY = 0.8  # of the lowest score: said otherwise or in more noise, the word scores less
ABOVE_OTHERS = 0.1  # above the highest score of what was not the word
LEAST = 0.2  # below, other words set off most models
USUAL = 0.5  # what openwakeword's models are made for
STEPS = 20  # of a suggestion, in 1: nobody needs it finer


class Suggestion(Struct, frozen=True, kw_only=True):
    """A threshold and its reason; None: there is none that would do."""

    threshold: float | None
    reason: str


def suggest(scores: Sequence[float], other: float, threshold: float) -> Suggestion:
    """Choose a threshold that the word reaches with some room, and nothing else.

    Args:
        scores: each time's highest score that counts, 0 to 1.
        other: the highest score where the word was not said.
        threshold: the one that is set, which is kept if it is as good as any.
    """
    hopeless = [score for score in scores if score * ANOTHER_DAY < LEAST]
    usable = sorted(score for score in scores if score * ANOTHER_DAY >= LEAST)
    if not usable:
        reason = (
            f"no score was over {max(scores, default=0.0):.2f}: is it said as the model learnt it, and near enough?"
        )
        return Suggestion(threshold=None, reason=reason)
    reached = f"{f'all {len(usable)}' if len(usable) > 1 else 'it'} scored {usable[0]:.2f} or more"
    missed = f"; {len(hopeless)} more only {max(hopeless):.2f} or less, which no threshold mends" if hopeless else ""
    others = f"what was not the word {other:.2f}"
    lowest = _stepped(max(other + ABOVE_OTHERS, LEAST), math.ceil, 100)
    highest = _stepped(usable[0] * ANOTHER_DAY, math.floor, 100)
    if lowest > highest:
        return Suggestion(threshold=None, reason=f"{reached}, but {others}: none tells them apart{missed}")
    if lowest <= threshold <= highest:
        return Suggestion(threshold=threshold, reason=f"as it is: {reached}, {others} or less{missed}")
    value = USUAL
    if highest < USUAL:
        value = max(_stepped(highest, math.floor, STEPS), lowest)
        missed += "; the lower it is, the sooner other words set it off"
    elif lowest > USUAL:
        value = min(_stepped(lowest, math.ceil, STEPS), highest)
    reason = f"{'lower' if value < threshold else 'higher'} than {threshold:g}: {reached}, {others} or less{missed}"
    return Suggestion(threshold=value, reason=reason)


def _stepped(value: float, towards: Callable[[float], int], steps: int) -> float:
    return towards(round(value * steps, 6)) / steps
