"""Scenes to learn wake words' ends from: every voice that a word's model hears, and anything said at once after it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soxr

from device.core.frames import FRAME_SAMPLES, RATE_HZ, samples_of
from device.edges.wakeword import load_scorer
from device.edges.wakeword.word_end_model import FIRST, LAST, Surroundings
from device.edges.wakeword.word_ends import HEARD_BEFORE, surroundings
from support.cutting import detect
from support.scenes import REQUESTS, Scene, Utterance, render
from support.speech import FLITE_VOICES, Voice, speak, to_samples, to_signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device.core.wake import Detection, WakeScorer

ACCENTS = ("en", "en-us", "en-us-nyc", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029")
VARIANTS = (
    "", "f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "klatt", "klatt2", "klatt3",
    "klatt4", "adam", "Alex", "Alicia", "Andrea", "Andy", "Annie", "antonio", "AnxiousAndy", "aunty", "belinda",
    "benjamin", "boris", "caleb", "david", "Denis", "Diogo", "ed", "edward", "Gene", "Gene2", "grandma", "grandpa",
    "Henrique", "Hugo", "iven", "iven2", "Jacky", "john", "Lee", "linda", "marcelo", "Marco", "Mario", "max", "Michael",
    "michel", "miguel", "Mike", "Nguyen", "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert", "sandro",
    "shelby", "steph", "steph2", "steph3", "Storm", "travis", "victor", "zac", "anika",
)  # fmt: skip
SHORT = (
    "stop", "yes", "off", "no", "pause", "lights", "louder", "next", "cancel", "help", "go", "mute", "up", "five",
    "on", "in", "if", "out", "open", "again", "enough", "a bit more", "is it late", "it hurts", "add milk", "end it",
    "all of it", "ask him", "one", "two", "ten", "what", "who", "where", "when", "why", "which", "how", "hello",
    "her", "half", "first", "four", "six", "three", "thanks", "save", "start", "skip", "so", "sing", "shut up",
    "play", "back", "down", "time", "dim", "turn", "call", "left", "right", "music", "news", "weather", "radio",
    "volume", "wait", "quiet", "repeat",
)  # fmt: skip
# Half of the short texts are of syllables that no language has, so that no sound after the wake word is a new one.
ONSETS = (
    "", "", "", "b", "bl", "br", "d", "dr", "f", "fl", "fr", "g", "gl", "gr", "h", "h", "j", "k", "kl", "kr", "kw",
    "l", "m", "n", "p", "pl", "pr", "r", "s", "sh", "sk", "sl", "sm", "sn", "sp", "st", "str", "sw", "t", "th", "tr",
    "v", "w", "y", "z",
)  # fmt: skip
VOWELS = ("a", "e", "i", "o", "u", "ee", "oo", "ai", "ow", "oy", "ar", "or", "er")
CODAS = (
    "", "", "b", "d", "f", "ft", "g", "k", "ks", "l", "m", "n", "nd", "ng", "p", "s", "sh", "st", "t", "th", "v", "z",
)  # fmt: skip
BARE, SHORTLY = 0.35, 0.8  # so many scenes are bare wake words, and so many of all those or have few words after it
INVENTED, IN_ONE_BREATH = 0.5, 0.35  # of the short texts; of all texts
SPEEDS = (118, 130, 145, 160, 180, 195)  # few, so that the cache of what was said is soon warm
PITCHES = (35, 50, 50, 65)
STRETCHED = 0.6  # of the scenes are resampled, which makes other throats of the same voices
STRETCH = (0.87, 1.15)
ENDING = 0.15  # of the scenes the recording ends soon after what was said
SOON_S = 0.3  # what follows the wake word later than this is no matter of its end
HEARD = (
    0.3  # the score in silence from which on a voice is drawn: of some words openwakeword hears few synthetic voices
)
MOST_SCENES = 800  # in each part


@dataclass(frozen=True, slots=True)
class Example:
    """One detection.

    Attributes:
        heard: what the models look at.
        end: samples from the detection to the word's end.
        followed: whether more was said at once; None: later.
        detection: it.
    """

    heard: Surroundings
    end: float
    followed: bool | None
    detection: Detection


def heard_voices(word: str) -> list[Voice]:
    """Return the voices that the word's model hears, flite's as often as all of espeak-ng's."""
    scorer = _scorer(word)
    names = (f"{accent}+{variant}".rstrip("+") for accent in ACCENTS for variant in VARIANTS)
    espeak = [voice for name in names if _hears(scorer, word, voice := Voice(synthesiser="espeak-ng", name=name))]
    flite = [voice for voice in FLITE_VOICES if _hears(scorer, word, voice)]
    return espeak + flite * max(len(espeak) // max(len(flite), 1), 1)


def _hears(scorer: WakeScorer, word: str, voice: Voice) -> bool:
    silence = np.zeros(RATE_HZ, np.int16)
    heard = np.concatenate([silence, speak(word.replace("_", " "), replace(voice, words_per_minute=145)), silence])
    scorer.reset()
    return bool(scorer.score(heard[len(heard) % FRAME_SAMPLES :].reshape(-1, FRAME_SAMPLES)).max() >= HEARD)


def _scorer(word: str) -> WakeScorer:
    with tempfile.TemporaryDirectory() as folder:
        return load_scorer((word,), engine="streaming", cache_dir=Path(folder))


def hear(word: str, voices: Sequence[Voice], seed: list[int], size: int) -> list[Example]:
    """Render scenes until ``size`` wake words were detected in them, or ``MOST_SCENES`` were tried."""
    rng = np.random.default_rng(seed)
    scorer = _scorer(word)
    examples: list[Example] = []
    for _ in range(MOST_SCENES):
        if len(examples) == size:
            break
        scene = _draw(word, voices, rng)
        if example := _example(word, scene, rng, scorer):
            examples.append(example)
    return examples


def _example(word: str, scene: Scene, rng: np.random.Generator, scorer: WakeScorer) -> Example | None:
    recording = render(scene, "", wake_word=word)
    truth = recording.truth
    request = truth.requests[0] if truth.requests else None
    end = request.wake_end_sample if request else truth.bare_wakes[0].end_sample
    last = request.end_sample if request else end
    samples = recording.samples
    if rng.random() < ENDING:
        samples = samples[: last + int(rng.uniform(0.05, 0.6) * RATE_HZ)]
    stretch = float(rng.uniform(*STRETCH)) if rng.random() < STRETCHED else 1.0
    skipped = int(rng.integers(FRAME_SAMPLES))  # so that words begin anywhere within a frame
    samples = to_samples(soxr.resample(to_signal(samples), RATE_HZ, RATE_HZ * stretch)[skipped:])
    said_end = end * stretch - skipped
    detection = detect(samples, word, round(said_end), scorer)
    if detection is None or not FIRST <= (said_end - detection.wake_sample) / FRAME_SAMPLES <= LAST:
        return None
    heard = surroundings(samples, detection.wake_sample, scorer._stream)
    if heard.before < HEARD_BEFORE:
        return None
    soon = request is not None and request.start_sample - end <= samples_of(SOON_S)
    followed = soon if soon or request is None else None
    return Example(heard, said_end - detection.wake_sample, followed, detection)


def _draw(word: str, voices: Sequence[Voice], rng: np.random.Generator) -> Scene:
    """Draw a scene: bare wake words, few words at once or soon, or any request after any gap."""
    kind = rng.random()
    if kind < BARE:
        text = ""
    elif kind < SHORTLY:
        text = _invent(rng) if rng.random() < INVENTED else str(rng.choice(SHORT))
    else:
        text = str(rng.choice(REQUESTS))
    voice = replace(voices[rng.integers(len(voices))], words_per_minute=int(rng.choice(SPEEDS)))
    if voice.synthesiser == "espeak-ng":  # flite has no such choice
        voice = replace(voice, pitch=int(rng.choice(PITCHES)))
    utterance = Utterance(
        voice=voice,
        wake_word=word,
        text=text,
        gap_s=0.0 if rng.random() < 0.5 else float(rng.uniform(0.0, 0.6)),
        request_gain_db=float(rng.uniform(-5.0, 4.0)),
        in_one_breath=bool(text) and rng.random() < IN_ONE_BREATH,
    )
    return Scene(
        utterances=(utterance,),
        noise=rng.choice(("white", "pink", "brown", "hum", "fan", "babble"), p=(0.15, 0.15, 0.15, 0.15, 0.3, 0.1)),
        snr_db=float(rng.uniform(4.0, 40.0)),
        rt60_s=float(rng.choice((0.0, 0.25, 0.4, 0.6))),
        level_dbfs=float(rng.uniform(-40.0, -18.0)),
        lead_s=2.6,
        tail_s=1.6,
        seed=int(rng.integers(1 << 31)),
    )


def _invent(rng: np.random.Generator) -> str:
    """Return one or two syllables."""
    syllables = ("".join(rng.choice(part) for part in (ONSETS, VOWELS, CODAS)) for _ in range(rng.integers(1, 3)))
    return "".join(syllables)
