"""``scripts/train-word-ends``: learn where each bundled wake word ends, from openwakeword's embeddings of scenes."""

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

from device.core.frames import FRAME_SAMPLES, RATE_HZ, VAD_SAMPLES
from device.core.pipeline import HISTORY_SAMPLES
from device.core.wake_end import course_end
from device.edges.wakeword import BUNDLED_WORDS, load_scorer
from device.edges.wakeword.word_ends import WEIGHTS, WINDOW
from support.cutting import detect
from support.scenes import REQUESTS, Scene, Utterance, render
from support.speech import FLITE_VOICES, Voice, missing_synthesisers, to_samples, to_signal

if TYPE_CHECKING:
    from device.core.frames import Samples
    from device.core.wake import Detection
    from device.edges.wakeword.streaming import FeatureStream

ACCENTS = ("en", "en-us", "en-us-nyc", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029")
VARIANTS = (
    "", "f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "klatt", "klatt2", "klatt4",
    "adam", "Alicia", "Andrea", "Annie", "belinda", "benjamin", "Denis", "ed", "Gene", "Hugo", "iven", "Jacky", "linda",
    "marcelo", "max", "Michael", "pablo", "quincy", "robert", "shelby", "Storm", "travis", "anika",
)  # fmt: skip
SHORT = ("stop", "yes", "off", "no", "pause", "lights", "louder", "next", "cancel", "help", "go", "mute", "up", "five")
STRETCHED = 0.7  # of the scenes are resampled, which makes other throats of the same voices
STRETCH = (0.87, 1.15)
FARTHEST_S = 0.4  # a detection farther than this from where the course expects the end was one of something else
RIDGE = 300.0
MOST_SCENES = 6  # for each detection: of some words openwakeword hears few synthetic voices


@dataclass(frozen=True, slots=True)
class Example:
    """A window of embeddings, and how many frames of 20 ms after its last one's end the word ended."""

    window: npt.NDArray[np.float32]
    offset: float


def main() -> int:
    """Train on drawn scenes, print how far off others are told, write the weights; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/train-word-ends", description=__doc__)
    parser.add_argument("--size", type=int, default=1200, help="detections to learn each word from (default: 1200)")
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
            chunks = [(word, [options.seed, number, chunk], options.size // 20) for chunk in range(20)]
            parts = list(pool.map(_examples, *zip(*chunks, strict=True)))
            rows.append(train([example for part in parts[2:] for example in part]))
            _tell(word, rows[-1], parts)
    np.save(options.out, np.array(rows))
    return 0


def train(examples: list[Example]) -> npt.NDArray[np.float32]:
    """Return the ridge regression's weights, shape (WINDOW * 96 + 1,), the last one being added to the sum."""
    inputs = np.array([example.window.reshape(-1) for example in examples], np.float64)
    offsets = np.array([example.offset for example in examples])
    mean, deviation = inputs.mean(axis=0), inputs.std(axis=0) + 1e-6
    inputs = (inputs - mean) / deviation
    gram = inputs.T @ inputs + RIDGE * np.eye(inputs.shape[1])
    weights = np.linalg.solve(gram, inputs.T @ (offsets - offsets.mean())) / deviation
    return np.append(weights, offsets.mean() - mean @ weights).astype(np.float32)


def _tell(word: str, weights: npt.NDArray[np.float32], parts: list[list[Example]]) -> None:
    """Print how well the tenth of the scenes is told that was not learnt from."""
    held_out = [example for part in parts[:2] for example in part]
    off = np.array([e.offset - e.window.reshape(-1) @ weights[:-1] - weights[-1] for e in held_out]) * 0.02
    low, high = np.quantile(off, (0.01, 0.99))
    print(f"{word}: {sum(map(len, parts))} examples, off by {off.std():.3f} s, 98 % within {low:+.3f} to {high:+.3f} s")


def _examples(word: str, seed: list[int], size: int) -> list[Example]:
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        scorer = load_scorer((word,), engine="streaming", cache_dir=Path(folder))
    examples: list[Example] = []
    heard = 0
    for _ in range(MOST_SCENES * size):
        if heard == size:
            break
        recording = render(_draw(word, rng), "", wake_word=word)
        truth = recording.truth
        said = truth.requests[0].wake_end_sample if truth.requests else truth.bare_wakes[0].end_sample
        stretch = float(rng.uniform(*STRETCH)) if rng.random() < STRETCHED else 1.0
        resampled = soxr.resample(to_signal(recording.samples), RATE_HZ, RATE_HZ * stretch)
        skipped = int(rng.integers(FRAME_SAMPLES))  # so that words begin anywhere within a frame
        samples, end = to_samples(resampled[skipped:]), said * stretch - skipped
        detection = detect(samples, word, round(end), scorer)
        if detection is not None:
            heard += 1
            examples += _windows(detection, samples, end, scorer._stream)
    return examples


def _windows(detection: Detection, samples: Samples, end: float, stream: FeatureStream) -> list[Example]:
    """Return the window that the course points to, the one nearest to the truth, and its neighbours."""
    wake = detection.wake_sample
    course = wake + course_end(detection.scores) * VAD_SAMPLES
    if abs(course - end) > FARTHEST_S * RATE_HZ:
        return []
    stream.reset()
    history = samples[max(0, wake - HISTORY_SAMPLES) // FRAME_SAMPLES * FRAME_SAMPLES : wake]
    features = stream.features(history.reshape(-1, FRAME_SAMPLES))
    nearest = round((end - wake) / FRAME_SAMPLES)
    anchors = {min(anchor, 0) for anchor in (round((course - wake) / FRAME_SAMPLES), nearest - 1, nearest, nearest + 1)}
    return [
        Example(features[last - WINDOW : last], (end - wake - anchor * FRAME_SAMPLES) / VAD_SAMPLES)
        for anchor in anchors
        if (last := len(features) + anchor) >= WINDOW
    ]


def _draw(word: str, rng: np.random.Generator) -> Scene:
    """Draw a scene: a quarter bare wake words, a quarter one-word requests at once, else any request and any gap."""
    kind = rng.random()
    text = "" if kind < 0.25 else str(rng.choice(SHORT if kind < 0.5 else REQUESTS))
    utterance = Utterance(
        voice=_voice(rng),
        wake_word=word,
        text=text,
        gap_s=0.0 if rng.random() < 0.4 else float(rng.uniform(0.0, 0.8)),
        request_gain_db=float(rng.uniform(-3.0, 3.0)),
    )
    return Scene(
        utterances=(utterance,),
        noise=rng.choice(("white", "pink", "brown", "hum")),
        snr_db=float(rng.uniform(8.0, 40.0)),
        rt60_s=float(rng.choice((0.0, 0.25, 0.4))),
        level_dbfs=float(rng.uniform(-38.0, -20.0)),
        lead_s=1.5,
        tail_s=1.5,
        seed=int(rng.integers(1 << 31)),
    )


def _voice(rng: np.random.Generator) -> Voice:
    """Draw a voice, flite's four as often as all of espeak-ng's; few speeds, so that the cache is soon warm."""
    speed = int(rng.choice((140, 160, 180)))
    if rng.random() < 0.4:
        return replace(FLITE_VOICES[rng.integers(len(FLITE_VOICES))], words_per_minute=speed)
    accent, variant = str(rng.choice(ACCENTS)), str(rng.choice(VARIANTS))
    return Voice(synthesiser="espeak-ng", name=f"{accent}+{variant}".rstrip("+"), words_per_minute=speed)


if __name__ == "__main__":
    sys.exit(main())
