"""Blocks of audio in, events out: gate, wake word, capture; all in the order and the time of the stream itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from device.hearing.capture import NoSpeech
from device.hearing.confirm import HISTORY_SAMPLES as CONFIRMED_FROM_SAMPLES
from device.hearing.confirm import Confirmer, Unconfirmed
from device.hearing.frames import FRAME_SAMPLES, RATE_HZ, AudioRing, Rechunker
from device.hearing.holes import LONGEST_SAMPLES, Holes, merged, room_tone, silenced
from device.hearing.masks import Masks
from device.hearing.request import Request
from device.hearing.wake import Detection
from device.hearing.words import BUTTON

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Iterator, Mapping

    import numpy.typing as npt

    from device.hearing.capture import Capture, Outcome
    from device.hearing.frames import Samples
    from device.hearing.gate import Gate
    from device.hearing.request import EndedBy
    from device.hearing.wake import Detector, WakeScorer

HISTORY_SAMPLES = 4 * RATE_HZ  # what a capture gets to know the room and the wake word from
SCORE_OF_INTEREST = 0.05  # below it, scores may come a frame later: two frames a call cost less than two calls


@dataclass(frozen=True, slots=True)
class Heard:
    """A wake word was heard, or a button pressed, at this position of the stream.

    Attributes:
        again: a capture was already open; no second one began.
        confirmed: a second model's probability, 0 to 1; None: there is no second model of the word.
        together: how sure both are, 0 to 1; None likewise.
    """

    word: str
    score: float
    wake_sample: int
    again: bool
    confirmed: float | None = None
    together: float | None = None


Finding = Heard | Unconfirmed | NoSpeech | Request


class Pipeline:
    """One stream's way from samples to requests.

    Every decision is a function of the stream's samples: neither the size of the blocks nor the pace changes one.
    Frames wait unscored while the gate is closed; when it opens, the scorer hears enough of the past to give the
    scores it would have given without a gate.

    Args:
        scorer: hears the wake words; reset here, and again after a gap.
        detector_factory: makes a fresh detector.
        capture: takes over from a detection until its request has ended.
        gate: decides when scoring is worth its cost; None: always.
        confirmer: holds a detection back until a second model has heard the word, too; None: every detection counts.

    Attributes:
        gate_open: whether the gate let the last frame pass; true without a gate.
    """

    def __init__(
        self,
        scorer: WakeScorer,
        detector_factory: Callable[[], Detector],
        capture: Capture,
        gate: Gate | None,
        confirmer: Confirmer | None = None,
    ) -> None:
        self._scorer = scorer
        self._detector_factory = detector_factory
        self._capture = capture
        self._gate = gate
        self._confirmer = confirmer or Confirmer(None, {})
        self._chunks = Rechunker()
        # A second more than anybody asks back for: the frames of a block are pushed one by one.
        self._ring = AudioRing(max(HISTORY_SAMPLES, scorer.context_frames * FRAME_SAMPLES) + RATE_HZ)
        self._detector = detector_factory()
        self._holes = Holes()
        self._masks = Masks()
        self._counted = 0  # up to where sound belongs to a wake word that counted, and confirms no other
        self._scored = 0  # the frames before it are scored, or will never be
        self._open = False
        self._batch = 2
        self._latest: list[npt.NDArray[np.float32]] = []  # what the last call scored
        self.gate_open = gate is None
        self._start(0)

    def _start(self, position: int) -> None:
        self._scorer.reset()
        self._detector = self._detector_factory()
        self._ring.restart(position)
        self._holes = Holes()
        self._masks.restart(position)
        self._counted = position
        self._scored = position
        self._open = False
        self._batch = 2
        self.gate_open = self._gate is None
        self._latest = []

    @property
    def position(self) -> int:
        """The stream position after the last whole frame."""
        return self._ring.end

    @property
    def _end(self) -> int:
        """The stream position after all that was pushed."""
        return self._ring.end + self._chunks.waiting

    def _past(self) -> Samples:
        return self._ring.slice(max(self._ring.start, self._ring.end - HISTORY_SAMPLES), self._ring.end)

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """The scores of the frames that the last call scored, in their order: float32, shape (n, words)."""
        return np.concatenate([np.zeros((0, len(self._scorer.words)), np.float32), *self._latest])

    def push(self, block: Samples) -> Iterator[Finding]:
        """Take the next samples of the stream, int16, shape (n,); yield what they decide, in the stream's order."""
        self._latest = []
        for frame in self._chunks.push(block):
            self._ring.append(frame)
            self.gate_open = self._gate is None or self._gate.push(frame)
            self._open = self.gate_open or self._busy
            if self._open and self._ring.end - self._scored >= self._batch * FRAME_SAMPLES:
                yield from self._score()

    def press(self) -> Iterator[Finding]:
        """Take a button that is pressed for the wake word, at the end of the last whole frame."""
        if self._ring.end > self._scored:
            yield from self._score()
        yield from self._begin(Detection(BUTTON, 1.0, self._ring.end), self._ring.end)

    def mask(self, key: Hashable, *, samples: int, own: frozenset[str] = frozenset()) -> tuple[()]:
        """From here on the device plays something, which is none of a request.

        Args:
            key: what `unmask` ends.
            samples: how long at most.
            own: the wake words that are in it, which set nothing off.
        """
        if not self._capture.active:
            self._masks.forget(self._ring.start)
        self._masks.begin(key, self._end, room_tone(self._past(), FRAME_SAMPLES), samples=samples, own=own)
        return ()

    def unmask(self, key: Hashable, tail_samples: int) -> tuple[()]:
        """What the device played has ended here, and is heard for a moment yet."""
        self._masks.end(key, self._end + tail_samples)
        return ()

    def retune(self, detector_factory: Callable[[], Detector], thresholds: Mapping[str, float]) -> Iterator[Finding]:
        """From here on other thresholds count; what was heard up to here is decided by those before.

        Args:
            detector_factory: makes a fresh detector.
            thresholds: how sure two models must be together, by word.
        """
        if self._open and self._ring.end > self._scored:
            yield from self._score()
        self._detector_factory = detector_factory
        self._detector.thresholds = detector_factory().thresholds  # it goes on: what has fired may not do so again
        self._confirmer.thresholds = thresholds

    def finish(self, ended_by: EndedBy) -> Iterator[Finding]:
        """End the stream: decide what waits, close an open request, be ready for another stream from position 0."""
        yield from self._close(ended_by)
        self._capture.forget()
        self._start(0)

    def hole(self, samples: int) -> Iterator[Finding]:
        """So many samples are missing here: up to a second of them is bridged, more is a gap."""
        if samples > LONGEST_SAMPLES:
            yield from self.gap(samples)
            return
        if not self._capture.active:
            self._holes.forget(self._ring.start)
        self._holes.add(self._end, samples)
        yield from self.push(room_tone(self._past(), samples))

    def gap(self, samples: int = 0) -> Iterator[Finding]:
        """Close an open request before the gap, and hear what follows as a new beginning.

        Args:
            samples: how many are missing, as far as anybody knows.
        """
        position = yield from self._close("gap")
        self._start(position + samples)

    def _close(self, ended_by: EndedBy) -> Generator[Finding, None, int]:
        """Decide on all that was pushed; return the stream position after its last sample."""
        if self._open:
            yield from self._score()
        if unconfirmed := self._confirmer.give_up():
            yield unconfirmed
        tail = self._chunks.flush()
        rest = self._masks.hide(tail, self._ring.end)
        if self._capture.active and (outcome := self._capture.finish(ended_by, rest)):
            yield self._marked(outcome)
        return self._ring.end + len(tail)

    def _score(self) -> Iterator[Finding]:
        """Score every frame not scored yet, or, after a long silence, the newest one on as much past as it needs."""
        replay = self._scorer.context_frames * FRAME_SAMPLES
        start, end = self._scored, self._ring.end
        skip = 0
        if end - start > replay + FRAME_SAMPLES:
            start, skip = end - replay - FRAME_SAMPLES, self._scorer.context_frames
            self._scorer.reset()
        self._scored = end
        scores = self._scorer.score(self._ring.slice(start, end).reshape(-1, FRAME_SAMPLES))[skip:]
        self._latest.append(scores.copy())
        for row, frame_start in zip(scores, range(start + skip * FRAME_SAMPLES, end, FRAME_SAMPLES), strict=True):
            yield from self._decide(row, frame_start)
        interesting = len(scores) > 0 and float(scores[-1].max()) >= SCORE_OF_INTEREST
        if interesting and self._gate is not None:
            self._gate.hold()
        self._batch = 1 if interesting or self._busy else 2

    def _decide(self, scores: npt.NDArray[np.float32], frame_start: int) -> Iterator[Finding]:
        """Let the frame reach an open capture, then its scores the detector."""
        frame_end = frame_start + FRAME_SAMPLES
        if self._capture.active and (outcome := self._capture.push(*self._heard(frame_start, frame_end))):
            yield self._marked(outcome)
        if word := self._confirmer.word:
            score = float(scores[self._scorer.words.index(word)])
            verdict = self._confirmer.push(self._ring.slice(frame_start, frame_end), frame_end, score)
            if isinstance(verdict, Unconfirmed):
                self._detector = self._detector_factory()  # the word itself may follow at once
                if not self._capture.active:  # else it was late scores, or something in the request
                    yield verdict
            elif verdict is not None:
                yield from self._begin(verdict, frame_end)
        detection = self._detector.push(scores, frame_end)
        if detection and not self._masks.plays(detection.word, frame_end):
            history = self._ring.slice(
                max(self._ring.start, frame_end - CONFIRMED_FROM_SAMPLES, self._counted), frame_end
            )
            if confirmed := self._confirmer.ask(detection, history):
                yield from self._begin(confirmed, frame_end)

    def _begin(self, detection: Detection, end: int) -> Iterator[Finding]:
        """Let a capture begin, or one that runs know of the wake word; it hears what has come since the detection."""
        wake = detection.wake_sample
        self._counted = end
        again = self._capture.active
        if again:
            self._capture.rewake(detection)
        else:
            first = max(self._ring.start, wake - HISTORY_SAMPLES)
            played_until = max((last for _, last in self._masks.within(first, wake)), default=0)
            if not self._capture.begin(detection, self._ring.slice(first, wake), earliest=played_until):
                return
            for start in range(wake, end, FRAME_SAMPLES):
                self._capture.push(*self._heard(start, start + FRAME_SAMPLES))  # too little to end it
        yield Heard(detection.word, detection.score, wake, again, detection.confirmed, detection.together)

    def _heard(self, start: int, end: int) -> tuple[Samples, int, int]:
        """What a capture hears of a part of the stream, how much of it not, and up to where the device played."""
        played = self._masks.within(start, end)
        missing = sum(last - first for first, last in merged([*self._holes.within(start, end), *played]))
        return (
            self._masks.hide(self._ring.slice(start, end), start),
            missing,
            max((last for _, last in played), default=0),
        )

    @property
    def _busy(self) -> bool:
        """Whether something that was detected is waited for."""
        return self._capture.active or self._confirmer.word is not None

    def _marked(self, outcome: Outcome) -> Outcome:
        if not isinstance(outcome, Request):
            return outcome
        kept = outcome.start_sample, outcome.end_sample
        return silenced(outcome, [*self._holes.within(*kept), *self._masks.within(*kept)])
