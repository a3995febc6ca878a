"""Sounds that are no speech: struck things, scrapes, thumps, beeps and tunes, invented or from folders of sounds."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr

from device.hearing.frames import RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from support.speech import Signal

    from training.recordings import Side

Rng = np.random.Generator

SUFFIXES = (".wav", ".ogg", ".oga", ".flac", ".mp3")
LONGEST_S, LEAST_S = 30.0, 0.03
_HIGHEST_HZ = 7600.0


def invented(samples: int, rng: Rng) -> Signal:
    """Return what goes on in a room while things are struck, moved and dropped: some sounds a second, or many."""
    made = np.zeros(samples)
    for _ in range(rng.poisson(rng.uniform(0.5, 6.0) * samples / RATE_HZ) + 1):
        maker = _MAKERS[rng.choice(len(_MAKERS), p=_SHARES)]
        sound = maker(int(rng.uniform(0.05, 0.6) * RATE_HZ), rng)
        _add(made, sound * 10.0 ** (rng.normal(0.0, 8.0) / 20.0), int(rng.integers(samples)))
    return made


def scattered(bank: Sequence[Signal], samples: int, rng: Rng) -> Signal:
    """Return recorded sounds one after the other and over each other; long ones begin anywhere in themselves."""
    made = np.zeros(samples)
    at, pause_s = -int(rng.uniform(0.0, 2.0) * RATE_HZ), float(rng.uniform(-0.2, 1.2))
    while at < samples:
        sound = bank[rng.integers(len(bank))]
        if len(sound) > 4 * RATE_HZ:
            sound = sound[rng.integers(len(sound) - 2 * RATE_HZ) :]
        stretched = sound[np.arange(0, len(sound) - 1, rng.uniform(0.8, 1.25)).astype(int)]
        _add(made, stretched * 10.0 ** (rng.normal(0.0, 6.0) / 20.0), at)
        at += max(int(min(len(stretched) / RATE_HZ, 4.0) * RATE_HZ + pause_s * RATE_HZ), RATE_HZ // 20)
    return made


def tune(samples: int, rng: Rng) -> Signal:
    """Return notes and chords with harmonics."""
    made = np.zeros(samples)
    at = 0
    while at < samples:
        length = int(rng.uniform(0.12, 0.8) * RATE_HZ)
        time_s = np.arange(length) / RATE_HZ
        for _ in range(rng.integers(1, 5)):
            pitch_hz = 110.0 * 2.0 ** (rng.integers(40) / 12)
            fading = np.exp(-time_s / rng.uniform(0.1, 0.8)) * np.minimum(1.0, np.arange(length) / 100)
            for harmonic in range(1, rng.integers(2, 9)):
                if pitch_hz * harmonic < _HIGHEST_HZ:
                    wave = np.sin(2 * np.pi * pitch_hz * harmonic * time_s)
                    _add(made, rng.uniform(0.2, 1.0) / harmonic * wave * fading, at)
        at += length if rng.random() < 0.7 else length // 2 + 1
    return made


def load(folders: Sequence[Path], side: Side, *, longest_s: float = LONGEST_S) -> list[Signal]:
    """Read every sound below the folders, 16 kHz mono, at one level; silent, broken and short ones are left out.

    Args:
        folders: with sounds in any format that libsndfile reads.
        side: a fifth of the sounds, by their files' names, is only judged with.
        longest_s: so much of a file at most.
    """
    files = sorted(file for folder in folders for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    chosen = [file for file in files if (zlib.crc32(file.name.encode()) % 5 == 0) is (side == "judge")]
    return [sound for file in chosen if (sound := _read(file, longest_s)) is not None]


def _read(file: Path, longest_s: float) -> Signal | None:
    try:
        with soundfile.SoundFile(file) as opened:
            most = min(opened.frames, int(longest_s * opened.samplerate))
            signal = opened.read(most, dtype="float64", always_2d=True).mean(axis=1)
            signal = np.asarray(soxr.resample(signal, opened.samplerate, RATE_HZ))
    except soundfile.LibsndfileError:
        return None
    if len(signal) < LEAST_S * RATE_HZ or not np.abs(signal).max() > 1e-3:
        return None
    signal = signal - signal.mean()
    return signal / np.sqrt(np.mean(signal**2))


def _struck(length: int, rng: Rng) -> Signal:
    time_s = np.arange(length) / RATE_HZ
    sound = rng.standard_normal(length) * np.exp(-time_s / rng.uniform(0.002, 0.02)) * rng.uniform(0.0, 1.0)
    lowest_hz = 10.0 ** rng.uniform(2.3, 3.7)
    for _ in range(rng.integers(2, 12)):
        pitch_hz = min(lowest_hz * rng.uniform(1.0, 6.0), _HIGHEST_HZ)
        ringing = np.exp(-time_s / rng.uniform(0.004, 0.15)) * np.sin(2 * np.pi * pitch_hz * time_s + rng.uniform(0, 6))
        sound += rng.uniform(0.2, 1.0) * ringing
    return sound


def _scraped(length: int, rng: Rng) -> Signal:
    spectrum = np.fft.rfft(rng.standard_normal(length))
    hertz = np.fft.rfftfreq(length, 1.0 / RATE_HZ)
    lowest_hz = 10.0 ** rng.uniform(2.0, 3.5)
    spectrum *= (hertz > lowest_hz) & (hertz < lowest_hz * rng.uniform(1.5, 10.0))
    corners = rng.uniform(0.0, 1.0, rng.integers(3, 14))
    course = np.interp(np.linspace(0, len(corners) - 1, length), np.arange(len(corners)), corners)
    return np.fft.irfft(spectrum, length) * course * _soft(length)


def _thump(length: int, rng: Rng) -> Signal:
    time_s = np.arange(length) / RATE_HZ
    low = np.sin(2 * np.pi * rng.uniform(40.0, 250.0) * time_s) * np.exp(-time_s / rng.uniform(0.02, 0.1))
    return low + 0.2 * rng.standard_normal(length) * np.exp(-time_s / 0.01)


def _beep(length: int, rng: Rng) -> Signal:
    pitch_hz = 10.0 ** rng.uniform(2.5, 3.7)
    glide_hz = np.linspace(pitch_hz, pitch_hz * rng.uniform(0.7, 1.4), length)
    phase = 2 * np.pi * np.cumsum(glide_hz) / RATE_HZ
    sound = np.sin(phase)
    for harmonic in (2, 3):
        sound += rng.uniform(0.0, 0.6) * np.sin(harmonic * phase) * (harmonic * glide_hz.max() < _HIGHEST_HZ)
    return sound * _soft(length)


_MAKERS: tuple[Callable[[int, Rng], Signal], ...] = (_struck, _scraped, _thump, _beep)
_SHARES = (0.5, 0.25, 0.13, 0.12)


def _soft(length: int) -> Signal:
    """Return a course that rises and falls over 10 ms."""
    ramp = np.arange(length)
    return np.minimum(1.0, np.minimum(ramp, ramp[::-1]) / 160)


def _add(made: Signal, sound: Signal, at: int) -> None:
    start, end = max(at, 0), min(at + len(sound), len(made))
    if start < end:
        made[start:end] += sound[start - at : end - at]
