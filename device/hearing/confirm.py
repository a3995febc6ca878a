"""A second opinion on a wake word: another model hears its last seconds once more, and a little of what follows."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from device.hearing.frames import FRAME_SAMPLES, RATE_HZ, VAD_SAMPLES, samples_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device.hearing.frames import Samples
    from device.hearing.wake import Detection

HISTORY_SAMPLES = 2 * RATE_HZ  # of what was heard before the detection the second model hears so much
FIRST_SHARE = 0.3  # of a threshold is enough for the first model to ask the second one
# So many full scores of the first model leave the second's odds as they are; three more multiply them by e. People who
# say the word keep the first model sure for about a second, also in an echo that hides the word from the second one;
# what only sounds like it does so for a moment, or is unlikely to the second one. See `scripts/bench-waking`.
FULL_SCORES, SCORES_TO_E = 3.5, 3.0
# Where a request follows the word at once, the second model hears the word less well. So it hears all up to so many
# frames after the detection once more, with a faint noise in place of what followed. What it says of the shorter one
# counts at that moment only, while the first model still hears something: it is surer of people then, but also of what
# only sounds like the word, and of that the first model may become ever surer.
_ALONE_AFTER, _AT_ONCE_AFTER = 2, 1
# It takes a spectrum every 10 ms and decides every 30 ms. As these fall, it is sure of a word or hears nothing; so it
# hears the shorter one twice, the second time from a sample on that lies halfway between both.
_HALFWAY_SAMPLES = samples_of(0.015)
_ALONE_SAMPLES = 5 * FRAME_SAMPLES
_QUIET_SAMPLES = samples_of(0.1)  # the noise is as loud as the quietest so much of what was heard before
# It hears quiet talkers less well, too: what it hears is made louder or fainter, so that the word comes to this level.
_LEVEL_DBFS, _MOST_DB = -24.0, 40.0
_WORD_SAMPLES, _LOUD_SHARE = samples_of(1.2), 0.8  # the word's level: of its frames of 20 ms so many are fainter
PATIENCE_SAMPLES = 5 * FRAME_SAMPLES  # after the first model's last score of interest
LONGEST_SAMPLES = 12 * FRAME_SAMPLES
_CERTAIN = 1e-4  # no model is surer than that


class Opinion(Protocol):
    """What a second model makes of one detection."""

    def hear(self, samples: Samples) -> float:
        """Hear more, int16, shape (n,); return the highest probability so far that the word was said, 0 to 1."""


class SecondModel(Protocol):
    """Other models of wake words."""

    def opinion(self, word: str) -> Opinion | None:
        """Make one on a detection of a word; None: there is no other model of it."""


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """A wake word that the two models together did not hear.

    Attributes:
        word: the wake word.
        score: the first model's highest.
        wake_sample: stream position where the detection fired.
        confirmed: the second model's highest probability.
        together: how sure both were, 0 to 1.
    """

    word: str
    score: float
    wake_sample: int
    confirmed: float
    together: float


@dataclass(frozen=True, slots=True)
class _Held:
    """A detection that waits for the second model.

    Attributes:
        detection: with the first model's highest score so far, and what the second one says.
        opinion: the second model's.
        threshold: how sure both must be.
        scores: the sum of the first one's.
        last_sample: stream position of its last score of interest.
        gain: what brings the word to the level at which the second model hears best.
        heard: int16, shape (n,), what that one heard.
        frames: how many of it were heard after the detection.
    """

    detection: Detection
    opinion: Opinion
    threshold: float
    scores: float
    last_sample: int
    gain: float
    heard: Samples
    frames: int

    def interests(self, score: float) -> bool:
        """Whether the first model hears something of the word, by a score of it."""
        return score >= self.threshold * FIRST_SHARE


def together(scores: float, probability: float) -> float:
    """Return how sure two models are together that the wake word was said, 0 to 1.

    Args:
        scores: the sum of the first one's, each 80 ms, since it first heard something.
        probability: the second one's highest.
    """
    bounded = min(max(probability, _CERTAIN), 1.0 - _CERTAIN)
    odds = bounded / (1.0 - bounded) * math.exp((scores - FULL_SCORES) / SCORES_TO_E)
    return odds / (1.0 + odds)


class Confirmer:
    """Holds a detection back until two models are sure enough together, for a short time; one detection at a time.

    Args:
        models: the second ones; None: every detection counts at once.
        thresholds: how sure they must be, by word.

    Attributes:
        thresholds: as given; others may take their place, and count from the next detection on.
    """

    def __init__(self, models: SecondModel | None, thresholds: Mapping[str, float]) -> None:
        self._models = models
        self.thresholds = thresholds
        self._held: _Held | None = None

    @property
    def word(self) -> str | None:
        """The word of which a detection is held back; None: none is."""
        return self._held.detection.word if self._held else None

    def ask(self, detection: Detection, history: Samples) -> Detection | None:
        """Take a detection; return it if it counts at once, with what the second model says if there is one.

        Args:
            detection: one that fires while another is held back is late scores of it, and counts for nothing.
            history: int16, shape (n,), what was heard up to it, ``HISTORY_SAMPLES`` if there is so much.
        """
        if self._held:
            return None
        opinion = self._models.opinion(detection.word) if self._models else None
        if opinion is None:
            return detection
        held = _Held(
            detection, opinion, self.thresholds[detection.word], 0.0, detection.wake_sample,
            gain=gain_of(history), heard=history[:0], frames=-1,
        )  # fmt: skip
        return self._weigh(held, history, detection.score)

    def push(self, frame: Samples, end_sample: int, score: float) -> Detection | Unconfirmed | None:
        """Hear the frame that follows; return the detection held back if it counts now, or that it does not.

        Args:
            frame: int16, shape (FRAME_SAMPLES,).
            end_sample: stream position of its end.
            score: the first model's, of the word that is held back.
        """
        held = self._held
        if held is None:
            return None
        if held.interests(score):
            held = replace(held, last_sample=end_sample)
        if sure := self._weigh(held, frame, score):
            return sure
        waited = end_sample - held.detection.wake_sample
        late = end_sample - held.last_sample >= PATIENCE_SAMPLES or waited >= LONGEST_SAMPLES
        return self.give_up() if late else None

    def give_up(self) -> Unconfirmed | None:
        """Wait no longer: the detection held back does not count."""
        if self._held is None:
            return None
        found, self._held = self._held.detection, None
        return Unconfirmed(found.word, found.score, found.wake_sample, found.confirmed or 0.0, found.together or 0.0)

    def _weigh(self, held: _Held, samples: Samples, score: float) -> Detection | None:
        """Hear more with the second model; return the detection if both are sure enough now, else hold it back."""
        louder = np.clip(np.rint(samples * held.gain), -32_768, 32_767).astype(np.int16)
        held = replace(held, heard=np.concatenate([held.heard, louder]), frames=held.frames + 1)
        lasting = max(held.opinion.hear(louder), held.detection.confirmed or 0.0, self._alone(held, _ALONE_AFTER, (0,)))
        scores = held.scores + score
        confirmed = lasting
        if held.interests(score):
            confirmed = max(lasting, self._alone(held, _AT_ONCE_AFTER, (0, _HALFWAY_SAMPLES)))
        both = together(scores, confirmed)
        found = replace(held.detection, score=max(held.detection.score, score), confirmed=confirmed, together=both)
        sure = both >= held.threshold
        kept = replace(found, confirmed=lasting, together=together(scores, lasting))
        self._held = None if sure else replace(held, detection=kept, scores=scores)
        return found if sure else None

    def _alone(self, held: _Held, frames: int, firsts: tuple[int, ...]) -> float:
        """What the second model would say if nothing followed what was heard, from each of the first samples on.

        0 unless so many frames were heard.
        """
        if held.frames != frames or self._models is None:
            return 0.0
        heard = np.concatenate([held.heard, quiet_like(held.heard)])
        opinions = ((self._models.opinion(held.detection.word), first) for first in firsts)
        return max(opinion.hear(heard[first:]) if opinion else 0.0 for opinion, first in opinions)


def gain_of(history: Samples) -> float:
    """Return what brings a wake word to the level at which a second model hears best.

    Args:
        history: int16, shape (n,), what was heard up to its detection.
    """
    word = history[-_WORD_SAMPLES:]
    frames = word[len(word) % VAD_SAMPLES :].reshape(-1, VAD_SAMPLES).astype(np.float64)
    if not len(frames):
        return 1.0
    loud = max(float(np.quantile(np.sqrt(np.mean(frames**2, axis=1)), _LOUD_SHARE)), 1.0)
    wanted_db = _LEVEL_DBFS - 20.0 * math.log10(loud / 32_768)
    return float(10.0 ** (min(max(wanted_db, -_MOST_DB), _MOST_DB) / 20.0))


def quiet_like(heard: Samples) -> Samples:
    """Return 0.4 s of a faint noise, int16, the same each time and as loud as the quietest moment of what was heard."""
    energy = np.concatenate([[0.0], np.cumsum(heard.astype(np.float64) ** 2)])
    span = min(_QUIET_SAMPLES, len(heard))
    quietest = float((energy[span:] - energy[: len(energy) - span]).min()) / max(span, 1)
    # Evenly spread from -1 to 1; of bytes, since numpy.random would take 6 MB.
    noise = np.frombuffer(random.Random(0).randbytes(2 * _ALONE_SAMPLES), np.int16) / 32_768  # noqa: S311 - no secret
    return np.rint(noise * math.sqrt(3.0 * max(quietest, 1.0))).astype(np.int16)
