"""What one capture has heard, segmented: its wake word, the request so far, and the silence after it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from device.hearing.cut import CutRules, Span, begins, request_in, share_of_wake_word, wake_word_in
from device.hearing.frames import VAD_SAMPLES, Samples, samples_of
from device.hearing.segment_network import REQUEST, WAKE_WORD, Array
from device.hearing.segmenter import Segmenter
from device.hearing.wake import Detection

SAME_WORD = samples_of(0.3)  # words that end no farther apart are one
Segment = Callable[[Detection, Samples], Segmenter]  # given a detection and what was heard up to it, int16


class Take:
    """What one capture has heard.

    Args:
        detection: the wake word that it began with.
        history: int16, shape (n,), what was heard up to it.
        segment: makes its segmenter.
        rules: what makes a request.
        before: the one that it starts over, if any.
    """

    def __init__(
        self, detection: Detection, history: Samples, segment: Segment, rules: CutRules, before: Take | None = None
    ) -> None:
        history = history[len(history) % VAD_SAMPLES :]
        self.detection = detection
        self.origin = detection.wake_sample - len(history)
        self.end = detection.wake_sample
        self._blocks = [np.array(history, np.int16)]
        self._segmenter = segment(detection, history)
        self._rules = rules
        self._unheard: list[tuple[int, int]] = []  # up to where, and how many samples of it were not heard
        self._before = before and (before.opened_by, before.wake_word().end)

    @property
    def opened_by(self) -> Detection:
        """The detection, or the one before it where one and the same word turns out to have set off both."""
        if self._before and abs(self.wake_word().end - self._before[1]) <= SAME_WORD:
            return self._before[0]
        return self.detection

    def add(self, block: Samples, missing: int = 0) -> None:
        """Hear more, int16, shape (n,), ``missing`` of it not; what is no whole frame of 20 ms can only be the last."""
        self._segmenter.push(block[: len(block) // VAD_SAMPLES * VAD_SAMPLES])
        self._blocks.append(np.array(block, np.int16))
        self.end += len(block)
        if missing:
            self._unheard.append((self.end, missing))

    def silence_after(self, said: Span) -> int:
        """How many samples of silence followed what was said; what was not heard is none."""
        return self.end - said.end - sum(missing for end, missing in self._unheard if end > said.end)

    def audio(self) -> Samples:
        """Everything heard, int16, from ``origin`` to ``end``."""
        return np.concatenate(self._blocks)

    def request(self, earliest: int) -> Span | None:
        """The request so far, in samples of the stream, of what was heard from ``earliest`` on."""
        first = max(-(-(earliest - self._segmenter.start_sample) // VAD_SAMPLES), 0)
        until = 0 if self._segmenter.knows_word else self._fired - self._rules.own
        return self._samples(request_in(self._chances, first, self._rules, wake_word_until=until))

    def begins(self) -> bool:
        """Whether more may just be beginning to be said."""
        return begins(self._chances, self._rules)

    def wake_word(self) -> Span:
        """The wake word, in samples of the stream; without frames of its own it ends where it was detected."""
        wake = self.detection.wake_sample
        if self.detection.is_press:
            return Span(wake, wake)
        return self._samples(wake_word_in(self._segmenter.chances, self._fired, self._rules)) or Span(wake, wake)

    def share_of_wake_word(self, span: Span) -> float:
        """Which share of a part of the stream, in samples, is the wake word."""
        first, last = ((at - self._segmenter.start_sample) // VAD_SAMPLES for at in (span.start, span.end))
        return share_of_wake_word(self._segmenter.chances[max(first, 0) : last], self._rules)

    @property
    def _chances(self) -> Array:
        """What each frame is part of; where a button was pressed, what sounds like a wake word is the request's."""
        chances = self._segmenter.chances
        if self.detection.is_press:
            chances = chances.copy()
            chances[:, REQUEST] += chances[:, WAKE_WORD]
        return chances

    @property
    def _fired(self) -> int:
        """The frame after the last one that was heard up to the detection."""
        return (self.detection.wake_sample - self._segmenter.start_sample) // VAD_SAMPLES

    def _samples(self, span: Span | None) -> Span | None:
        start = self._segmenter.start_sample
        return span and Span(start + span.start * VAD_SAMPLES, start + span.end * VAD_SAMPLES)
