"""Two phrases said in one breath: one synthesis, so that they run into each other; and where the first one ends."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr

from device.core.frames import RATE_HZ
from support.speech import Signal, flite_command, speech_span

if TYPE_CHECKING:
    from support.speech import Voice

# Of espeak-ng's speak_lib.h.
_SYNCHRONOUS, _WORD_EVENT, _UTF8, _BY_CHARACTER = 2, 1, 1, 1
_RATE, _PITCH = 1, 3
_BUFFER_MS = 200


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def speak_in_one_breath(first: str, then: str, voice: Voice) -> tuple[Signal, int]:
    """Return ``first`` and ``then`` said in one synthesis, trimmed to the speech.

    Returns:
        float64, shape (n,), 16 kHz, and the sample where the synthesiser says that ``then`` begins.

    Raises:
        OSError: the synthesiser is not installed.
        subprocess.CalledProcessError: the synthesiser failed.
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
    library, rate_hz = _espeak()
    parts: list[Signal] = []
    boundaries: list[int] = []

    def hear(samples: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]) -> int:
        if samples and count > 0:
            parts.append(np.ctypeslib.as_array(samples, (count,)) / 32768.0)
        number = 0
        while (event := events[number]).type:
            if event.type == _WORD_EVENT and event.text_position > len(first) + 1:  # positions count from 1
                boundaries.append(event.sample)
            number += 1
        return 0

    callback = _Callback(hear)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.name.encode()):
        raise ValueError(f"espeak-ng has no voice {voice.name}")
    library.espeak_SetParameter(_RATE, voice.words_per_minute, 0)
    library.espeak_SetParameter(_PITCH, voice.pitch, 0)
    text = f"{first} {then}".encode() + b"\0"
    library.espeak_Synth(text, ctypes.c_size_t(len(text)), 0, _BY_CHARACTER, 0, _UTF8, None, None)
    return np.concatenate(parts), rate_hz, min(boundaries, default=0)


@lru_cache
def _espeak() -> tuple[ctypes.CDLL, int]:
    library = ctypes.CDLL("libespeak-ng.so.1")
    return library, library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, None, 0)


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
