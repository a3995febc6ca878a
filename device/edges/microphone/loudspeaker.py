"""A sound file played through one of PortAudio's outputs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from device.edges.microphone import portaudio
from device.edges.microphone.inputs import label_of
from device.errors import RecorderError

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT = "default"
MOST_S = 240.0  # what is longer is cut
_STEP_S = 0.1  # how soon an interruption is seen
_LATENCY_S = 0.2
_USUAL_HZ = 48_000


class Sound:
    """A sound file, decoded.

    Args:
        content: any format that libsndfile reads.

    Attributes:
        samples: int16, shape (n, channels).
        rate_hz: their rate.

    Raises:
        RecorderError: it is none.
    """

    def __init__(self, content: bytes) -> None:
        import soundfile

        try:
            with soundfile.SoundFile(io.BytesIO(content)) as file:
                self.rate_hz = file.samplerate
                self.samples = file.read(int(MOST_S * file.samplerate), dtype="int16", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise RecorderError(f"what is to be played is no sound file: {error.error_string}") from error

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / float(self.rate_hz)

    def play(self, name: str, interrupted: Callable[[], bool]) -> bool:
        """Play it, and return whether it was played to its end.

        Args:
            name: a part of the output's name; ``default``: the system's default.
            interrupted: asked some times a second; true ends it at once.

        Raises:
            MicrophoneUnavailableError: PortAudio is missing, or failed.
            RecorderError: there is no such output.
        """
        with portaudio.initialised() as sd:
            device = _output(sd, name)
            samples, rate_hz = self._for(sd, device)
            with sd.OutputStream(
                device=device["index"], samplerate=rate_hz, channels=samples.shape[1], dtype="int16", latency=_LATENCY_S
            ) as stream:
                step = int(_STEP_S * rate_hz)
                for start in range(0, len(samples), step):
                    if interrupted():
                        stream.abort()
                        return False
                    stream.write(samples[start : start + step])
        return True  # the stream's end waited for what was written

    def _for(self, sd: Any, device: dict[str, Any]) -> tuple[Any, int]:
        """Return the samples at a rate and with channels that an output takes."""
        channels = min(2, device["max_output_channels"])
        mono = self.samples.mean(axis=1).astype(np.int16)
        samples = np.ascontiguousarray(np.repeat(mono[:, None], channels, axis=1))
        try:
            sd.check_output_settings(device["index"], channels, "int16", samplerate=self.rate_hz)
        except sd.PortAudioError:
            import soxr

            rate_hz = int(device["default_samplerate"]) or _USUAL_HZ
            return soxr.resample(samples, self.rate_hz, rate_hz), rate_hz
        return samples, self.rate_hz


def _output(sd: Any, name: str) -> dict[str, Any]:
    outputs = [device for device in sd.query_devices() if device["max_output_channels"] > 0]
    if name == DEFAULT and outputs:
        default: dict[str, Any] = sd.query_devices(kind="output")
        return default
    for device in outputs:
        if name.casefold() in device["name"].casefold():
            found: dict[str, Any] = device
            return found
    names = ", ".join(dict.fromkeys(label_of(device["name"]) for device in outputs))
    raise RecorderError(f"no output device has {name!r} in its name", hint=f"found: {names or 'none'}")
