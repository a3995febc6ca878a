"""Writes recordings with known truth, as `device.hil.recordings` reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import soundfile

from device.errors import RecordingError
from device.hearing.frames import RATE_HZ

if TYPE_CHECKING:
    from pathlib import Path

    from device.hil.recordings import Recording, Sidecar


def write_recording(recording: Recording, folder: Path) -> None:
    """Write ``NAME.wav`` (16 kHz, mono, 16-bit) and ``NAME.json``.

    Raises:
        RecordingError: one of them cannot be written.
    """
    try:
        soundfile.write(folder / f"{recording.name}.wav", recording.samples, RATE_HZ, subtype="PCM_16")
        write_sidecar(recording.truth, folder / f"{recording.name}.json")
    except (OSError, soundfile.LibsndfileError) as error:
        raise RecordingError(f"{recording.name} cannot be written: {error}", hint=f"look at {folder}") from error


def write_sidecar(truth: Sidecar, path: Path) -> None:
    """Write a sidecar, one key a line."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(truth), indent=2) + b"\n")
