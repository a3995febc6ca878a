"""Is it a wake word's model: what it scores where its word is not, before anybody relies on it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from device.edges.wakeword.sessions import FEATURES, open_classifier
from device.edges.wakeword.streaming import SILENT_SCORES, StreamingScorer
from device.edges.wakeword.words import WordModel
from device.errors import ModelError
from device.hearing.frames import FRAME_SAMPLES, RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    from device.hearing.frames import Samples

    Scores = npt.NDArray[np.float32]

# At openwakeword's usual threshold it would go off by itself. Of 119 published models none exceeds 0.19 in these
# sounds, and 118 stay below 0.003.
IDLE_LIMIT = 0.5
NOISE_S = 3
NOISE_DBFS = (-40, -20)
TOLERANCE = 1e-5  # of a score, beyond 0 and 1
FEATURE_SPREAD = 20.0  # openwakeword's features of speech; 119 published models all react to noise of this spread
FEATURE_WINDOWS = 50


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found of a model that can be used.

    Attributes:
        window_s: how much sound it looks at.
        idle_score: the highest score in silence and steady noise.
        speech_score: the highest score in the speech.
    """

    window_s: float
    idle_score: float
    speech_score: float


def examine(path: Path, speech: Samples, cache_dir: Path | None) -> Examined:
    """Run a model over silence, noise and speech.

    Args:
        path: the model.
        speech: int16, shape (n,), some seconds of people's talk, in which its word is said now and then at most.
        cache_dir: as for `load_scorer`.

    Raises:
        ModelError: it is no wake word model, or scores as none should.
    """
    session, window = open_classifier(path)
    scorer = StreamingScorer([WordModel(path.stem, path)], cache_dir)
    idle = np.concatenate([_scores(scorer, sound) for sound in _quiet_sounds()])
    talk = _scores(scorer, speech)
    windows = np.random.default_rng(1).normal(0, FEATURE_SPREAD, (FEATURE_WINDOWS, 1, window, FEATURES))
    name = session.get_inputs()[0].name
    odd = np.array([session.run(None, {name: features.astype(np.float32)})[0].item() for features in windows])
    if wrong := _complaint(idle, talk, odd):
        raise ModelError(f"{path} {wrong[0]}", hint=wrong[1])
    return Examined((window * FRAME_SAMPLES) / RATE_HZ, float(idle.max()), float(talk.max()))


def _complaint(idle: Scores, talk: Scores, odd: Scores) -> tuple[str, str] | None:
    """Return what is wrong with scores in silence and noise, in speech, and of features that no sound has."""
    every = np.concatenate([idle, talk, odd])
    if not np.isfinite(every).all():
        return "gives scores that are no numbers", "was its training broken off, or its export?"
    if every.min() < -TOLERANCE or every.max() > 1 + TOLERANCE:
        ranging = f"{every.min():.2f} to {every.max():.2f}"
        return f"gives scores of {ranging}, not 0 to 1", "export it with the sigmoid at its end"
    if np.ptp(every) == 0:
        return f"gives {every[0]:.3f} whatever it hears", "was it trained?"
    if idle.max() >= IDLE_LIMIT:
        return (
            f"scores {idle.max():.2f} in silence or steady noise, where a wake word's model stays near 0",
            "it would go off by itself; train it with more noise and silence that is not the word",
        )
    if np.median(talk) >= IDLE_LIMIT:
        return (
            f"scores {np.median(talk):.2f} all the time while anybody talks",
            "it tells speech, no word; train it with more speech that is not the word",
        )
    return None


def _scores(scorer: StreamingScorer, sound: Samples) -> Scores:
    scorer.reset()
    frames = sound[: len(sound) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    return scorer.score(frames)[SILENT_SCORES:, 0].copy()


def _quiet_sounds() -> Iterator[Samples]:
    """Yield silence, and white and pink noise, faint and loud."""
    samples = NOISE_S * RATE_HZ
    yield np.zeros(samples, np.int16)
    noise = np.random.default_rng(1).normal(size=samples)
    spectrum = np.fft.rfft(noise)
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 50)), samples)
    for level, colour in itertools.product(NOISE_DBFS, (noise, pink)):
        yield np.clip(colour / colour.std() * 32768 * 10 ** (level / 20), -32768, 32767).astype(np.int16)
