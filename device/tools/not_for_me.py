"""What set the recorder off though nobody meant it: the request goes, the sound of its wake word may stay here.

Each sound is a fixture: a WAV, and beside it a sidecar that says that nothing is to be heard in it.
"""

from __future__ import annotations

import json
import wave
from io import BytesIO
from typing import TYPE_CHECKING

from device.errors import RecorderError
from device.hearing.frames import RATE_HZ
from device.whole_file import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from device.edges.store import Store, Waiting

FOLDER = "not-for-me"  # in the state folder
MOST = 200  # sounds kept, 16 MB; the newest


def refuse(store: Store, request: Waiting, folder: Path | None) -> Path | None:
    """Delete a waiting request that was meant for nobody.

    Args:
        store: has it.
        request: the request.
        folder: the state folder, where the sound of its wake word is to be kept; None: it goes, too.

    Returns:
        The sound's file; None where none is kept.

    Raises:
        RecorderError: the sound cannot be kept; the request still waits.
    """
    kept = _keep(store, request, folder / FOLDER) if folder is not None else None
    store.delete([request.id])
    return kept


def sounds(state_dir: Path, word: str) -> list[Path]:
    """Return the sounds that were kept of a wake word, oldest first."""
    return [path for path in _wavs(state_dir / FOLDER) if _word_of(path) == word]


def _keep(store: Store, request: Waiting, folder: Path) -> Path | None:
    pcm = store.wake_sound(request.id)
    if not pcm:
        return None
    path = folder / f"{request.id}.wav"
    truth = {"wake_word": request.wake_word, "requests": [], "about": "not for the device"}
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        write_whole(path.with_suffix(".json"), json.dumps(truth, indent=2).encode() + b"\n")
        write_whole(path, _wav(pcm))
        for old in _wavs(folder)[:-MOST]:
            old.unlink()
            old.with_suffix(".json").unlink(missing_ok=True)
    except OSError as error:
        raise RecorderError(f"{path} cannot be written: {error.strerror}", hint="the request still waits") from error
    return path


def _wavs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.wav"))  # ids are in the order of time


def _word_of(path: Path) -> str:
    try:
        return str(json.loads(path.with_suffix(".json").read_text())["wake_word"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # none of ours


def _wav(pcm: bytes) -> bytes:
    file = BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        writer.writeframes(pcm)
    return file.getvalue()
