"""A wake word said a few times: what was heard of each time, by the pipeline that `run` would use."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from msgspec import Struct

from device.hearing.capture import NoSpeech
from device.hearing.frames import FRAME_SAMPLES, RATE_HZ, VAD_SAMPLES, Rechunker
from device.hearing.pipeline import Heard
from device.hearing.request import Request
from device.hearing.sound import SILENT_DBFS, Sound, level_dbfs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from device.hearing.frames import Samples
    from device.hearing.gate import SpeechClassifier
    from device.hearing.pipeline import Finding, Pipeline

FRAME_S = FRAME_SAMPLES / RATE_HZ
ROOM_FRAMES = 50  # 4 s: the room's level is the one that one frame in ten of these stays below
STANDS_OUT_DB = 6.0  # above the room's level a voice does, as steady noise that webrtcvad takes for speech does not
BEGINS = 2, 4  # so many frames of speech out of so many begin a word
WORD_S = 2.0  # no wake word takes longer to say
FADING_S = 0.3  # so long a word still sounds after its last frame of speech
LATE_S = 1.5  # no score follows its word later
SHORTEST_S = 0.16  # speech that is shorter is a click
LONGEST_S = 4.0  # talk that lasts longer without being heard is no wake word
NEAR_MISS = 0.5  # of the threshold: such a score shows the word where no voice was made out
LONGEST_CAPTURE_S = 400.0  # [capture] no_speech_s and max_s end every one before

AfterWord = Literal["silence", "request", "interrupted", "not heard"]


class Attempt(Struct, frozen=True, kw_only=True):
    """One time the word was said.

    Attributes:
        source: the recording's name, or ``microphone``.
        start_s: when in it.
        level_dbfs: its loudest 80 ms.
        room_dbfs: the level of the room before it.
        clips: whether it is cut off at full scale.
        score: its highest score.
        held: the highest score that as many consecutive frames reached as ``patience`` asks for.
        heard: whether it set off the recorder.
        outcome: what became of it: ``silence`` if nothing was taken for said after it, as should be; ``request`` if
            something was; ``interrupted`` if that was not waited for.
        request_s: how long the request is that it led to; None: none.
    """

    source: str
    start_s: float
    level_dbfs: float
    room_dbfs: float
    clips: bool
    score: float
    held: float
    heard: bool
    outcome: AfterWord
    request_s: float | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """How it stands after a frame of 80 ms.

    Attributes:
        level_dbfs: the frame's level.
        score: the newest score.
        since_heard_s: how long ago the word was heard whose outcome is waited for; None: none is.
    """

    level_dbfs: float
    score: float
    since_heard_s: float | None


@dataclass(slots=True)
class _Said:
    """What may be the word, as far as it was heard yet."""

    start_s: float
    room_dbfs: float
    spoken_until_s: float
    spoken_s: float = 0.0
    levels: deque[float] = field(default_factory=lambda: deque(maxlen=round(WORD_S / FRAME_S)))
    sound: Sound = field(default_factory=Sound)
    scores: list[float] = field(default_factory=list)
    heard_at_s: float | None = None


class _Stream:
    """What was heard of one stream so far.

    Args:
        source: its name.
        began_s: the pipeline's position at its beginning.
    """

    def __init__(self, source: str, began_s: float) -> None:
        self.source = source
        self.chunks = Rechunker()
        self.levels: deque[float] = deque(maxlen=ROOM_FRAMES)
        self.speech: deque[bool] = deque(maxlen=BEGINS[1])
        self.began_s = began_s  # where the last speech did
        self.said: _Said | None = None
        self.late_until_s = 0.0  # till then scores may still be those of the word before
        self.score = 0.0
        self.missed: list[float] = []  # scores of what filled a hole, to be taken with the next frame's

    def room(self) -> float:
        """Return the level of the room."""
        return float(np.quantile(self.levels, 0.1)) if self.levels else SILENT_DBFS


class Trial:
    """Finds each time the word is said in a stream, and what the pipeline makes of it.

    Args:
        pipeline: for the one word; without a gate, so that every frame is scored: a gate changes no score.
        classifier: says what is speech.
        threshold: the word's.
        patience: as in the configuration.

    Attributes:
        attempts: each time it was said, once it is known what became of it.
        other_score: the highest score where the word was not said.
        remark: what is wrong with the input; empty if nothing is.
    """

    def __init__(self, pipeline: Pipeline, classifier: SpeechClassifier, *, threshold: float, patience: int) -> None:
        self._pipeline = pipeline
        self._classifier = classifier
        self._near = NEAR_MISS * threshold
        self._patience = patience
        self._stream = _Stream("microphone", self._now_s)
        self.attempts: list[Attempt] = []
        self.other_score = 0.0
        self.remark = ""

    def push(self, block: Samples) -> Iterator[Moment]:
        """Take the next samples, int16, shape (n,); yield how it stands after each whole frame."""
        for frame in self._stream.chunks.push(block):
            yield self._hear(frame)

    def hole(self, samples: int) -> None:
        """So many samples of the microphone are missing here."""
        self._follow(self._pipeline.hole(samples))
        self._stream.missed += self._pipeline.scores[:, 0].tolist()

    def gap(self) -> None:
        """The microphone's stream begins anew."""
        self._follow(self._pipeline.gap())
        self._stream = _Stream(self._stream.source, self._now_s)

    def recording(self, source: str, blocks: Iterable[Samples]) -> list[Attempt]:
        """Hear a whole recording, and silence after it until the last word's outcome is known.

        Args:
            source: its name.
            blocks: of int16, shape (n,).

        Returns:
            The times the word was said; where nobody was heard in it, all of it counts as one.
        """
        self._stream = _Stream(source, self._now_s)
        before, other, self.other_score = len(self.attempts), self.other_score, 0.0
        whole = _Said(0.0, SILENT_DBFS, 0.0)
        for block in blocks:
            if len(block):
                whole.sound.add(block)
            whole.levels.extend(moment.level_dbfs for moment in self.push(block))
        silent_s = 0.0
        while silent_s < LATE_S or (self._stream.said and silent_s < LONGEST_CAPTURE_S):
            self._hear(np.zeros(FRAME_SAMPLES, np.int16))
            silent_s += FRAME_S
        self._follow(self._pipeline.finish("end-of-input"))
        if len(self.attempts) == before:
            whole.scores, self.other_score = [self.other_score], 0.0
            self._note(whole, "not heard")
        self.other_score = max(other, self.other_score)
        return self.attempts[before:]

    def not_the_word(self, source: str, blocks: Iterable[Samples]) -> None:
        """Hear a recording of what only sounds like the word: its score is one of others, however it is heard."""
        before = len(self.attempts)
        self.recording(source, blocks)
        self.other_score = max([self.other_score, *(attempt.held for attempt in self.attempts[before:])])
        del self.attempts[before:]

    def break_off(self) -> None:
        """Nobody waits any longer: what was heard and has no outcome yet gets none."""
        if self._stream.said and self._stream.said.heard_at_s is not None:
            self._end("interrupted")

    def _hear(self, frame: Samples) -> Moment:
        self._follow(self._pipeline.push(frame))
        stream = self._stream
        scores = [*stream.missed, *self._pipeline.scores[:, 0].tolist()]
        stream.missed = []
        stream.score = scores[-1] if scores else stream.score
        level = max(level_dbfs(frame), SILENT_DBFS)
        stream.levels.append(level)
        voiced = [self._classifier.is_speech(part) for part in frame.reshape(-1, VAD_SAMPLES)]  # it hears every part
        if not any(stream.speech):
            stream.began_s = self._now_s - FRAME_S
        stream.speech.append(sum(voiced) >= len(voiced) // 2 and level >= stream.room() + STANDS_OUT_DB)
        others = [] if self._now_s < stream.late_until_s else scores
        if stream.said is None and (sum(stream.speech) >= BEGINS[0] or max(others, default=0.0) >= self._near):
            self._open()
        if stream.said is None:
            self.other_score = max([self.other_score, *others])
        else:
            self._add(stream.said, frame, level, scores)
            self._give_up(stream.said)
        heard_at = stream.said.heard_at_s if stream.said else None
        return Moment(level, stream.score, None if heard_at is None else self._now_s - heard_at)

    @property
    def _now_s(self) -> float:
        return self._pipeline.position / RATE_HZ

    def _follow(self, events: Iterable[Finding]) -> None:
        """Take what the pipeline says."""
        for event in events:
            match event:
                case Heard():
                    self._heard(event.wake_sample / RATE_HZ)
                case NoSpeech():
                    self._end("silence")
                case Request():
                    self._end("request", round(len(event.pcm) / RATE_HZ, 2))

    def _heard(self, at_s: float) -> None:
        said = self._stream.said
        if said and said.heard_at_s is not None:
            if at_s - said.heard_at_s <= LATE_S:
                return  # the same word's late scores
            self._end("interrupted")
        said = self._stream.said or self._open()
        said.heard_at_s = at_s
        self._stream.late_until_s = at_s + LATE_S
        said.start_s = max(said.start_s, at_s - WORD_S)

    def _open(self) -> _Said:
        stream = self._stream
        stream.said = said = _Said(stream.began_s, stream.room(), self._now_s)
        said.levels.extend(list(stream.levels)[-BEGINS[1] :])
        return said

    def _add(self, said: _Said, frame: Samples, level: float, scores: list[float]) -> None:
        said.scores += scores
        if self._stream.speech[-1]:
            said.spoken_s += FRAME_S
            said.spoken_until_s = self._now_s
        until_s = said.spoken_until_s if said.heard_at_s is None else said.heard_at_s
        if self._now_s - until_s < FADING_S:
            said.levels.append(level)
            said.sound.add(frame)

    def _give_up(self, said: _Said) -> None:
        """End what was not heard: it is quiet for so long that no score will follow, or it is no word."""
        if said.heard_at_s is not None:
            return
        over = self._now_s - said.spoken_until_s >= LATE_S
        if over and (said.spoken_s >= SHORTEST_S or max(said.scores, default=0.0) >= self._near):
            self._end("not heard")
        elif over or self._now_s - said.start_s > LONGEST_S + LATE_S:
            self.other_score = max([self.other_score, *said.scores])
            self._stream.said = None

    def _end(self, outcome: AfterWord, request_s: float | None = None) -> None:
        if self._stream.said:
            self._note(self._stream.said, outcome, request_s)
        self._stream.said = None

    def _note(self, said: _Said, outcome: AfterWord, request_s: float | None = None) -> None:
        self.attempts.append(
            Attempt(
                source=self._stream.source,
                start_s=round(said.start_s, 2),
                level_dbfs=round(max(said.levels, default=SILENT_DBFS), 1),
                room_dbfs=round(said.room_dbfs, 1),
                clips=said.sound.clips(),
                score=round(max(said.scores, default=0.0), 4),
                held=round(held(said.scores, self._patience), 4),
                heard=outcome != "not heard",
                outcome=outcome,
                request_s=request_s,
            )
        )


def held(scores: Sequence[float], frames: int) -> float:
    """Return the highest score that so many consecutive ones reach."""
    return max((min(scores[first : first + frames]) for first in range(len(scores) - frames + 1)), default=0.0)
