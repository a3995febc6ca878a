"""From a detection to a request: what is heard is segmented, and cut where the request's own frames begin and end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from device.hearing.cut import Span
from device.hearing.frames import VAD_SAMPLES, samples_of
from device.hearing.request import EndedBy, Request
from device.hearing.take import SAME_WORD, Take

if TYPE_CHECKING:
    from device.hearing.cut import CutRules
    from device.hearing.frames import Samples
    from device.hearing.take import Segment
    from device.hearing.wake import Detection


class CaptureError(RuntimeError):
    """A call that the capture's state does not allow: a mistake of the program, never of its input."""


class Cutting(Protocol):
    """The user's choices, in seconds: `CaptureSettings` of the configuration, or anything of the same shape.

    Attributes:
        pre_roll_s: how far before the wake word's end (or the detection, if that came sooner) a request may begin.
        silence_s: the silence that ends a request.
        no_speech_s: how long to wait for a request after the wake word.
        max_s: the longest request.
        padding_s: what is kept on each side of the speech.
    """

    @property
    def pre_roll_s(self) -> float: ...  # noqa: D102 - said above, as the others
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

_WAKE_SOUND = samples_of(2.5)  # as long as models look back, and the word's late scores
_INTO_WORD = samples_of(0.1)  # of the wake word that may be kept: a request that follows at once shows late


class Capture:
    """One capture at a time; everything is counted in samples of the stream.

    Args:
        settings: the user's choices.
        segment: makes the segmenter of a detection, as `WakeScorer.segmenter` does.
        rules: what makes a request of segmented frames.
    """

    def __init__(self, settings: Cutting, segment: Segment, rules: CutRules) -> None:
        self._pre_roll = samples_of(settings.pre_roll_s)
        self._silence = samples_of(settings.silence_s)
        self._longest_silence = self._silence + rules.patience * VAD_SAMPLES
        self._no_speech = samples_of(settings.no_speech_s)
        self._longest_wait = self._no_speech + rules.patience * VAD_SAMPLES
        self._max = samples_of(settings.max_s)
        self._padding = samples_of(settings.padding_s)
        self._segment = segment
        self._rules = rules
        self._take: Take | None = None
        self._kept_until = 0
        self._played_until = 0

    def forget(self) -> None:
        """Forget the request before: what is heard from now on is another stream."""
        self._kept_until = 0

    @property
    def active(self) -> bool:
        """Whether a wake word was heard whose capture has not ended."""
        return self._take is not None

    def begin(self, detection: Detection, history: Samples, *, earliest: int = 0) -> bool:
        """Start a capture, unless the word lies in the request that has just ended: late scores may fire once more.

        Args:
            detection: the wake word.
            history: int16, shape (n,), what was heard up to the detection's ``wake_sample``; about 4 s of it, or all
                there is.
            earliest: a stream position before which nothing is the request's: the device itself played something.

        Returns:
            Whether it started.

        Raises:
            CaptureError: a capture is active already; a wake word heard then goes to `rewake`.
        """
        if self._take is not None:
            raise CaptureError("a capture is active already; this wake word is for rewake")
        take = Take(detection, history, self._segment, self._rules)
        if not detection.is_press and take.wake_word().end <= self._kept_until:
            return False
        self._take = take
        self._played_until = earliest
        return True

    def rewake(self, detection: Detection) -> bool:
        """Take a wake word heard during the capture, once the frame that fired was pushed, or some frames later.

        It starts the capture over if nothing else was said since the first one, or if what was said is the wake word
        again. Else it is a part of the request, or late scores of the first one.

        Returns:
            Whether it started over.

        Raises:
            CaptureError: no capture is active.
        """
        take = self._running()
        again = Take(detection, take.audio()[: detection.wake_sample - take.origin], self._segment, self._rules, take)
        again.add(take.audio()[detection.wake_sample - take.origin :])
        word, said = again.wake_word(), take.request(self._earliest(take))
        if word.end <= take.wake_word().end + SAME_WORD:
            return False
        if said is not None and again.share_of_wake_word(said) < self._rules.repeated:
            return False
        self._take = again
        return True

    def push(self, frame: Samples, missing: int = 0, played_until: int = 0) -> Outcome | None:
        """Take the frame that follows, int16, shape (FRAME_SAMPLES,); return what the capture came to, if it ended.

        Args:
            frame: what was heard.
            missing: how many of its samples were not heard and stand for a hole: nobody knows that they were silence.
            played_until: the stream position up to which the device itself played something in it. What comes before
                is none of the request, unless something was said already.

        Raises:
            CaptureError: no capture is active.
        """
        take = self._running()
        if played_until and take.request(self._earliest(take)) is None:
            self._played_until = played_until
        take.add(frame, missing)
        said = take.request(self._earliest(take))
        if said is None:
            waited = take.end - take.detection.wake_sample
            over = waited >= self._no_speech and (not take.begins() or waited >= self._longest_wait)
            return self._nothing(take) if over else None
        start = self._start_of(take, said)
        if take.end - start >= self._max:
            return self._request(take, said, "max")
        quiet = take.silence_after(said)
        over = quiet >= self._silence and (not take.begins() or quiet >= self._longest_silence)
        return self._request(take, said, "silence") if over else None

    def finish(self, ended_by: EndedBy, tail: Samples) -> Outcome | None:
        """End the capture where the input ends; what was said until then still comes out.

        Args:
            ended_by: ``end-of-input`` or ``shutdown``.
            tail: int16, shape (fewer than FRAME_SAMPLES,), what followed the last whole frame.

        Returns:
            What the capture came to; None if none was active.
        """
        take = self._take
        if take is None:
            return None
        take.add(tail)
        said = take.request(self._earliest(take))
        if said is None:
            return self._nothing(take)
        return self._request(take, Span(said.start, take.end) if take.begins() else said, ended_by)

    def _running(self) -> Take:
        if self._take is None:
            raise CaptureError("no capture is active; begin one first")
        return self._take

    def _nothing(self, take: Take) -> NoSpeech:
        self._take = None
        return NoSpeech(take.opened_by.word, take.opened_by.wake_sample, take.end)

    def _request(self, take: Take, said: Span, ended_by: EndedBy) -> Request:
        self._take = None
        start = self._start_of(take, said)
        end = min(said.end + self._padding, take.end, start + self._max)
        self._kept_until = end
        found = take.opened_by
        heard, fired = take.audio(), found.wake_sample - take.origin
        word = heard[:0] if found.is_press else heard[max(fired - _WAKE_SOUND, 0) : max(fired, 0)]
        return Request(
            wake_word=found.word, score=found.score, wake_sample=found.wake_sample, start_sample=start, end_sample=end,
            speech_sample=said.start, ended_by=ended_by, pcm=heard[start - take.origin : end - take.origin],
            confirmed=found.confirmed, wake_pcm=word,
        )  # fmt: skip

    def _start_of(self, take: Take, said: Span) -> int:
        """Where what is kept begins; the padding reaches a little into the wake word at most."""
        into_word = max(said.start - take.wake_word().end, 0) + _INTO_WORD
        return max(said.start - min(self._padding, into_word), self._earliest(take))

    def _earliest(self, take: Take) -> int:
        """The stream position before which nothing is kept; nothing of before a button was pressed."""
        word_end = min(take.wake_word().end, take.detection.wake_sample)
        pre_roll = 0 if take.detection.is_press else self._pre_roll
        return max(word_end - pre_roll, take.origin, self._kept_until, self._played_until)
