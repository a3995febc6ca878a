"""What surrounds speech in a scene: a noise of any kind, and an echo; drawn from one side's sounds only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from support.rooms import noise, reverberate
from support.speech import active_rms

from training.sounds import invented, scattered, tune

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from support.speech import Signal

Rng = np.random.Generator

STEADY = ("white", "pink", "brown", "hum", "fan")
_SHARES = {  # of the scenes that are learnt from
    "steady": 0.25,
    "room": 0.2,
    "sounds": 0.2,
    "invented": 0.13,
    "tune": 0.04,
    "babble": 0.08,
    "voices": 0.1,
}
_ECHOES_S = (0.25, 0.4, 0.6)
_TALKERS = (1, 2, 4, 6)


@dataclass(frozen=True)
class Surroundings:
    """One side's sounds.

    Attributes:
        rooms: recordings of rooms, with their names.
        echoes: impulse responses.
        sounds: recorded sounds that are no speech.
        voices: recorded speech of people who are in the room, or on television.
    """

    rooms: Sequence[tuple[str, Signal]]
    echoes: Sequence[Signal]
    sounds: Sequence[Signal] = ()
    voices: Sequence[Signal] = ()
    shares: dict[str, float] = field(default_factory=lambda: dict(_SHARES))

    def around(self, samples: int, rng: Rng, kind: str = "") -> tuple[str, Signal]:
        """Return a noise and its name: of a kind of ``_SHARES`` or `STEADY`, else of a drawn one; its level is 1."""
        if not kind:
            kinds = [one for one in self.shares if self._has(one)]
            weights = np.array([self.shares[one] for one in kinds])
            kind = str(rng.choice(kinds, p=weights / weights.sum()))
        name, made = self._make(kind, samples, rng)
        if kind in ("sounds", "invented") and rng.random() < 0.7:  # seldom nothing else is heard beside them
            made = _level(made) + 10.0 ** (-rng.uniform(3.0, 25.0) / 20.0) * noise(
                rng.choice(("pink", "brown", "fan")), samples, rng
            )
        return name, _level(made)

    def echo(self, dry: Signal, rng: Rng, *, recorded: bool = False) -> tuple[Signal, float]:
        """Return ``dry`` as it sounds in a room, as long as it was, and the room's reverberation time.

        Args:
            dry: float64, shape (n,).
            rng: draws the room.
            recorded: take a recorded room for certain.
        """
        if self.echoes and (recorded or rng.random() < 0.35):
            response = self.echoes[rng.integers(len(self.echoes))]
            size = len(dry) + len(response) - 1
            wet = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(response, size), size)
            return wet[: len(dry)], 0.4
        rt60_s = float(rng.choice(_ECHOES_S))
        return reverberate(dry, rt60_s, int(rng.integers(1 << 20)))[: len(dry)], rt60_s

    def _has(self, kind: str) -> bool:
        needs: dict[str, Sequence[object]] = {"room": self.rooms, "sounds": self.sounds, "voices": self.voices}
        return bool(needs.get(kind, (True,)))

    def _make(self, kind: str, samples: int, rng: Rng) -> tuple[str, Signal]:
        makers: dict[str, Callable[[], Signal]] = {
            "sounds": lambda: scattered(self.sounds, samples, rng),
            "invented": lambda: invented(samples, rng),
            "tune": lambda: tune(samples, rng),
            "babble": lambda: noise("babble", samples, rng),
            "voices": lambda: self._voices(samples, rng),
        }
        if kind == "room":
            name, room = self.rooms[rng.integers(len(self.rooms))]
            return name, np.resize(np.roll(room, -rng.integers(len(room))), samples)
        if kind in makers:
            return kind, makers[kind]()
        name = str(rng.choice(STEADY)) if kind == "steady" else kind
        return name, noise(name, samples, rng)

    def _voices(self, samples: int, rng: Rng) -> Signal:
        """Some people talk all the time, from farther away, each with an own echo."""
        made = np.zeros(samples)
        for _ in range(int(rng.choice(_TALKERS))):
            speech = np.concatenate([self.voices[rng.integers(len(self.voices))] for _ in range(3)])
            speech = np.resize(np.roll(speech, -rng.integers(len(speech))), samples)
            wet, _ = self.echo(speech, rng)
            made += _level(wet) * rng.uniform(0.5, 1.0)
        return made


def _level(signal: Signal) -> Signal:
    return signal / max(float(np.sqrt(np.mean(signal**2))), 1e-9)


def at_level(signal: Signal, rms: float) -> Signal:
    """Return speech with an active level, see `support.speech.active_rms`."""
    return signal * (rms / active_rms(signal))
