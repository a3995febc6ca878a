"""Scenes to learn and judge cutting with: a wake word that its model hears, a request or none, a room with a noise."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from support.rooms import reverberate
from support.sentences import speak_in_one_breath
from support.speech import active_rms, speak, to_signal

from device.hearing.frames import FRAME_SAMPLES, RATE_HZ, VAD_SAMPLES, samples_of
from device.hearing.segment_network import NOTHING, REQUEST, WAKE_WORD
from training.recordings import Said
from training.rooms import at_level

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from support.speech import Signal, Voice

    from device.hearing.frames import Samples
    from device.hearing.wake import Detection
    from training.recordings import People
    from training.rooms import Surroundings
    from training.talkers import Talkers
    from training.words import Word

Rng = np.random.Generator

UNKNOWN = -1  # of these frames nothing is learnt: they may be heard as either
_RMS = 0.1
LATEST_S = 1.1  # a detection later than this after the wake word is one of something else
_QUIET_DB = 30.0  # so far below the loudest 20 ms a request's own pause need not be heard as request


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How scenes are drawn; the defaults are those that are learnt from.

    Attributes:
        bare: so many are bare wake words.
        spoken_before: in so many somebody spoke just before.
        far_voice: in so many somebody else, farther away, speaks after the wake word.
        echo: so many are in a room with an echo.
        snr_db: from and to: the wake word's level over the noise's.
        level_dbfs: from and to.
        request_db: from and to: the request's level over the wake word's.
        recorded: so many requests are of people, where the wake word is of people; of synthetic voices, ``mixed``.
        noises: the kinds of noise; none: all.
        early: so many begin less than a second before the wake word.
        coarse: so many come from a microphone of 8 bits.
        tail_s: from and to: what is heard after the last word.
    """

    bare: float = 0.35
    spoken_before: float = 0.2
    far_voice: float = 0.12
    echo: float = 0.5
    snr_db: tuple[float, float] = (3.0, 40.0)
    level_dbfs: tuple[float, float] = (-52.0, -16.0)
    request_db: tuple[float, float] = (-6.0, 4.0)
    recorded: float = 0.8
    mixed: float = 0.1
    noises: tuple[str, ...] = ()
    early: float = 0.08
    coarse: float = 0.04
    tail_s: tuple[float, float] = (1.2, 3.0)


JUDGED = Habits(
    spoken_before=0.0, far_voice=0.0, echo=1 / 3, snr_db=(10.0, 30.0), level_dbfs=(-36.0, -20.0),
    request_db=(0.0, 0.0), recorded=1.0, mixed=0.0, noises=("steady", "room"), early=0.0, coarse=0.0, tail_s=(3.0, 3.0),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A scene whose wake word was detected; positions in samples.

    Attributes:
        samples: int16, shape (n,).
        detection: the wake word's.
        wake: where the wake word starts and ends.
        request: where the request starts and ends; None: it is a bare wake word.
        spans: (start, end, kind) of what frames are part of, in the order of their making: later ones count.
        people: whether the wake word is a person's.
        talker, said, noise: who says it, what follows, what is around.
        snr_db, rt60_s, gap_s, level_dbfs: how.
    """

    samples: Samples
    detection: Detection
    wake: tuple[int, int]
    request: tuple[int, int] | None
    spans: tuple[tuple[int, int, int], ...]
    people: bool
    talker: str
    said: str
    noise: str
    snr_db: float
    rt60_s: float
    gap_s: float
    level_dbfs: float

    def kinds(self) -> npt.NDArray[np.int8]:
        """Return what each whole frame of 20 ms is part of, as counted from the detection."""
        first = self.detection.wake_sample % VAD_SAMPLES
        kinds = np.full((len(self.samples) - first) // VAD_SAMPLES, NOTHING, np.int8)
        for start, end, kind in self.spans:
            kinds[max(round((start - first) / VAD_SAMPLES), 0) : max(round((end - first) / VAD_SAMPLES), 0)] = kind
        return kinds


@dataclass(slots=True)
class _Script:
    """What is said so far, in samples from the script's start, which may move."""

    parts: list[tuple[int, Signal]] = field(default_factory=list)
    spans: list[tuple[int, int, int]] = field(default_factory=list)
    wake: tuple[int, int] = (0, 0)
    request: tuple[int, int] | None = None
    gap_s: float = 0.0
    said: str = ""

    def moved(self, by: int) -> None:
        """Let everything begin later."""
        self.parts = [(at + by, signal) for at, signal in self.parts]
        self.spans = [(start + by, end + by, kind) for start, end, kind in self.spans]
        self.wake = (self.wake[0] + by, self.wake[1] + by)
        self.request = self.request and (self.request[0] + by, self.request[1] + by)

    def say(self, said: Said, at: int, kind: int) -> int:
        """Say it so that it clearly begins at ``at``; return where it clearly ends."""
        end = at + said.end - said.start
        self.parts.append((at - said.start, said.signal))
        self.spans.append((at - said.start + said.faint_start, at, UNKNOWN))
        self.spans.append((end, at - said.start + said.faint_end, UNKNOWN))
        self.spans.append((at, end, kind))
        if kind == REQUEST:
            self._pauses(said.signal[said.start : said.end], at)
        return end

    def _pauses(self, speech: Signal, at: int) -> None:
        frames = speech[: len(speech) // VAD_SAMPLES * VAD_SAMPLES].reshape(-1, VAD_SAMPLES)
        levels = np.sqrt(np.mean(frames**2, axis=1))
        quiet = np.flatnonzero(levels < levels.max(initial=0.0) * 10.0 ** (-_QUIET_DB / 20.0))
        for frame in quiet[(quiet > 1) & (quiet < len(frames) - 2)]:
            self.spans.append((at + frame * VAD_SAMPLES, at + (frame + 1) * VAD_SAMPLES, UNKNOWN))


class Director:
    """Draws scenes.

    Args:
        habits: how.
        talkers: synthetic voices and what they say.
        surroundings: rooms and noises.
        people: recordings of people; None: all voices are synthetic.
    """

    def __init__(
        self, habits: Habits, talkers: Talkers, surroundings: Surroundings, people: People | None = None
    ) -> None:
        self._habits = habits
        self._talkers = talkers
        self._surroundings = surroundings
        self._people = people

    def draw(self, word: Word, rng: Rng, *, people: bool) -> Heard | None:
        """Return a scene, or None if the word's model does not hear it (or a synthesiser cannot say it).

        Args:
            word: the wake word.
            rng: draws everything.
            people: whether a person says the wake word.
        """
        habits = self._habits
        voice = self._talkers.voice(rng)
        script = _Script()
        try:
            talker = self._wake_word(script, word, voice, rng, people=people)
            if script.request is None and rng.random() >= habits.bare:
                self._request(script, voice, rng, people=people)
        except ValueError:
            return None  # nothing audible came out
        self._start(script, rng)
        samples, noise, snr_db, rt60_s, level_dbfs, skipped = self._render(script, rng)
        wake = (script.wake[0] - skipped, script.wake[1] - skipped)
        detection = word.detect(samples, wake[0], wake[1] + samples_of(LATEST_S))
        if detection is None or detection.wake_sample > len(samples) - VAD_SAMPLES:
            return None
        return Heard(
            samples=samples, detection=detection, wake=wake,
            request=script.request and (script.request[0] - skipped, script.request[1] - skipped),
            spans=tuple((start - skipped, end - skipped, kind) for start, end, kind in script.spans),
            people=people, talker=talker, said=script.said, noise=noise, snr_db=snr_db, rt60_s=rt60_s,
            gap_s=script.gap_s, level_dbfs=level_dbfs,
        )  # fmt: skip

    def _wake_word(self, script: _Script, word: Word, voice: Voice, rng: Rng, *, people: bool) -> str:
        """Say the wake word, and in some scenes of synthetic voices the request in the same breath."""
        if people and self._people is not None:
            entries = self._people.words(word.name)
            said = self._people.say(entries[rng.integers(len(entries))])
            name = said.name
        elif rng.random() < (1.0 - self._habits.bare) * 0.3:
            return self._one_breath(script, word, voice, rng)
        else:
            said, name = _spoken(word.phrase, voice), str(voice)
        script.wake = (0, script.say(_at_level(said, _RMS), 0, WAKE_WORD))
        return name

    def _one_breath(self, script: _Script, word: Word, voice: Voice, rng: Rng) -> str:
        script.said = self._talkers.text(rng).replace("|", "")
        signal, boundary = speak_in_one_breath(word.phrase, script.said, voice)
        signal = at_level(signal, _RMS)
        script.parts.append((0, signal))
        script.wake, script.request = (0, boundary), (boundary, len(signal))
        script.spans += [(0, boundary, WAKE_WORD), (boundary, len(signal), REQUEST)]
        return str(voice)

    def _request(self, script: _Script, voice: Voice, rng: Rng, *, people: bool) -> None:
        phrases = self._phrases(script, voice, rng, people=people)
        script.gap_s = _gap(rng)
        level = _RMS * 10.0 ** (rng.uniform(*self._habits.request_db) / 20.0)
        start = at = script.wake[1] + samples_of(script.gap_s)
        wake_spans = [span for span in script.spans if span[2] == WAKE_WORD]
        for number, said in enumerate(phrases):
            at += samples_of(float(rng.uniform(0.25, 0.6))) if number else 0
            at = script.say(_at_level(said, level), at, REQUEST)
        script.spans += wake_spans  # what is faint before the request is still the wake word
        script.request = (start, at)

    def _phrases(self, script: _Script, voice: Voice, rng: Rng, *, people: bool) -> list[Said]:
        recorded = self._habits.recorded if people else self._habits.mixed
        if self._people is not None and rng.random() < recorded:
            short = rng.random() < 0.25 and self._habits.recorded < 1.0
            entries = self._people.others() if short else self._people.requests()
            said = self._people.say(entries[rng.integers(len(entries))])
            script.said = said.name
            return [said]
        script.said = self._talkers.text(rng)
        voice = self._talkers.voice(rng) if people else voice
        return [_spoken(phrase.strip(), voice) for phrase in script.said.split("|")]

    def _start(self, script: _Script, rng: Rng) -> None:
        """Put something before the wake word: a room, and now and then somebody who spoke just before."""
        early = rng.random() < self._habits.early
        lead = samples_of(float(rng.uniform(0.1, 1.0) if early else rng.uniform(1.6, 3.5)))
        script.moved(lead)
        if rng.random() < self._habits.spoken_before:
            said = _spoken(self._talkers.text(rng).replace("|", ""), self._talkers.voice(rng))
            end = script.wake[0] - samples_of(float(rng.uniform(0.05, 1.2)))
            script.parts.append((end - len(said.signal), at_level(said.signal, _RMS * _gain(rng, -8.0, 3.0))))

    def _render(self, script: _Script, rng: Rng) -> tuple[Samples, str, float, float, float, int]:
        habits = self._habits
        last = max(end for _, end, kind in script.spans if kind in (WAKE_WORD, REQUEST))
        length = last + samples_of(float(rng.uniform(*habits.tail_s)))
        dry = np.zeros(length)
        for at, signal in script.parts:
            _add(dry, signal, at)
        wet, rt60_s = self._surroundings.echo(dry, rng) if rng.random() < habits.echo else (dry, 0.0)
        if rt60_s:
            self._echoes(script, rt60_s)
        wet = wet * (_RMS / active_rms(wet))
        if rng.random() < habits.far_voice:
            wet = wet + self._far_voice(last, length, rng)
        kind = str(rng.choice(habits.noises)) if habits.noises else ""
        name, around = self._surroundings.around(length, rng, kind)
        snr_db = float(rng.uniform(*habits.snr_db))
        level_dbfs = float(rng.uniform(*habits.level_dbfs))
        heard = (wet + around * _RMS * 10.0 ** (-snr_db / 20.0)) * (10.0 ** (level_dbfs / 20.0) / _RMS)
        step = 256 if rng.random() < habits.coarse and level_dbfs > -32.0 else 1
        skipped = int(rng.integers(FRAME_SAMPLES))  # so that words begin anywhere within a frame
        rounded = np.rint(heard[skipped:] * 32768.0 / step) * step
        return np.clip(rounded, -32768, 32767).astype(np.int16), name, snr_db, rt60_s, level_dbfs, skipped

    def _echoes(self, script: _Script, rt60_s: float) -> None:
        """What still sounds in the room after the last word of either is neither speech nor silence."""
        kept = [span for span in script.spans if span[2] in (WAKE_WORD, REQUEST)]
        for end in (script.wake[1], *([script.request[1]] if script.request else [])):
            script.spans.append((end, end + samples_of(0.35 * rt60_s), UNKNOWN))
        script.spans += [(start, end, kind) for start, end, kind in kept if kind != WAKE_WORD or not script.request]

    def _far_voice(self, last: int, length: int, rng: Rng) -> Signal:
        said = _spoken(self._talkers.text(rng).replace("|", ""), self._talkers.voice(rng))
        at = last + samples_of(float(rng.uniform(0.1, 0.9))) if rng.random() < 0.7 else int(rng.integers(length))
        far = np.zeros(length)
        _add(far, at_level(said.signal, _RMS * _gain(rng, -24.0, -11.0)), at)
        return reverberate(far, 0.6, int(rng.integers(1 << 20)))[:length]


def _gap(rng: Rng) -> float:
    """Draw the silence between wake word and request in seconds: none in one of four."""
    kind = rng.random()
    if kind < 0.25:
        return 0.0
    return float(
        rng.uniform(0.0, 0.4) if kind < 0.5 else rng.uniform(0.2, 1.2) if kind < 0.85 else rng.uniform(1.0, 3.0)
    )


def _gain(rng: Rng, from_db: float, to_db: float) -> float:
    return float(10.0 ** (rng.uniform(from_db, to_db) / 20.0))


def _spoken(text: str, voice: Voice) -> Said:
    signal = to_signal(speak(text, voice))
    return Said(signal, 0, len(signal), 0, len(signal), text)


def _at_level(said: Said, rms: float) -> Said:
    return replace(said, signal=said.signal * (rms / active_rms(said.signal[said.start : said.end])))


def _add(made: Signal, signal: Signal, at: int) -> None:
    start, end = max(at, 0), min(at + len(signal), len(made))
    if start < end:
        made[start:end] += signal[start - at : end - at]


def heard(director: Director, words: Sequence[Word], size: int, rng: Rng, *, people: bool) -> list[Heard]:
    """Draw scenes until ``size`` were heard, or 12 times as many were drawn."""
    found: list[Heard] = []
    for _ in range(12 * size):
        if len(found) == size:
            break
        if scene := director.draw(words[rng.integers(len(words))], rng, people=people):
            found.append(scene)
    return found


__all__ = ["JUDGED", "RATE_HZ", "UNKNOWN", "Director", "Habits", "Heard", "heard"]
