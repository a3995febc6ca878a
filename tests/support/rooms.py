"""What surrounds speech: seeded noises of six kinds and rooms that reverberate, the direct sound at sample 0."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from device.hearing.frames import RATE_HZ
from support.speech import ESPEAK_VOICES, FLITE_VOICES, Signal, active_rms, speak, to_signal

if TYPE_CHECKING:
    from collections.abc import Callable

NoiseKind = Literal["white", "pink", "brown", "hum", "babble", "fan"]
NOISE_KINDS: tuple[NoiseKind, ...] = ("white", "pink", "brown", "hum", "babble")  # those of the corpora

_SPEED_OF_SOUND = 343.0
_LOWEST_HZ = 20.0  # below it no microphone of this kind hears anything
_BABBLE_TALKERS = 7
_BABBLE = (
    "I told her that we would be there before noon, but the train was late again and nobody had a key to the house",
    "well, if you ask me, the soup needs more salt, and somebody should open a window before we all fall asleep",
    "they painted the whole fence green last summer, and now he says that it was supposed to be blue all along",
    "so then the doctor said to come back in a month, and I said that a month is a very long time to wait",
    "we could take the bus to the market and walk home along the river, as long as it does not start raining",
)


def noise(kind: NoiseKind, samples: int, rng: np.random.Generator) -> Signal:
    """Return noise with a root mean square of 1, shape (samples,)."""
    made = _MAKERS[kind](samples, rng)
    scaled: Signal = made / np.sqrt(np.mean(made**2))
    return scaled


def reverberate(dry: Signal, rt60_s: float, seed: int) -> Signal:
    """Return ``dry`` as a microphone in a room hears it; longer than ``dry`` by the room's reverberation.

    Args:
        dry: shape (n,).
        rt60_s: the time in which the room's sound decays by 60 dB; 0: no room.
        seed: which room of that reverberation, and where in it talker and microphone are.
    """
    if not rt60_s:
        return dry
    response = room_response(rt60_s, seed)
    length = len(dry) + len(response) - 1
    size = 1 << (length - 1).bit_length()
    wet: Signal = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(response, size), size)
    return wet[:length]


@lru_cache(maxsize=64)
def room_response(rt60_s: float, seed: int) -> Signal:
    """Return a room's impulse response, its direct sound being 1.0 at sample 0, so that positions of speech stay true.

    The first reflections are the image sources of a box of plausible size up to the second order (Allen and Berkley,
    1979); what follows is decaying noise, whose energy against the direct sound is that of a diffuse field
    (distance squared over critical distance squared, the latter 0.057 sqrt(volume / RT60)).
    """
    rng = np.random.default_rng(seed)
    size = rng.uniform((3.0, 3.5, 2.4), (5.0, 6.0, 2.8))
    microphone = np.array([rng.uniform(0.5, size[0] - 0.5), 0.4, 0.9])
    direction = rng.uniform((-0.6, 0.6, 0.1), (0.6, 1.0, 0.5))
    distance = rng.uniform(0.8, 2.0)
    talker = np.clip(microphone + direction / np.linalg.norm(direction) * distance, 0.2, size - 0.2)
    distance = float(np.linalg.norm(talker - microphone))
    absorption = min(0.161 * float(size.prod()) / (rt60_s * _surface(size)), 0.95)  # Sabine

    response: Signal = np.zeros(int(rt60_s * RATE_HZ))
    for order, image in _images(size, talker):
        path = float(np.linalg.norm(image - microphone))
        delay = round((path - distance) / _SPEED_OF_SOUND * RATE_HZ)
        if delay < len(response):
            response[delay] += distance / path * (1.0 - absorption) ** (order / 2)

    time_s = np.arange(len(response)) / RATE_HZ
    tail = rng.standard_normal(len(response)) * 10.0 ** (-3.0 * time_s / rt60_s)
    tail *= np.clip((time_s - 0.004) / 0.016, 0.0, 1.0)  # reflections grow dense over the first 20 ms
    critical = 0.057 * np.sqrt(float(size.prod()) / rt60_s)
    tail *= (distance / critical) / np.sqrt(np.sum(tail**2))
    return response + tail


def _images(size: Signal, talker: Signal) -> list[tuple[int, Signal]]:
    """Return the image sources of a box up to the second order, each with its number of reflections."""
    found = []
    for cell in np.ndindex(5, 5, 5):
        offset = np.array(cell) - 2
        order = int(np.abs(offset).sum())
        if order <= 2:
            mirrored = np.where(offset % 2, size - talker, talker)
            found.append((order, offset * size + mirrored))
    return found


def _surface(size: Signal) -> float:
    return float(2.0 * (size[0] * size[1] + size[0] * size[2] + size[1] * size[2]))


def _coloured(samples: int, rng: np.random.Generator, exponent: float) -> Signal:
    """Return noise whose power falls with frequency to the ``exponent``, down to 20 Hz."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    hertz = np.fft.rfftfreq(samples, 1.0 / RATE_HZ)
    spectrum *= np.maximum(hertz, _LOWEST_HZ) ** (-exponent / 2.0) * (hertz >= _LOWEST_HZ)
    return np.fft.irfft(spectrum, samples)


def _hum(samples: int, rng: np.random.Generator) -> Signal:
    """Mains hum: 50 or 60 Hz and its harmonics, the even ones strongest, over a little white noise."""
    mains_hz = rng.choice((50.0, 60.0)) * rng.uniform(0.999, 1.001)
    time_s = np.arange(samples) / RATE_HZ
    made = 0.02 * rng.standard_normal(samples)
    for harmonic in range(1, 21):
        amplitude = rng.uniform(0.5, 1.0) * (1.0 if harmonic % 2 == 0 else 0.5) / harmonic**0.7
        made += amplitude * np.sin(2.0 * np.pi * (harmonic * mains_hz * time_s + rng.uniform()))
    return made


def _fan(samples: int, rng: np.random.Generator) -> Signal:
    """Moving air: noise of any slope with a few resonances, and the tones of the blades."""
    spectrum = np.fft.rfft(_coloured(samples, rng, rng.uniform(0.5, 2.5)))
    hertz = np.fft.rfftfreq(samples, 1.0 / RATE_HZ)
    for _ in range(3):
        octaves = np.log2(np.maximum(hertz, _LOWEST_HZ) / (100.0 * 2.0 ** rng.uniform(0.0, 5.0)))
        spectrum *= 1.0 + rng.uniform(0.0, 3.0) * np.exp(-((octaves / rng.uniform(0.1, 0.5)) ** 2))
    air = np.fft.irfft(spectrum, samples)
    blades_hz, time_s = rng.uniform(50.0, 300.0), np.arange(samples) / RATE_HZ
    for harmonic in range(1, 5):
        tone = np.sin(2.0 * np.pi * (harmonic * blades_hz * time_s + rng.uniform()))
        air = air + tone * rng.uniform(0.0, 0.7) * air.std() / harmonic
    return air


def _babble(samples: int, rng: np.random.Generator) -> Signal:
    """Several synthetic people at once, each at an own level and from an own place in the text."""
    made = np.zeros(samples)
    voices = (*ESPEAK_VOICES, *FLITE_VOICES)
    for talker in rng.choice(len(voices), _BABBLE_TALKERS, replace=False):
        texts = rng.permutation(len(_BABBLE))
        speech = np.concatenate([to_signal(speak(_BABBLE[text], voices[talker])) for text in texts])
        speech /= active_rms(speech)
        made += rng.uniform(0.5, 1.0) * np.resize(np.roll(speech, -rng.integers(len(speech))), samples)
    return made


_MAKERS: dict[NoiseKind, Callable[[int, np.random.Generator], Signal]] = {
    "white": lambda samples, rng: rng.standard_normal(samples),
    "pink": lambda samples, rng: _coloured(samples, rng, 1.0),
    "brown": lambda samples, rng: _coloured(samples, rng, 2.0),
    "hum": _hum,
    "babble": _babble,
    "fan": _fan,
}
