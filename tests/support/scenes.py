"""Scenes: a wake word and a request, said by a voice in a room with a noise; and seeded corpora of them."""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from device.hearing.frames import samples_of
from device.hearing.words import BUNDLED_WORDS
from device.hil.recordings import BareWake, Recording, RequestTruth, Sidecar
from support.rooms import NOISE_KINDS, NoiseKind, noise, reverberate
from support.sentences import speak_in_one_breath
from support.speech import ESPEAK_VOICES, FLITE_VOICES, Signal, Voice, active_rms, speak, to_samples, to_signal

if TYPE_CHECKING:
    from collections.abc import Iterator

_ACTIVE_RMS = 0.1
WORDS = {"hey_jarvis": ESPEAK_VOICES + FLITE_VOICES, "alexa": FLITE_VOICES}  # the voices that set each word's model off

REQUESTS = (
    "stop", "yes", "off", "louder please", "what time is it", "how are you", "shut the door", "find my phone",
    "set a timer for five minutes", "turn off the lights", "play some music in the kitchen", "what is this",
    "how far is the moon", "show me the news", "who wrote this book", "hang up", "five past six", "cancel the alarm",
    "is it going to rain this afternoon", "remind me to call the dentist at half past eight tomorrow",
    "read me the first three lines of the letter that came this morning",
    "add bread, milk and a box of matches to the shopping list", "is the front door shut", "turn up the heat",
    "volume six", "what is the weather like in Paris", "sing something", "for how long do I cook the eggs",
)  # fmt: skip
PAUSED_REQUESTS = (
    "turn on the lights | in the kitchen", "set a timer | for fifteen minutes", "what is | the weather like",
    "remind me | to feed the fish | at half past six", "find a recipe | with eggs and spinach",
    "how much is | forty times seven", "call | the dentist's office", "shuffle | songs from the sixties",
    "add | three apples | and some rice | to the list", "wake me up | at six | tomorrow",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """A wake word and the request after it; without text a bare wake word, without wake word mere speech.

    Attributes:
        voice: who says it.
        wake_word: a model's name, or the words themselves.
        text: the request; ``|`` stands where the talker pauses.
        gap_s: the silence between wake word and request.
        pause_s: the silence at each ``|``.
        request_gain_db: how much louder the request is said than the wake word.
        in_one_breath: wake word and request are one synthesis, so that they run into each other; gap, pauses and gain
            do not count then.
    """

    voice: Voice
    wake_word: str = ""
    text: str = ""
    gap_s: float = 0.3
    pause_s: float = 0.4
    request_gain_db: float = 0.0
    in_one_breath: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is to be heard; `render` makes it audible.

    Attributes:
        utterances: what is said, in order; none: the noise alone, as loud as it would be beside speech.
        noise: its kind.
        snr_db: the active level of the last thing said, as it arrives in the room, over the noise's level.
        rt60_s: the room's reverberation time; 0: none.
        level_dbfs: the root mean square of the active speech, 0 being that of a full-scale square wave.
        lead_s: before the first word.
        between_s: between two utterances.
        tail_s: after the last word.
        seed: of noise and room.
    """

    utterances: tuple[Utterance, ...]
    noise: NoiseKind = "pink"
    snr_db: float = 50.0
    rt60_s: float = 0.0
    level_dbfs: float = -26.0
    lead_s: float = 2.0
    between_s: float = 3.0
    tail_s: float = 2.5
    seed: int = 0


def render(scene: Scene, name: str, *, wake_word: str = "hey_jarvis", about: str = "") -> Recording:
    """Return the scene's sound with its truth in samples.

    Args:
        scene: what is to be heard.
        name: the recording's.
        wake_word: the word listened for.
        about: what the recording shows.
    """
    script = _Script(wake_word)
    script.silence(scene.lead_s)
    for number, utterance in enumerate(scene.utterances):
        if number:
            script.silence(scene.between_s)
        script.say(utterance)
    length = script.position + samples_of(scene.tail_s)

    wet = reverberate(np.concatenate(script.parts), scene.rt60_s, scene.seed)[:length]
    wet = np.pad(wet, (0, length - len(wet)))
    rng = np.random.default_rng([scene.seed, zlib.crc32(scene.noise.encode())])
    spoken, last = (active_rms(wet), active_rms(wet[script.last_start :])) if scene.utterances else (1.0, 1.0)
    around = noise(scene.noise, length, rng) * last * 10.0 ** (-scene.snr_db / 20.0)
    gain = 10.0 ** (scene.level_dbfs / 20.0) / spoken
    made_with = asdict(scene) | {"utterances": [asdict(said) | {"voice": str(said.voice)} for said in scene.utterances]}
    truth = Sidecar(
        wake_word=wake_word,
        requests=tuple(script.requests),
        bare_wakes=tuple(script.bare_wakes),
        about=about,
        made_with=made_with,
    )
    return Recording(name, to_samples((wet + around) * gain), truth)


class _Script:
    """The dry speech so far, and the truth about it."""

    def __init__(self, wake_word: str) -> None:
        self._wake_word = wake_word
        self.parts: list[Signal] = []
        self.position = 0
        self.last_start = 0
        self.requests: list[RequestTruth] = []
        self.bare_wakes: list[BareWake] = []

    def silence(self, seconds: float) -> None:
        self._add(np.zeros(samples_of(seconds)))

    def say(self, utterance: Utterance) -> None:
        if utterance.in_one_breath:
            self._say_in_one_breath(utterance)
            return
        start = self.last_start = self.position
        if utterance.wake_word:
            self._speak(utterance.wake_word.replace("_", " "), utterance.voice, 0.0)
        wake_end = self.position
        other = utterance.wake_word if utterance.wake_word != self._wake_word else None
        known = utterance.wake_word in BUNDLED_WORDS
        if not utterance.text:
            if known:
                self.bare_wakes.append(BareWake(start_sample=start, end_sample=wake_end, wake_word=other))
            return

        if utterance.wake_word:
            self.silence(utterance.gap_s)
        request_start = self.last_start = self.position
        pauses: list[tuple[int, int]] = []
        for number, phrase in enumerate(utterance.text.split("|")):
            if number:
                pause_start = self.position
                self.silence(utterance.pause_s)
                pauses.append((pause_start, self.position))
            self._speak(phrase.strip(), utterance.voice, utterance.request_gain_db)
        if known:
            truth = RequestTruth(
                wake_end_sample=wake_end,
                start_sample=request_start,
                end_sample=self.position,
                wake_start_sample=start,
                wake_word=other,
                text=utterance.text,
                pauses=tuple(pauses),
            )
            self.requests.append(truth)

    def _say_in_one_breath(self, utterance: Utterance) -> None:
        start = self.last_start = self.position
        word, text = utterance.wake_word.replace("_", " "), utterance.text.replace("|", "")
        said, boundary = speak_in_one_breath(word, text, utterance.voice)
        self._add(said * (_ACTIVE_RMS / active_rms(said)))
        truth = RequestTruth(
            wake_end_sample=start + boundary,
            start_sample=start + boundary,
            end_sample=self.position,
            wake_start_sample=start,
            wake_word=utterance.wake_word if utterance.wake_word != self._wake_word else None,
            text=utterance.text,
        )
        self.requests.append(truth)

    def _speak(self, text: str, voice: Voice, gain_db: float) -> None:
        """Add speech at one active level, whatever the synthesiser's was."""
        said = to_signal(speak(text, voice))
        self._add(said * (_ACTIVE_RMS * 10.0 ** (gain_db / 20.0) / active_rms(said)))

    def _add(self, part: Signal) -> None:
        self.parts.append(part)
        self.position += len(part)


def sample_scenes(
    size: int,
    seed: int,
    *,
    noises: tuple[NoiseKind, ...] = NOISE_KINDS,
    snrs_db: tuple[float, ...] = (5.0, 10.0, 15.0, 20.0, 30.0),
    rooms_s: tuple[float, ...] = (0.0, 0.25, 0.4),
) -> Iterator[tuple[str, str, Scene]]:
    """Yield ``size`` scenes as (name, wake word, scene): each noise at each level equally often, all else drawn.

    Gaps are 0 (one in four) to 1 s, pauses 0.3 to 0.6 s in every third request, levels -40 to -18 dBFS. The same size,
    seed and options give the same scenes.
    """
    rng = np.random.default_rng(seed)
    cells = [(kind, snr_db) for snr_db in snrs_db for kind in noises]
    for number in range(size):
        kind, snr_db = cells[number % len(cells)]
        wake_word = str(rng.choice(list(WORDS)))
        utterance = _draw_utterance(wake_word, rng)
        scene = Scene(
            utterances=(utterance,),
            noise=kind,
            snr_db=snr_db,
            rt60_s=float(rng.choice(rooms_s)),
            level_dbfs=round(float(rng.uniform(-40.0, -18.0)), 1),
            lead_s=round(float(rng.uniform(1.5, 3.0)), 3),
            tail_s=2.5,
            seed=int(rng.integers(1 << 31)),
        )
        yield f"{number:04d}-{wake_word}-{kind}-{snr_db:g}dB", wake_word, scene


def _draw_utterance(wake_word: str, rng: np.random.Generator) -> Utterance:
    voices = WORDS[wake_word]
    # Few speeds, so that the cache of what was said is soon warm.
    voice = replace(voices[rng.integers(len(voices))], words_per_minute=int(rng.choice((150, 165, 180))))
    texts = PAUSED_REQUESTS if rng.random() < 1 / 3 else REQUESTS
    return Utterance(
        voice=voice,
        wake_word=wake_word,
        text=texts[rng.integers(len(texts))],
        gap_s=0.0 if rng.random() < 0.25 else round(float(rng.uniform(0.0, 1.0)), 3),
        pause_s=round(float(rng.uniform(0.3, 0.6)), 3),
        request_gain_db=round(float(rng.uniform(-3.0, 3.0)), 1),
    )
