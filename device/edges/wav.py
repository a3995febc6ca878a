"""Recordings as a source of blocks: any format soundfile reads, any usual rate, one channel, as 16 kHz int16."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from device.errors import RecordingError
from device.hearing.frames import RATE_HZ
from device.hearing.sound import Sound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt
    import soundfile

    from device.hearing.frames import Samples

    Floats = npt.NDArray[np.float32]

MIN_RATE_HZ = 4_000
MAX_RATE_HZ = 384_000
BLOCK_S = 1.0  # long enough for the calls to cost nothing beside the samples, short enough for a flat memory
MAX_BLOCK_SAMPLES = 1_000_000  # of all channels: a header can claim a thousand of them

log = logging.getLogger(__name__)


class AudioFile:
    """One recording; each iteration reads it from its start.

    Args:
        path: the file.
        channel: which channel of several, counted from 1; a mono file gives its one channel whatever is asked.
    """

    def __init__(self, path: Path, channel: int = 1) -> None:
        self.path = path
        self.channel = channel
        self._sound = Sound()
        self._column = 1

    @property
    def remarks(self) -> list[str]:
        """What is wrong with what was read of it last, a line each: another channel holds the sound, it clips, …."""
        return self._sound.remarks(self._column)

    def __iter__(self) -> Iterator[Samples]:
        """Yield the recording as int16 blocks, shape (n,), n up to about a second at 16 kHz, each a new array.

        16-bit audio at 16 kHz passes bit for bit; resampled audio is as long as the original to within one sample.

        Raises:
            RecordingError: the file cannot be read, is no audio, or has no such channel.
        """
        with self._opened() as file:
            yield from self._samples(file)

    def look(self) -> None:
        """Look whether it can be read, by its header alone; what can be read but once (a pipe) is left for that.

        Raises:
            RecordingError: as when it is read.
        """
        if not (self.path.is_fifo() or self.path.is_char_device()):
            with self._opened() as file:
                if not file.frames:
                    raise self._empty()

    @contextmanager
    def _opened(self) -> Iterator[soundfile.SoundFile]:
        """Open it; whatever libsndfile complains of in the block is an error of this recording."""
        import soundfile

        try:
            # By number, not by name: soundfile takes a name that ends in .raw for headerless audio.
            with (
                self.path.open("rb") as opened,
                soundfile.SoundFile(opened.fileno(), closefd=False) as file,
            ):
                self._refuse_unusual(file)
                yield file
        except OSError as error:
            raise self._unreadable(error.strerror or str(error), "name a readable audio file") from error
        except soundfile.LibsndfileError as error:
            reason = error.error_string.removeprefix("Error : ").rstrip(".").lower()
            raise self._unreadable(f"not read as audio ({reason})", "WAV, FLAC or OGG is expected") from error

    def _refuse_unusual(self, file: soundfile.SoundFile) -> None:
        rate, channels = file.samplerate, file.channels
        if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
            raise self._unreadable(f"rate {rate} Hz", f"{MIN_RATE_HZ} to {MAX_RATE_HZ} Hz can be resampled")
        if channels > 1 and self.channel > channels:
            raise self._unreadable(f"no channel {self.channel}", f"it has channels 1 to {channels}")

    def _empty(self) -> RecordingError:
        return self._unreadable("holds no audio", "record again, or leave it out")

    def _unreadable(self, reason: str, hint: str) -> RecordingError:
        return RecordingError(f"recording {str(self.path)!r}: {reason}", hint=hint)

    def _samples(self, file: soundfile.SoundFile) -> Iterator[Samples]:
        rate, channels = file.samplerate, file.channels
        column = min(self.channel, channels) - 1
        self._sound, self._column = Sound(), column + 1
        blocks: Iterator[Samples]
        if rate == RATE_HZ and file.subtype == "PCM_16":
            # As it is: by way of floats, reading an hour would cost twice what the gate needs for a quiet one.
            blocks = (block[:, column].copy() for block in self._blocks(file, np.dtype(np.int16)))
        else:
            # Floats for every other format: asked for int16, soundfile would not scale float files.
            sounds = (_sound(block[:, column]) for block in self._blocks(file, np.dtype(np.float32)))
            blocks = (_int16(block) for block in (sounds if rate == RATE_HZ else _resampled(sounds, rate)))
        empty = True
        for block in blocks:
            if len(block):
                empty = False
                yield block
        if empty:
            raise self._empty()

    def _blocks(self, file: soundfile.SoundFile, kind: np.dtype[Any]) -> Iterator[npt.NDArray[Any]]:
        """Yield blocks of a numpy type, shape (n, channels), each valid until the next.

        Of damaged audio, what stands before the damage is given, and the log says where that was.
        """
        import soundfile

        frames = max(1, min(int(file.samplerate * BLOCK_S), MAX_BLOCK_SAMPLES // file.channels))
        room = np.empty((frames, file.channels), kind)
        position = 0
        damage = ""
        while not damage:
            try:
                count = len(file.read(out=room))
            except soundfile.LibsndfileError as error:
                damage = error.error_string
                count = file.tell() - position  # what came before the error is in the buffer
            if not count:
                break
            position += count
            self._sound.add(room[:count])
            yield room[:count]
        if damage:
            seconds = position / file.samplerate
            log.warning(
                "recording %r: damaged after %.1f s, the rest is left out (%s)", str(self.path), seconds, damage
            )


def _sound(block: Floats) -> Floats:
    """Limit floats to -1 to 1, in place: one that is no number would silence all that a filter holds."""
    np.nan_to_num(block, copy=False)
    return np.clip(block, -1.0, 1.0, out=block)


def _resampled(blocks: Iterator[Floats], rate_hz: int) -> Iterator[Floats]:
    """Yield the same audio at 16 kHz; what the filter still holds at the end comes as a last block."""
    import soxr

    stream = soxr.ResampleStream(rate_hz, RATE_HZ, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def _int16(block: Floats) -> Samples:
    """Round floats within about -1 to 1 to int16; a filter's overshoot is clipped."""
    scaled: Floats = np.rint(block * np.float32(32_768))
    return scaled.clip(-32_768, 32_767).astype(np.int16)
