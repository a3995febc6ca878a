"""What the benchmark listens to: a quiet room, people who talk without a break, a request of the greatest length."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from support.rooms import noise
from support.scenes import PAUSED_REQUESTS, REQUESTS
from support.speech import ESPEAK_VOICES, FLITE_VOICES, active_rms, speak, to_samples, to_signal

from device.hearing.frames import RATE_HZ, Samples, samples_of

if TYPE_CHECKING:
    from pathlib import Path

SEED = 3
QUIET_RMS = 40  # of 32768: -58 dBFS
SPEECH_DBFS = -26.0
PIECE_S = 300.0  # what is longer repeats it; it is periodic, so that no seam can be heard
BETWEEN_S = 0.25
VOICES = (*ESPEAK_VOICES[::9], *FLITE_VOICES)


def quiet_room(seconds: float) -> Samples:
    """Return pink noise at an amplitude of 40, int16, shape (samples,)."""
    piece = noise("pink", samples_of(min(seconds, PIECE_S)), np.random.default_rng(SEED))
    return np.resize(np.rint(piece * QUIET_RMS).astype(np.int16), samples_of(seconds))


def continuous_speech(seconds: float) -> Samples:
    """Return sentences of several voices with no more than a breath between them, in a quiet room, no wake word."""
    rng = np.random.default_rng(SEED)
    texts = [text.replace("|", ",") for text in (*REQUESTS, *PAUSED_REQUESTS)]
    said = []
    length = 0
    for voice in itertools.cycle(VOICES):
        speech = to_signal(speak(texts[rng.integers(len(texts))], voice))
        said += [speech * (10.0 ** (SPEECH_DBFS / 20.0) / active_rms(speech)), np.zeros(samples_of(BETWEEN_S))]
        length += len(said[-1]) + len(said[-2])
        if length >= samples_of(min(seconds, PIECE_S)):
            break
    piece = to_samples(np.concatenate(said))
    return np.resize(piece, samples_of(seconds)) + quiet_room(seconds)


def longest_request(wake: Samples, seconds: float) -> Samples:
    """Return a wake word, given as a recording of it and a request, and talking that goes on for ``seconds``."""
    return np.concatenate([wake, continuous_speech(seconds), quiet_room(3.0)])


def write(path: Path, samples: Samples) -> Path:
    """Write 16 kHz mono; return the path."""
    soundfile.write(path, samples, RATE_HZ, subtype="PCM_16")
    return path
