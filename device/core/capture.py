"""From a detection to a request: a state machine in one table, and the samples between the cut points.

While a capture runs, the endpointer only decides when to stop. What was said is found when it stops, with all of it
heard. If nothing but a noise or the wake word's own tail was there, the capture goes on waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Protocol

import numpy as np

from device.core.cut import Span, locate
from device.core.endpoint import Endpointer, SpeechClassifier
from device.core.frames import VAD_SAMPLES, Samples, samples_of
from device.core.tag import EndedBy, Request
from device.core.wake import Detection, WordEnd
from device.core.wake_end import doubt_samples


class TransitionError(RuntimeError):
    """An event that the capture's state does not know: a mistake of the program, never of its input."""


class State(Enum):
    """What a capture is doing."""

    IDLE = auto()  # no wake word was heard
    SPEAKING = auto()  # somebody speaks: the wake word at first
    PAUSING = auto()  # silence is counted
    WAITING = auto()  # nothing but the wake word was said yet


class Event(Enum):
    """What can happen to a capture."""

    WAKE = auto()  # the wake word
    WAKE_ALONE = auto()  # the wake word again, and nothing else since
    WAKE_WITHIN = auto()  # the wake word again, in the middle of a request
    SPEECH = auto()  # a frame of speech
    SILENCE = auto()  # a frame without
    SAID = auto()  # the silence after the request is over: ``silence_s``
    NOT_SAID = auto()  # the same silence, but what came before it was no request
    GIVEN_UP = auto()  # ``no_speech_s`` without a request, or ``max_s`` of sounds that are none
    FULL = auto()  # the request is ``max_s`` long
    CUT_OFF = auto()  # the input ends, or the program


# Every way a capture can go. What is not here cannot happen, raises, and leaves the state as it was.
TRANSITIONS: dict[State, dict[Event, State]] = {
    State.IDLE: {
        Event.WAKE: State.SPEAKING,
    },
    State.SPEAKING: {
        Event.WAKE_ALONE: State.SPEAKING,
        Event.WAKE_WITHIN: State.SPEAKING,
        Event.SPEECH: State.SPEAKING,
        Event.SILENCE: State.PAUSING,
        Event.FULL: State.IDLE,
        Event.GIVEN_UP: State.IDLE,
        Event.CUT_OFF: State.IDLE,
    },
    State.PAUSING: {
        Event.WAKE_ALONE: State.SPEAKING,
        Event.WAKE_WITHIN: State.PAUSING,
        Event.SPEECH: State.SPEAKING,
        Event.SILENCE: State.PAUSING,
        Event.SAID: State.IDLE,
        Event.NOT_SAID: State.WAITING,
        Event.FULL: State.IDLE,
        Event.GIVEN_UP: State.IDLE,
        Event.CUT_OFF: State.IDLE,
    },
    State.WAITING: {
        Event.WAKE_ALONE: State.SPEAKING,
        Event.SPEECH: State.SPEAKING,
        Event.SILENCE: State.WAITING,
        Event.GIVEN_UP: State.IDLE,
        Event.CUT_OFF: State.IDLE,
    },
}


def follow(state: State, event: Event) -> State:
    """Return the state that follows.

    Raises:
        TransitionError: the event cannot happen in this state.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise TransitionError(f"{event.name} cannot happen while {state.name}") from None


class Cutting(Protocol):
    """The user's choices, in seconds: `CaptureSettings` of the configuration, or anything of the same shape.

    Attributes:
        pre_roll_s: how far before the detection, where its score began to rise, a request may begin.
        silence_s: the silence that ends a request.
        no_speech_s: how long to wait for a request after the wake word.
        max_s: the longest request.
        padding_s: what is kept on each side of the speech.
    """

    @property
    def pre_roll_s(self) -> float: ...  # noqa: D102 - told above, as the others
    @property
    def silence_s(self) -> float: ...  # noqa: D102
    @property
    def no_speech_s(self) -> float: ...  # noqa: D102
    @property
    def max_s(self) -> float: ...  # noqa: D102
    @property
    def padding_s(self) -> float: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class NoSpeech:
    """A wake word after which nothing was said.

    Attributes:
        word: the wake word.
        wake_sample: stream position where the detection fired.
        end_sample: stream position where the wait ended.
    """

    word: str
    wake_sample: int
    end_sample: int


Outcome = Request | NoSpeech
WordTeller = Callable[[Detection, Samples, int], WordEnd | None]

_SAME_WORD = samples_of(0.3)  # words that end no farther apart are one
_LATE = samples_of(2.0)  # so long after it ended, no word sets anything off any more
_WORD_S = 1.2  # no bundled wake word takes longer to say
_DROWNED = 0.5  # times ``silence_s`` are waited for more in noise that hides faint sounds: a pause seems longer there
_TOLD_AFTER = samples_of(1.2)  # so much after a detection, more tells nothing about the end of its word
_IN_DOUBT = 2  # times ``silence_s`` are waited for more if what was said may be the wake word's own last syllable


@dataclass(slots=True)
class _Take:
    """What one capture has heard, and what it measured of it.

    Attributes:
        detection: the wake word it began with.
        origin: stream position of the first sample held.
        blocks: everything heard since, int16.
        endpointer: decides what is speech.
        word_end: tells how the wake word ended.
        end: stream position after the newest sample.
        quiet_from: stream position after the last frame of speech.
        full_at: stream position before which the request cannot be ``max_s`` long.
        kept_until: stream position before which all belongs to the request before.
        told: how the wake word ended.
        told_at: stream position up to which that was told from.
        first: the detection before this one, and how its word ended.
    """

    detection: Detection
    origin: int
    blocks: list[Samples]
    endpointer: Endpointer
    word_end: WordTeller
    end: int
    quiet_from: int
    full_at: int
    kept_until: int
    told: WordEnd | None = None
    told_at: int = 0
    first: tuple[Detection, WordEnd] | None = None

    @property
    def opened_by(self) -> Detection:
        """The detection, or the first one, where one and the same word set off both."""
        if self.first and self.told and abs(self.told.sample - self.first[1].sample) < _SAME_WORD:
            return self.first[0]
        return self.detection

    def audio(self) -> Samples:
        """Everything heard, int16, from ``origin`` to ``end``."""
        return np.concatenate(self.blocks)

    def add(self, block: Samples) -> list[bool]:
        """Hear more, int16, shape (n,); return for each whole frame of 20 ms in it whether it is speech."""
        decisions = self.endpointer.push(block[: len(block) // VAD_SAMPLES * VAD_SAMPLES])
        self.blocks.append(np.array(block, np.int16))
        for number, speech in enumerate(decisions, 1):
            if speech:
                self.quiet_from = self.end + number * VAD_SAMPLES
        self.end += len(block)
        return decisions

    def span(self, *, trailing_silence: bool) -> Span | None:
        """Find the request in what was heard; None if nothing was said."""
        if self.told_at < min(self.end, self.detection.wake_sample + _TOLD_AFTER):
            self.told = self.word_end(self.detection, self.audio(), self.origin)
            self.told_at = self.end
        told = self.told and replace(self.told, sample=self.told.sample - self.origin)
        fired = (self.detection.wake_sample - self.origin) // VAD_SAMPLES
        kept = max(self.kept_until - self.origin, 0) // VAD_SAMPLES
        return locate(
            self.endpointer.levels, fired, self.detection.scores, told, kept=kept, trailing_silence=trailing_silence
        )

    def position(self, frame: int) -> int:
        """The stream position of a frame of 20 ms."""
        return self.origin + frame * VAD_SAMPLES


class Capture:
    """One capture at a time; everything is counted in samples of the stream.

    Args:
        settings: the user's choices.
        classifier: makes a fresh speech classifier; every capture has its own, so that a request depends on its audio
            only.
        word_end: tells how a wake word ended, as `WakeScorer.word_end` does.
    """

    def __init__(self, settings: Cutting, classifier: Callable[[], SpeechClassifier], word_end: WordTeller) -> None:
        self._pre_roll = samples_of(settings.pre_roll_s)
        self._silence = samples_of(settings.silence_s)
        self._no_speech = samples_of(settings.no_speech_s)
        self._max = samples_of(settings.max_s)
        self._padding = samples_of(settings.padding_s)
        self._classifier = classifier
        self._word_end = word_end
        self._take: _Take | None = None
        self.state = State.IDLE
        self.forget()

    def forget(self) -> None:
        """Forget the request before: what is heard from now on is another stream."""
        self._kept_until = 0
        self._kept_word: WordEnd | None = None

    @property
    def active(self) -> bool:
        """Whether a wake word was heard whose capture has not ended."""
        return self.state is not State.IDLE

    def begin(self, detection: Detection, history: Samples) -> bool:
        """Start a capture, unless the word is the one whose request has just ended: late scores may fire once more.

        Args:
            detection: the wake word.
            history: int16, shape (n,), what was heard up to the detection's ``wake_sample``; about 4 s of it, or all
                there is.

        Returns:
            Whether it started.

        Raises:
            TransitionError: a capture is active already; a wake word heard then goes to `rewake`.
        """
        started = follow(self.state, Event.WAKE)
        history = history[len(history) % VAD_SAMPLES :]
        word = self._kept_word
        if word and detection.wake_sample - word.sample < _LATE:
            told = self._word_end(detection, history, detection.wake_sample - len(history))
            if told and abs(told.sample - word.sample) < _SAME_WORD:
                return False
        self.state = started
        self._take = self._start(detection, history)
        return True

    def rewake(self, detection: Detection) -> None:
        """Take a wake word heard during the capture, once the frame that fired was pushed.

        If nothing but this wake word was said since the first one, the capture starts over from it; else it is part of
        the request. Whether the first one's word itself set it off, by late scores, shows only later.

        Raises:
            TransitionError: no capture is active.
        """
        take = self._running()
        said = take.span(trailing_silence=False)
        alone = (
            self.state is State.WAITING
            or said is None
            or not said.sure
            or take.position(said.start) >= detection.wake_sample - samples_of(_WORD_S)
        )
        self.state = follow(self.state, Event.WAKE_ALONE if alone else Event.WAKE_WITHIN)
        if alone:
            self._take = self._start(detection, take.audio()[: detection.wake_sample - take.origin])
            self._take.first = (take.opened_by, take.told) if take.told else None

    def push(self, frame: Samples, missing: int = 0) -> Outcome | None:
        """Take the frame that follows, int16, shape (FRAME_SAMPLES,); return what the capture came to, if it ended.

        Args:
            frame: what was heard.
            missing: how many of its samples were not heard and stand for a hole: nobody knows that they were silence.

        Raises:
            TransitionError: no capture is active.
        """
        take = self._running()
        take.quiet_from += missing
        for speech in take.add(frame):
            self.state = follow(self.state, Event.SPEECH if speech else Event.SILENCE)
        return self._look(take)

    def finish(self, ended_by: EndedBy, tail: Samples) -> Outcome | None:
        """End the capture where the input ends; what was said until then still comes out.

        Args:
            ended_by: ``end-of-input`` or ``shutdown``.
            tail: int16, shape (fewer than FRAME_SAMPLES,), what followed the last whole frame.

        Returns:
            What the capture came to; None if none was active.
        """
        if self._take is None:
            return None
        self._take.add(tail)
        return self._stop(self._take, Event.CUT_OFF, ended_by, self._take.span(trailing_silence=False))

    def _running(self) -> _Take:
        if self._take is None:
            raise TransitionError("no capture is active; begin one first")
        return self._take

    def _start(self, detection: Detection, history: Samples) -> _Take:
        wake = detection.wake_sample
        return _Take(
            detection=detection,
            origin=wake - len(history),
            blocks=[np.array(history, np.int16)],
            endpointer=Endpointer(self._classifier(), history),
            word_end=self._word_end,
            end=wake,
            quiet_from=wake,
            full_at=self._earliest(detection, None) + self._max,
            kept_until=self._kept_until,
        )

    def _look(self, take: _Take) -> Outcome | None:
        """See whether the capture ends here."""
        quiet = take.end - take.quiet_from
        if self.state is State.PAUSING and quiet >= self._silence:
            span = take.span(trailing_silence=True)
            if span is None:
                self.state = follow(self.state, Event.NOT_SAID)
            elif quiet >= _IN_DOUBT * self._silence or (
                span.sure and take.end - take.position(span.end) >= (1 + _DROWNED * span.drowned) * self._silence
            ):
                return self._stop(take, Event.SAID, "silence", span)
        if self.state is State.WAITING and take.end - take.detection.wake_sample >= self._no_speech:
            return self._stop(take, Event.GIVEN_UP, "silence", None)
        if self.state is not State.WAITING and take.end >= take.full_at:
            span = take.span(trailing_silence=False)
            if span is None:
                return self._stop(take, Event.GIVEN_UP, "max", None)
            take.full_at = min(self._cut(take, span)[0], take.detection.wake_sample + self._no_speech) + self._max
            if take.end >= take.full_at:
                return self._stop(take, Event.FULL, "max", span)
        return None

    def _stop(self, take: _Take, event: Event, ended_by: EndedBy, span: Span | None) -> Outcome:
        self.state = follow(self.state, event)
        self._take = None
        found = take.opened_by
        if span is None:
            return NoSpeech(found.word, found.wake_sample, take.end)
        start, end = self._cut(take, span)
        self._kept_until, self._kept_word = end, take.told
        speech = max(take.position(span.start), start)
        pcm = take.audio()[start - take.origin : end - take.origin]
        return Request(found.word, found.score, found.wake_sample, start, end, speech, ended_by, pcm)

    def _cut(self, take: _Take, span: Span) -> tuple[int, int]:
        """Return the stream positions where a request starts and ends."""
        earliest = max(self._earliest(take.detection, take.told), take.position(span.earliest), take.kept_until)
        start = max(take.position(span.start) - self._padding, earliest)
        end = min(take.position(span.end) + self._padding, take.end, start + self._max)
        return start, end

    def _earliest(self, detection: Detection, told: WordEnd | None) -> int:
        """The stream position before which nothing is kept.

        The pre-roll counts from where the score began to rise: some voices are recognised only a second after the word,
        when half of a request that followed at once has been said.
        """
        rise = detection.wake_sample - doubt_samples(detection.scores)
        return (rise if told is None else min(told.sample, rise)) - self._pre_roll
