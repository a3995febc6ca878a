"""What the segmenter looks at in every 20 ms: levels against the room and the wake word, embeddings, the time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from device.hearing.frames import FRAME_SAMPLES, VAD_SAMPLES
from device.hearing.noise import BANDS, room_level

if TYPE_CHECKING:
    from device.hearing.noise import Levels

Array = npt.NDArray[np.float32]

STEP = FRAME_SAMPLES // VAD_SAMPLES  # frames of 20 ms to an embedding
EMBEDDING = 96  # numbers in openwakeword's embedding of 775 ms
AHEAD = 4  # embeddings: the one that ends so much later has the frame in the middle of its 775 ms
BEFORE = 125  # frames before the detection that are segmented: no wake word takes 2.5 s
WORD_FRAMES = 60  # before the detection, among which the wake word's own level is measured
_WORD_SHARE = 0.9
_ROOM_DB, _LEAST_ROOM, _MOST_ROOM = 6.0, -1.0, 8.0  # unit and bounds of a level above the room's
_WORD_DB, _LEAST_WORD, _MOST_WORD = 10.0, -4.0, 2.0  # unit and bounds of a level against the wake word's
_EMBEDDING_UNIT = 10.0
_FAR_S, _NEAR_S, _AT_S = 2.0, 0.3, 0.25  # how finely the time since the detection is resolved: far from it, near, at it
FRAME_INPUTS = 2 * BANDS + 5
EMBEDDING_INPUTS = EMBEDDING + 1


@dataclass(frozen=True, slots=True)
class Reference:
    """What levels are held against, both float32, shape (BANDS,), in dB.

    Attributes:
        room_db: the noise before the wake word.
        word_db: the wake word.
    """

    room_db: Levels
    word_db: Levels


def reference_of(history: Levels) -> Reference:
    """Measure the room and the wake word.

    Args:
        history: float32, shape (n, BANDS), n at least 1, the levels up to the detection.
    """
    word = np.quantile(history[-WORD_FRAMES:], _WORD_SHARE, axis=0).astype(np.float32)
    return Reference(room_level(history), word)


def frame_inputs(levels: Levels, reference: Reference, first: int) -> Array:
    """Return the inputs of frames that each frame has of its own.

    Args:
        levels: float32, shape (n, BANDS).
        reference: what they are held against.
        first: how many frames after the detection (before it, where negative) the first one begins.

    Returns:
        float32, shape (n, FRAME_INPUTS).
    """
    room = np.clip((levels - reference.room_db) / _ROOM_DB, _LEAST_ROOM, _MOST_ROOM)
    word = np.clip((levels - reference.word_db) / _WORD_DB, _LEAST_WORD, _MOST_WORD)
    time_s = ((first + np.arange(len(levels))) * (VAD_SAMPLES / 16_000))[:, np.newaxis]
    times = (
        np.clip(time_s, -_FAR_S, _FAR_S),
        np.clip(time_s / _NEAR_S, -3.0, 3.0),
        np.exp(-((time_s / _AT_S) ** 2)),
        time_s > 0,
    )
    return np.hstack([room, word, word.mean(axis=1, keepdims=True), *times]).astype(np.float32)


def embedding_inputs(embeddings: Array, fired: int, first: int, frames: int) -> Array:
    """Return for every frame the embedding that has it in the middle, and whether there is one.

    Args:
        embeddings: float32, shape (m, EMBEDDING), as far as they were heard.
        fired: how many of them end up to the detection.
        first: how many frames after the detection (before it, where negative) the first frame begins.
        frames: how many frames there are.

    Returns:
        float32, shape (frames, EMBEDDING_INPUTS): zeros where there is none.
    """
    wanted = (first + np.arange(frames)) // STEP + fired + AHEAD
    there = (wanted >= 0) & (wanted < len(embeddings))
    inputs = np.zeros((frames, EMBEDDING_INPUTS), np.float32)
    inputs[there, :EMBEDDING] = embeddings[wanted[there]] / _EMBEDDING_UNIT
    inputs[there, EMBEDDING] = 1.0
    return inputs
