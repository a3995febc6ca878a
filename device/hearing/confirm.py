"""A second opinion on a wake word: another model hears its last seconds once more, and a little of what follows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from device.hearing.frames import FRAME_SAMPLES, RATE_HZ

if TYPE_CHECKING:
    from device.hearing.frames import Samples
    from device.hearing.wake import Detection

HISTORY_SAMPLES = 2 * RATE_HZ  # of what was heard before the detection the second model hears so much
# Of 102 people's "alexa", clean, in noise of 10 dB and in a room, every one that the first model hears reaches this
# within 0.4 s after the detection; of 5 other utterances that set it off in 2 hours of prompts none is above 0.02.
AGREES = 0.1
PATIENCE_SAMPLES = 5 * FRAME_SAMPLES


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
    """A wake word that the second model did not hear.

    Attributes:
        word: the wake word.
        score: the first model's.
        wake_sample: stream position where the detection fired.
        confirmed: the second model's highest probability.
    """

    word: str
    score: float
    wake_sample: int
    confirmed: float


class Confirmer:
    """Holds a detection back until a second model agrees, for a short time; one detection at a time.

    Args:
        models: the second ones; None: every detection counts at once.
    """

    def __init__(self, models: SecondModel | None) -> None:
        self._models = models
        self._pending: tuple[Detection, Opinion] | None = None
        self._heard = 0.0

    @property
    def waiting(self) -> bool:
        """Whether a detection is held back."""
        return self._pending is not None

    def ask(self, detection: Detection, history: Samples) -> Detection | None:
        """Take a detection; return it if it counts at once, with the second model's probability if there is one.

        Args:
            detection: one that fires while another is held back is late scores of it, and counts for nothing.
            history: int16, shape (n,), what was heard up to it, ``HISTORY_SAMPLES`` if there is so much.
        """
        if self._pending:
            return None
        opinion = self._models.opinion(detection.word) if self._models else None
        if opinion is None:
            return detection
        self._pending = (detection, opinion)
        return self._agreed(history)

    def push(self, frame: Samples, end_sample: int) -> Detection | Unconfirmed | None:
        """Hear the frame that follows; return the detection held back if it counts now, or that it does not.

        Args:
            frame: int16, shape (FRAME_SAMPLES,).
            end_sample: stream position of its end.
        """
        if self._pending is None:
            return None
        if agreed := self._agreed(frame):
            return agreed
        late = end_sample - self._pending[0].wake_sample >= PATIENCE_SAMPLES
        return self.give_up() if late else None

    def give_up(self) -> Unconfirmed | None:
        """Wait no longer: the detection held back does not count."""
        if self._pending is None:
            return None
        (detection, _), self._pending = self._pending, None
        return Unconfirmed(detection.word, detection.score, detection.wake_sample, self._heard)

    def _agreed(self, samples: Samples) -> Detection | None:
        if self._pending is None:
            return None
        detection, opinion = self._pending
        self._heard = opinion.hear(samples)
        if self._heard < AGREES:
            return None
        self._pending = None
        return replace(detection, confirmed=self._heard)
