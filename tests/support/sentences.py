"""Two phrases said in one breath: one synthesis, so that they run into each other; and where the first one ends."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr

from device.hearing.frames import RATE_HZ
from support.speech import Signal, flite_command, speech_span

if TYPE_CHECKING:
    from support.speech import Voice


def speak_in_one_breath(first: str, then: str, voice: Voice) -> tuple[Signal, int]:
    """Return ``first`` and ``then`` said in one synthesis, trimmed to the speech.

    Returns:
        float64, shape (n,), 16 kHz, and the sample where the synthesiser says that ``then`` begins.

    Raises:
        OSError: flite is not installed.
        subprocess.CalledProcessError: the synthesiser failed, or espeak-ng is not installed.
        ValueError: nothing audible came out, or the two cannot be told apart in it.
    """
    say = _say_with_espeak if voice.synthesiser == "espeak-ng" else _say_with_flite
    signal, rate_hz, boundary = say(first, then, voice)
    signal = np.asarray(soxr.resample(signal, rate_hz, RATE_HZ), np.float64)
    boundary = round(boundary * RATE_HZ / rate_hz)
    start, end = speech_span(signal)
    if not start < boundary < end:
        raise ValueError(f"{voice} does not say {first!r} before {then!r}")
    return signal[start:end], boundary - start


def _say_with_espeak(first: str, then: str, voice: Voice) -> tuple[Signal, int, int]:
    options = (voice.name, voice.words_per_minute, voice.pitch, f"{first} {then}")
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("espeak_words.py")), *map(str, options)]
    told, _, sound = subprocess.run(command, check=True, capture_output=True).stdout.partition(b"\n")
    said = json.loads(told)
    begun = [sample for position, sample in said["words"] if position > len(first)]
    return np.frombuffer(sound, np.int16) / 32768.0, said["rate_hz"], min(begun, default=0)


def _say_with_flite(first: str, then: str, voice: Voice) -> tuple[Signal, int, int]:
    alone = len(_flite(first, voice)[1])
    (signal, rate_hz), ends_s = _flite(f"{first} {then}", voice)
    return signal, rate_hz, round(ends_s[min(alone, len(ends_s)) - 1] * rate_hz)


@lru_cache
def _flite(text: str, voice: Voice) -> tuple[tuple[Signal, int], list[float]]:
    """Return the sound with its rate, and when each phone ends that is no pause."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as out:
        command = [*flite_command(text, voice, Path(out.name)), "-psdur"]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        sound = soundfile.read(out.name, dtype="float64")
    phones = (phone.rsplit(":", 1) for phone in told.split())
    return sound, [float(end_s) for phone, end_s in phones if phone != "pau"]
