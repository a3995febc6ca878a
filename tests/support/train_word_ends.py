"""``scripts/train-word-ends``: learn how each bundled wake word ends, from openwakeword's embeddings of scenes."""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import soxr

from device.core.frames import FRAME_SAMPLES, RATE_HZ, samples_of
from device.edges.wakeword import BUNDLED_WORDS, load_scorer
from device.edges.wakeword.word_ends import (
    FIRST,
    HEARD_AFTER,
    HEARD_BEFORE,
    LAST,
    WEIGHTS,
    Weights,
    candidates,
    features_around,
    following,
)
from support.cutting import detect
from support.scenes import REQUESTS, Scene, Utterance, render
from support.speech import FLITE_VOICES, Voice, missing_synthesisers, speak, to_samples, to_signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device.core.wake import Detection, WakeScorer

Matrix = npt.NDArray[np.float64]
Row = npt.NDArray[np.float32]

ACCENTS = ("en", "en-us", "en-us-nyc", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029")
VARIANTS = (
    "", "f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "klatt", "klatt2", "klatt4",
    "adam", "Alicia", "Andrea", "Annie", "belinda", "benjamin", "Denis", "ed", "Gene", "Hugo", "iven", "Jacky", "linda",
    "marcelo", "max", "Michael", "pablo", "quincy", "robert", "shelby", "Storm", "travis", "anika",
)  # fmt: skip
SHORT = (
    "stop", "yes", "off", "no", "pause", "lights", "louder", "next", "cancel", "help", "go", "mute", "up", "five",
    "on", "in", "if", "out", "open", "again", "enough", "a bit more", "is it late", "it hurts", "add milk", "end it",
    "all of it", "ask him", "one", "two", "ten", "what", "who", "where", "when", "why", "which", "how", "hello",
    "her", "half", "first", "four", "six", "three", "thanks", "save", "start", "skip", "so", "sing", "shut up",
    "play", "back", "down", "time", "dim", "turn", "call", "left", "right", "music", "news", "weather", "radio",
    "volume", "wait", "quiet", "repeat",
)  # fmt: skip
BARE, SHORTLY = 0.3, 0.75  # so many scenes are bare wake words, and so many of all those or have few words after it
SPEEDS = (118, 130, 145, 160, 180)  # few, so that the cache of what was said is soon warm
STRETCHED = 0.6  # of the scenes are resampled, which makes other throats of the same voices
STRETCH = (0.87, 1.15)
ENDING = 0.15  # of the scenes the recording ends soon after what was said
SOON_S = 0.3  # what follows the wake word later than this is no matter of its end
RIDGE, PRIOR = 2000.0, 3000.0  # strong: of what tells where a word ends, little is a matter of one voice
FOLLOWED_PRIOR = 100.0
BREATHS, IN_ONE_BREATH = 4, 1  # twentieths of as many detections more, and what makes their seeds others
JITTER_S = (-0.06, 0.0, 0.06)  # the end will not be told exactly
NEAR, FAR = 0.75, 1.5  # frames: the word ends at the frames as near as this, and not at those farther than this
ROUNDS = 12  # of the logistic regression; it has converged in eight
HEARD = (
    0.3  # the score in silence from which on a voice is drawn: of some words openwakeword hears few synthetic voices
)
MOST_SCENES = 4  # for each detection


@dataclass(frozen=True, slots=True)
class Example:
    """One detection.

    Attributes:
        features: float32, shape (HEARD_BEFORE + HEARD_AFTER, FEATURES).
        end: samples from the detection to the word's end.
        followed: whether more was said at once; None: later.
        detection: it.
    """

    features: npt.NDArray[np.float32]
    end: float
    followed: bool | None
    detection: Detection


def main() -> int:
    """Train on drawn scenes, print how well others are told, write the weights; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/train-word-ends", description=__doc__)
    parser.add_argument("--size", type=int, default=2400, help="detections to learn each word from (default: 2400)")
    parser.add_argument("--seed", type=int, default=1, help="of the scenes (default: 1)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help=f"default: {WEIGHTS}")
    options = parser.parse_args()
    if missing := missing_synthesisers():
        print(f"train-word-ends: not installed: {', '.join(missing)}; apt-get install them", file=sys.stderr)
        return 1
    rows = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for number, word in enumerate(BUNDLED_WORDS):
            voices = heard_voices(word)
            chunks = [(word, voices, [options.seed, number, chunk], options.size // 20) for chunk in range(20)]
            parts = list(pool.map(hear, *zip(*chunks, strict=True)))
            breaths = [(*chunk[:2], [*chunk[2], IN_ONE_BREATH], chunk[3], True) for chunk in chunks[:BREATHS]]
            breath_parts = pool.map(hear, *zip(*breaths, strict=True))
            held_out = [example for part in parts[:2] for example in part]
            learnt_from = [example for part in parts[2:] for example in part]
            rows.append(train(learnt_from, [example for part in breath_parts for example in part]))
            _tell(word, rows[-1], held_out)
    np.save(options.out, np.array(rows))
    return 0


def train(examples: Sequence[Example], in_one_breath: Sequence[Example]) -> Row:
    """Return the weights of one word, float32, shape (Weights.SIZE,).

    Args:
        examples: those whose word's end is known; all three models learn from them.
        in_one_breath: those whose word's end is known roughly; only what tells whether more was said learns from them.
    """
    windows, offsets = [], []
    for example in examples:
        found, first = candidates(example.features, HEARD_BEFORE)
        windows.append(found)
        offsets.append(example.end - (first + np.arange(len(found))) * FRAME_SAMPLES)
    inputs, off = np.concatenate(windows).astype(np.float64), np.concatenate(offsets)
    far = np.abs(off) / FRAME_SAMPLES
    clear = (far < NEAR) | (far > FAR)
    place = logistic(inputs[clear], far[clear] < NEAR, PRIOR)
    offset = ridge(inputs[far < 2 * FAR - NEAR], off[far < 2 * FAR - NEAR], RIDGE)

    after, more = [], []
    for example in (*examples, *in_one_breath):
        for jitter_s in JITTER_S:
            frame = round((example.end + samples_of(jitter_s)) / FRAME_SAMPLES)
            if example.followed is not None and FIRST <= frame <= LAST:
                after.append(following(example.features, HEARD_BEFORE + frame))
                more.append(example.followed)
    followed = logistic(np.array(after, np.float64), np.array(more), FOLLOWED_PRIOR)
    return np.concatenate([place, offset, followed]).astype(np.float32)


def ridge(inputs: Matrix, targets: Matrix, penalty: float) -> Matrix:
    """Return a linear regression's weights, shape (inputs.shape[1] + 1,), the last one being added to the sum."""
    mean, deviation = inputs.mean(axis=0), inputs.std(axis=0) + 1e-6
    inputs = (inputs - mean) / deviation
    gram = inputs.T @ inputs + penalty * np.eye(inputs.shape[1])
    weights = np.linalg.solve(gram, inputs.T @ (targets - targets.mean())) / deviation
    return np.append(weights, targets.mean() - mean @ weights)


def logistic(inputs: Matrix, targets: npt.NDArray[np.bool_], penalty: float) -> Matrix:
    """Return a logistic regression's weights as `ridge` does, found by Newton's method (iteratively reweighted)."""
    mean, deviation = inputs.mean(axis=0), inputs.std(axis=0) + 1e-6
    inputs = np.column_stack([(inputs - mean) / deviation, np.ones(len(inputs))])
    weights = np.zeros(inputs.shape[1])
    penalties = np.full(len(weights), penalty)
    penalties[-1] = 1e-6
    for _ in range(ROUNDS):
        odds = 1 / (1 + np.exp(-np.clip(inputs @ weights, -30, 30)))
        slope = inputs.T @ (targets - odds) - penalties * weights
        curvature = (inputs * (odds * (1 - odds) + 1e-6)[:, None]).T @ inputs + np.diag(penalties)
        weights += np.linalg.solve(curvature, slope)
    scaled = weights[:-1] / deviation
    return np.append(scaled, weights[-1] - mean @ scaled)


def _tell(word: str, row: Row, held_out: Sequence[Example]) -> None:
    """Print how well the tenth of the scenes is told that was not learnt from."""
    told = [Weights(row).tell(example.features, HEARD_BEFORE, example.detection) for example in held_out]
    ends = [end.sample - one.detection.wake_sample - one.end for end, one in zip(told, held_out, strict=True)]
    off = np.array(ends) / RATE_HZ
    low, high = np.quantile(off, (0.005, 0.995))
    odds = {
        more: np.array([end.followed for end, one in zip(told, held_out, strict=True) if one.followed is more])
        for more in (False, True)
    }
    most, least = np.sort(odds[False])[-3:].round(1), np.sort(odds[True])[:3].round(1)
    print(
        f"{word}: {len(held_out)} held out, off by {off.std():.3f} s, 99 % within {low:+.3f} to {high:+.3f} s; "
        f"log odds of bare ones at most {most}, of followed ones at least {least}",
        flush=True,
    )


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


def hear(word: str, voices: Sequence[Voice], seed: list[int], size: int, in_one_breath: bool = False) -> list[Example]:
    """Render scenes until ``size`` wake words were detected in them, or enough scenes were tried."""
    rng = np.random.default_rng(seed)
    scorer = _scorer(word)
    examples: list[Example] = []
    for _ in range(MOST_SCENES * size):
        if len(examples) == size:
            break
        scene = _draw(word, voices, rng)
        if in_one_breath:
            utterance = replace(scene.utterances[0], in_one_breath=True)
            utterance = replace(utterance, text=utterance.text or str(rng.choice(SHORT)))
            scene = replace(scene, utterances=(utterance,))
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
    features = features_around(detection, samples, 0, scorer._stream)
    if len(features) < HEARD_BEFORE + HEARD_AFTER:
        return None
    soon = request is not None and request.start_sample - end <= samples_of(SOON_S)
    followed = soon if soon or request is None else None
    return Example(features, said_end - detection.wake_sample, followed, detection)


def _draw(word: str, voices: Sequence[Voice], rng: np.random.Generator) -> Scene:
    """Draw a scene: bare wake words, few words at once or soon, or any request after any gap."""
    kind = rng.random()
    text = "" if kind < BARE else str(rng.choice(SHORT if kind < SHORTLY else REQUESTS))
    voice = voices[rng.integers(len(voices))]
    utterance = Utterance(
        voice=replace(voice, words_per_minute=int(rng.choice(SPEEDS))),
        wake_word=word,
        text=text,
        gap_s=0.0 if rng.random() < 0.5 else float(rng.uniform(0.0, 0.6)),
        request_gain_db=float(rng.uniform(-5.0, 4.0)),
    )
    return Scene(
        utterances=(utterance,),
        noise=rng.choice(("white", "pink", "brown", "hum", "babble"), p=(0.23, 0.23, 0.23, 0.19, 0.12)),
        snr_db=float(rng.uniform(4.0, 40.0)),
        rt60_s=float(rng.choice((0.0, 0.25, 0.4, 0.6))),
        level_dbfs=float(rng.uniform(-40.0, -18.0)),
        lead_s=2.6,
        tail_s=1.6,
        seed=int(rng.integers(1 << 31)),
    )


if __name__ == "__main__":
    sys.exit(main())
