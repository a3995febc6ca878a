"""A loudspeaker: finds one by its name, plays without a break, and knows when each sample leaves it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import soxr

from device.edges.microphone import portaudio
from device.errors import RecorderError
from device.hearing.frames import RATE_HZ

if TYPE_CHECKING:
    import numpy.typing as npt

    from device.hil.alignment import Signal

LATENCY_S = 0.3  # rides out a busy machine; what counts is when a sample is heard, not how soon
BLOCK_S = 0.04
CHANNELS = 2  # at most: a loudspeaker with more is a receiver, whose first two are the ones in front


class LoudspeakerError(RecorderError):
    """There is no such loudspeaker, or it cannot be opened."""

    exit_status = 69


@dataclass(frozen=True, slots=True)
class Output:
    """An output device: PortAudio's number, its name, how many channels it has, its own rate."""

    index: int
    name: str
    channels: int
    rate_hz: int
    is_default: bool


def outputs(sd: Any) -> list[Output]:
    """List the devices that can play, in PortAudio's order; ``sd`` is what `portaudio.initialised` gives."""
    default: int | None = None
    with contextlib.suppress(sd.PortAudioError):  # raised where there is none
        default = sd.query_devices(kind="output")["index"]
    return [
        Output(
            device["index"],
            device["name"],
            device["max_output_channels"],
            round(device["default_samplerate"]),
            device["index"] == default,
        )
        for device in sd.query_devices()
        if device["max_output_channels"] > 0
    ]


def choose(found: list[Output], name: str) -> Output:
    """Find the output that a name means: the whole name before a part of it, in any case; empty: the default.

    Raises:
        LoudspeakerError: there is none; those that there are stand in the error.
    """
    if not name:
        fits = [one for one in found if one.is_default]
    else:
        wanted = name.casefold()
        fits = [one for one in found if one.name.casefold() == wanted]
        fits = fits or [one for one in found if wanted in one.name.casefold()]
    if fits:
        return fits[0]
    names = ", ".join(f'"{one.name}"' for one in found) or "none at all"
    raise LoudspeakerError(
        f'no loudspeaker "{name}"' if name else "this machine has no default loudspeaker",
        hint=f"there are: {names}; name a part of one by --hil-speaker",
    )


class Loudspeaker:
    """Plays what it is given, one sound after another, silence in between; a context manager.

    Args:
        name: a part of the device's name; empty: the system's default.
        rate_hz: the rate to open it at; None: its own.
        channels: how many channels to open; None: two, or the one that there is.
        channel: the only channel that plays, from 1; None: all.
        tone: amplitude of a faint noise under everything, of full scale 1; 0: none.

    Attributes:
        device: its whole name.
        rate_hz: the rate it was opened at.
        underflows: how often this machine was too slow to play.
    """

    def __init__(
        self,
        name: str = "",
        *,
        rate_hz: int | None = None,
        channels: int | None = None,
        channel: int | None = None,
        tone: float = 0.0,
    ) -> None:
        self._name = name
        self._wanted_hz = rate_hz
        self._channels = channels
        self._only = channel
        self._tone = tone
        self._random = np.random.default_rng(0)
        self._waiting: deque[npt.NDArray[np.float32]] = deque()  # guarded by _lock, as all below
        self._lock = threading.Lock()
        self._given = 0  # frames of all that was handed over
        self._taken = 0  # frames of it that went to the device
        self._times: deque[tuple[int, float]] = deque(maxlen=4096)  # a frame, and when it is heard
        self._stack = contextlib.ExitStack()
        self.underflows = 0
        self.device = ""
        self.rate_hz = 0

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            sd = stack.enter_context(portaudio.initialised())
            output = choose(outputs(sd), self._name)
            self.device, self.rate_hz = output.name, self._wanted_hz or output.rate_hz
            channels = self._channels or min(output.channels, CHANNELS)
            if self._only is not None and self._only > channels:
                raise LoudspeakerError(f'"{output.name}" has no channel {self._only}', hint=f"it has {channels}")
            try:
                stack.enter_context(
                    sd.OutputStream(
                        device=output.index,
                        samplerate=self.rate_hz,
                        channels=channels,
                        dtype="float32",
                        blocksize=round(BLOCK_S * self.rate_hz),
                        latency=LATENCY_S,
                        callback=self._fill,
                    )
                )
            except sd.PortAudioError as error:
                raise LoudspeakerError(
                    f'"{output.name}" cannot be opened at {self.rate_hz} Hz: {error}', hint="is it in use?"
                ) from error
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def play(self, sound: Signal) -> Played:
        """Begin to play a sound after those given before, and return at once.

        Args:
            sound: floats, shape (n,), 16 kHz; beyond full scale they are clipped.
        """
        at_rate = sound if self.rate_hz == RATE_HZ else soxr.resample(sound, RATE_HZ, self.rate_hz)
        samples = np.clip(at_rate, -1.0, 1.0).astype(np.float32)
        with self._lock:
            first = self._given
            self._given += len(samples)
            self._waiting.append(samples)
        return Played(self, first, len(sound))

    def time_of(self, frame: float) -> float | None:
        """Return when a frame handed over is heard, by the system's monotonic clock; None: not yet known."""
        with self._lock:
            if frame > self._taken or not self._times:
                return None
            times = list(self._times)
        before = [one for one in times if one[0] <= frame]
        at, when = before[-1] if before else times[0]
        return when + (frame - at) / self.rate_hz

    def _fill(self, out: npt.NDArray[np.float32], count: int, clock: Any, status: Any) -> None:
        """Hand over the next samples; PortAudio's callback."""
        heard_s = time.monotonic() + (clock.outputBufferDacTime - clock.currentTime)
        mono = np.zeros(count, np.float32)
        filled = 0
        with self._lock:
            if status.output_underflow and self._waiting:
                self.underflows += 1
            if self._waiting:
                self._times.append((self._taken, heard_s))
            while self._waiting and filled < count:
                part = self._waiting[0][: count - filled]
                mono[filled : filled + len(part)] = part
                filled += len(part)
                if len(part) == len(self._waiting[0]):
                    self._waiting.popleft()
                else:
                    self._waiting[0] = self._waiting[0][len(part) :]
            self._taken += filled
        if self._tone:
            mono += self._random.uniform(-self._tone, self._tone, count).astype(np.float32)
        out[:] = 0
        if self._only is None:
            out[:] = mono[:, None]
        else:
            out[:, self._only - 1] = mono


@dataclass(frozen=True, slots=True)
class Played:
    """A sound that was handed over to a loudspeaker.

    Attributes:
        speaker: the loudspeaker.
        first: its first frame there.
        samples: its length at 16 kHz.
    """

    speaker: Loudspeaker
    first: int
    samples: int

    def time_of(self, sample: float) -> float | None:
        """Return when a sample of the sound, at 16 kHz, is heard; None: not yet known."""
        return self.speaker.time_of(self.first + sample * self.speaker.rate_hz / RATE_HZ)

    def wait(self, timeout_s: float) -> float:
        """Wait until the last sample is out; return when it is heard.

        Raises:
            LoudspeakerError: the device takes nothing any more.
        """
        deadline_s = time.monotonic() + timeout_s + self.samples / RATE_HZ
        while (end_s := self.time_of(self.samples)) is None:
            if time.monotonic() > deadline_s:
                raise LoudspeakerError(f'"{self.speaker.device}" stopped playing', hint="was it unplugged?")
            time.sleep(0.01)
        return end_s
