"""Speech from espeak-ng and flite, 16 kHz mono, trimmed to what is said and cached on disk; and its level."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tempfile
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from device.hearing.frames import RATE_HZ, Samples

Signal = npt.NDArray[np.float64]  # shape (n,), 16 kHz, 1.0 is full scale

TRIM_DB = -40.0  # below the loudest 10 ms; the weakest final fricatives measured (flite slt, "off") are at -39 to -40
_WINDOW = RATE_HZ // 100
_ACTIVE_DB = -25.0  # 10 ms windows above this, against the loudest, count for the active level
_PEAK = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One synthetic speaker.

    Attributes:
        synthesiser: the program.
        name: its voice: ``en-us+f3`` and the like for espeak-ng; awb, kal, kal16, rms, slt for flite.
        words_per_minute: the speed; 165 is unhurried.
        pitch: 0 to 99, 50 being the voice's own.
    """

    synthesiser: Literal["espeak-ng", "flite"]
    name: str
    words_per_minute: int = 165
    pitch: int = 50

    def __str__(self) -> str:
        return f"{self.synthesiser}:{self.name}@{self.words_per_minute}/{self.pitch}"


# Those that openwakeword's hey_jarvis hears well (mean over speeds, noise at 12 dB and two rooms above 0.85); espeak-ng
# takes a variant with "en", but silently none with "en-gb"; West Midlands and Caribbean voices often score below 0.5.
_ESPEAK_VARIANTS = {
    "en-us": ("", "+f1", "+f2", "+f4", "+f5", "+m1", "+m2", "+m4", "+m7"),
    "en": ("", "+f1", "+f2", "+f3", "+f4", "+f5", "+m1", "+m4", "+m5", "+m7"),
    "en-gb-scotland": ("", "+f1", "+f2", "+f3", "+f4", "+f5", "+m1", "+m2", "+m4", "+m5", "+m7"),
    "en-gb-x-rp": ("+f2", "+f3", "+f4", "+f5", "+m1"),
    "en-gb-x-gbclan": ("+f2", "+f5"),
    "en-us-nyc": ("+f1", "+f2", "+f3", "+f4", "+f5", "+m4", "+m7"),
}
ESPEAK_VOICES = tuple(
    Voice(synthesiser="espeak-ng", name=accent + variant)
    for accent, variants in _ESPEAK_VARIANTS.items()
    for variant in variants
)
FLITE_VOICES = tuple(Voice(synthesiser="flite", name=name) for name in ("awb", "kal16", "rms", "slt"))


def missing_synthesisers() -> list[str]:
    """Return which of the two programs are not installed; each one's Debian package has its name."""
    return [program for program in ("espeak-ng", "flite") if shutil.which(program) is None]


def cache_folder() -> Path:
    """Return the folder that keeps what was synthesised: in ``$XDG_CACHE_HOME``, else ``~/.cache``, else temporary."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "wakeword-recorder" / "speech"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.gettempdir()) / f"wakeword-recorder-speech-{os.getuid()}"
        folder.mkdir(exist_ok=True)
    return folder


@lru_cache(maxsize=1024)
def speak(text: str, voice: Voice) -> Samples:
    """Return ``text`` said by ``voice``, trimmed to the speech by `speech_span`.

    Returns:
        int16, shape (n,), 16 kHz, read-only, its peak at half of full scale.

    Raises:
        FileNotFoundError: the synthesiser is not installed.
        subprocess.CalledProcessError: the synthesiser failed.
        ValueError: nothing audible came out.
    """
    key = repr((_version(voice.synthesiser), astuple(voice), TRIM_DB, text))
    path = cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()}.npy"
    if path.exists():
        said: Samples = np.load(path)
    else:
        said = _synthesise(text, voice)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
            np.save(part, said)
        Path(part.name).replace(path)  # whole or not at all, whoever else renders at the same time
    said.flags.writeable = False
    return said


def speech_span(signal: Signal, below_db: float = TRIM_DB) -> tuple[int, int]:
    """Return where speech starts and ends: the outermost samples whose 10 ms level is above the loudest + ``below_db``.

    Raises:
        ValueError: there is no sound at all.
    """
    levels = _levels(signal)
    if not levels.size or levels.max() <= 0.0:
        raise ValueError("no sound to find speech in")
    loud = np.flatnonzero(levels > levels.max() * 10.0 ** (below_db / 20.0))
    return int(loud[0]), int(loud[-1]) + 1


def active_rms(signal: Signal) -> float:
    """Return the root mean square over the parts that are active: within 25 dB of the loudest 10 ms."""
    levels = _levels(signal)
    active = levels[levels > levels.max() * 10.0 ** (_ACTIVE_DB / 20.0)]
    return float(np.sqrt(np.mean(active**2)))


def to_signal(samples: Samples) -> Signal:
    """Return int16 samples as float64 with 1.0 as full scale."""
    return samples.astype(np.float64) / 32768.0


def to_samples(signal: Signal) -> Samples:
    """Return the signal as int16, rounded and limited to the range."""
    return np.clip(np.rint(signal * 32768.0), -32768, 32767).astype(np.int16)


def _levels(signal: Signal) -> Signal:
    """Return the root mean square of the 10 ms around each sample, shape as the signal's."""
    half = _WINDOW // 2
    energy = np.concatenate(([0.0], np.cumsum(np.pad(signal, (half, half)) ** 2)))
    mean = (energy[2 * half :] - energy[: -2 * half]) / (2 * half)
    return np.sqrt(np.maximum(mean[: len(signal)], 0.0))


def _synthesise(text: str, voice: Voice) -> Samples:
    if voice.synthesiser == "espeak-ng":
        command = ["espeak-ng", "-v", voice.name, "-s", str(voice.words_per_minute), "-p", str(voice.pitch)]
        wav = subprocess.run([*command, "--stdout", text], check=True, capture_output=True).stdout
    else:
        with tempfile.NamedTemporaryFile(suffix=".wav") as out:
            subprocess.run(flite_command(text, voice, Path(out.name)), check=True, capture_output=True)
            wav = Path(out.name).read_bytes()
    signal, rate_hz = soundfile.read(io.BytesIO(wav), dtype="float64")
    signal = np.asarray(soxr.resample(signal, rate_hz, RATE_HZ), np.float64)
    start, end = speech_span(signal)
    said = signal[start:end]
    return to_samples(said * (_PEAK / np.abs(said).max()))


def flite_command(text: str, voice: Voice, out: Path) -> list[str]:
    """Return what has flite say ``text`` into ``out``, a file: it needs one that it can seek in."""
    stretch = f"duration_stretch={165.0 / voice.words_per_minute:.3f}"
    return ["flite", "-voice", voice.name, "--setf", stretch, "-t", text, "-o", str(out)]


@lru_cache
def _version(synthesiser: str) -> str:
    return subprocess.run([synthesiser, "--version"], check=False, capture_output=True, text=True).stdout
