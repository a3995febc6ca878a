"""From scenes to what the network learns from: the inputs of every frame, and what the frame is part of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from device.hearing.frames import FRAME_SAMPLES, VAD_SAMPLES
from device.hearing.noise import band_levels
from device.hearing.pipeline import HISTORY_SAMPLES
from device.hearing.segment_inputs import BEFORE, EMBEDDING, STEP, embedding_inputs, frame_inputs, reference_of

if TYPE_CHECKING:
    from device.edges.wakeword.streaming import FeatureStream
    from training.scenes import Heard

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Example:
    """One detection: what was measured about it, and the truth.

    Attributes:
        word: the wake word.
        levels: float16, shape (n, BANDS), from at most 4 s before the detection on.
        embeddings: float16, shape (m, EMBEDDING).
        fired: how many frames there are up to the detection; ``fired_step``: how many embeddings.
        kinds: int8, shape (n,), what each frame is part of.
    """

    word: str
    levels: npt.NDArray[np.float16]
    embeddings: npt.NDArray[np.float16]
    fired: int
    fired_step: int
    kinds: npt.NDArray[np.int8]


def example_of(scene: Heard, stream: FeatureStream) -> Example:
    """Measure what the segmenter would look at.

    Args:
        scene: heard by the wake word's model.
        stream: is reset first.
    """
    wake = scene.detection.wake_sample
    start = max(wake % VAD_SAMPLES, wake - HISTORY_SAMPLES)
    heard = scene.samples[start : start + (len(scene.samples) - start) // VAD_SAMPLES * VAD_SAMPLES]
    fired = (wake - start) // VAD_SAMPLES
    steps = heard[(wake - start) % FRAME_SAMPLES :]
    stream.reset()
    embeddings = stream.features(steps[: len(steps) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES))
    return Example(
        word=scene.detection.word,
        levels=band_levels(heard).astype(np.float16),
        embeddings=embeddings.astype(np.float16),
        fired=fired,
        fired_step=(wake - start) // FRAME_SAMPLES,
        kinds=scene.kinds()[(start - wake % VAD_SAMPLES) // VAD_SAMPLES :][: len(heard) // VAD_SAMPLES],
    )


def inputs_of(example: Example, heard: int, late: int = 0) -> tuple[Array, Array, npt.NDArray[np.int64]]:
    """Return what the network is told of the frames, and what each is part of.

    Args:
        example: one detection.
        heard: so many frames after the detection were heard so far, at most.
        late: act as if the detection had come so many steps of 80 ms later.

    Returns:
        The frames' inputs, the embeddings', and the kinds, shape (n,).
    """
    fired = example.fired + late * STEP
    end = min(fired + heard // STEP * STEP, len(example.levels))
    levels = example.levels[:end].astype(np.float32)
    first = max(fired - BEFORE, 0)
    steps = example.embeddings[: example.fired_step + (end - example.fired) // STEP].astype(np.float32)
    frames = frame_inputs(levels[first:], reference_of(levels[:fired]), first - fired)
    embeddings = embedding_inputs(steps, example.fired_step + late, first - fired, end - first)
    return frames, embeddings, example.kinds[first:end].astype(np.int64)


__all__ = ["EMBEDDING", "Example", "example_of", "inputs_of"]
