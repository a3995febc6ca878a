"""A folder of recordings of people, rooms and echoes with a manifest, split into those learnt from and those judged on.

The manifest (``manifest.json``) is a list of objects: ``file``, relative; ``kind``: ``wake word``, ``request``,
``other word``, ``room`` or ``impulse response``; where speech is known, ``start_sample`` and ``end_sample`` (within
25 dB of the peak) and ``faint_start_sample`` and ``faint_end_sample`` (within 35 dB); for a wake word, ``word``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import soundfile

from device.hearing.frames import RATE_HZ

if TYPE_CHECKING:
    from support.speech import Signal

Side = Literal["learn", "judge"]

JUDGED = 0.3  # of each folder, the last by name: whoever said several has neighbouring numbers
JUDGED_ROOM = 0.4  # of a room's recording that is learnt from, its end is only judged on
CLEAR_DB, FAINT_DB = 25.0, 35.0
_WINDOW = RATE_HZ // 100
_FADE_IN, _FADE_OUT = RATE_HZ * 3 // 100, RATE_HZ * 6 // 100  # the recording's own noise begins and ends without a step


@dataclass(frozen=True, slots=True)
class Said:
    """One thing said: its sound, and where in it speech is clear and where it is only faint.

    Attributes:
        signal: float64, shape (n,).
        start: where what is within 25 dB of the peak begins; ``end``: where it ends.
        faint_start: where what is within 35 dB begins; ``faint_end``: where it ends.
        name: who or what said it.
    """

    signal: Signal
    start: int
    end: int
    faint_start: int
    faint_end: int
    name: str


class People:
    """Recordings of people and rooms, by side.

    Args:
        folder: with its ``manifest.json``.
        side: which of them.

    Raises:
        OSError: the manifest or a recording cannot be read.
    """

    def __init__(self, folder: Path, side: Side) -> None:
        self._folder = folder
        listed = json.loads((folder / "manifest.json").read_text())
        listed.sort(key=lambda entry: entry["file"])
        chosen: list[dict[str, Any]] = []
        for _, group in groupby(listed, key=lambda entry: Path(entry["file"]).parent):
            entries = list(group)
            first_judged = len(entries) - max(round(len(entries) * JUDGED), 1)
            chosen += entries[first_judged:] if side == "judge" else entries[:first_judged]
        self._entries = chosen
        rooms = [entry for entry in listed if entry["kind"] == "room"]
        learnt = [entry for entry in chosen if entry["kind"] == "room"] if side == "learn" else []
        judged_parts = [entry for entry in rooms if entry not in self._of("room")] if side == "judge" else []
        self.rooms = [self._part(entry, 0.0, 1.0 - JUDGED_ROOM) for entry in learnt]
        if side == "judge":
            self.rooms = [self._part(entry, 1.0 - JUDGED_ROOM, 1.0) for entry in judged_parts]
            self.rooms += [self._part(entry, 0.0, 1.0) for entry in self._of("room")]
        self.echoes = [_direct_first(self._sound(entry["file"])) for entry in self._of("impulse response")]

    def words(self, word: str) -> list[dict[str, Any]]:
        """Return the recordings of a wake word: of the word itself, or of its last part ("jarvis")."""
        return [one for one in self._of("wake word") if word.replace("_", " ").endswith(one["word"])]

    def requests(self) -> list[dict[str, Any]]:
        """Return the recordings of requests."""
        return self._of("request")

    def others(self) -> list[dict[str, Any]]:
        """Return the recordings of other words."""
        return self._of("other word")

    def say(self, entry: dict[str, Any]) -> Said:
        """Return what is said in a recording, with little around it, faded in and out."""
        signal = self._sound(entry["file"])
        if "start_sample" in entry:
            start, end = entry["start_sample"], entry["end_sample"]
            faint_start, faint_end = entry["faint_start_sample"], entry["faint_end_sample"]
        else:
            (start, end), (faint_start, faint_end) = bounds(signal, CLEAR_DB), bounds(signal, FAINT_DB)
        faint_start, faint_end = min(start, faint_start), max(end, faint_end)
        first, last = max(faint_start - _FADE_IN, 0), min(faint_end + _FADE_OUT, len(signal))
        cut = signal[first:last] - signal[first:last].mean()
        fade_in, fade_out = faint_start - first, last - faint_end
        cut[:fade_in] *= np.linspace(0.0, 1.0, fade_in, endpoint=False)
        cut[len(cut) - fade_out :] *= np.linspace(1.0, 0.0, fade_out)
        return Said(cut, start - first, end - first, faint_start - first, faint_end - first, entry["file"])

    def _of(self, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in self._entries if entry["kind"] == kind]

    def _part(self, entry: dict[str, Any], start: float, end: float) -> tuple[str, Signal]:
        signal = self._sound(entry["file"])
        part = signal[int(start * len(signal)) : int(end * len(signal))]
        return Path(entry["file"]).stem, part - part.mean()

    def _sound(self, file: str) -> Signal:
        return read(self._folder / file)


@lru_cache(maxsize=2048)
def read(path: Path) -> Signal:
    """Return a recording of 16 kHz, float64, shape (n,), read-only.

    Raises:
        OSError: it cannot be read.
        ValueError: it has another rate, or more than one channel.
    """
    signal, rate_hz = soundfile.read(path, dtype="float64")
    if rate_hz != RATE_HZ or signal.ndim != 1:
        raise ValueError(f"{path}: must be mono at 16 kHz")
    signal.flags.writeable = False
    return np.asarray(signal, np.float64)


def bounds(signal: Signal, below_db: float) -> tuple[int, int]:
    """Return the first and the last sample (exclusive) of the 10 ms windows within ``below_db`` of the loudest one."""
    windows = signal[: len(signal) // _WINDOW * _WINDOW].reshape(-1, _WINDOW)
    levels = np.sqrt(np.mean(windows**2, axis=1))
    loud = np.flatnonzero(levels > levels.max() * 10.0 ** (-below_db / 20.0))
    return int(loud[0]) * _WINDOW, (int(loud[-1]) + 1) * _WINDOW


def _direct_first(response: Signal) -> Signal:
    """Return an impulse response from its direct sound on, which is 1.0."""
    first = int(np.argmax(np.abs(response)))
    return response[first:] / abs(response[first])
