"""Wake words with their models, bundled ones and others, each by its own scorer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from device.edges.wakeword import load_scorer
from device.hearing.frames import FRAME_SAMPLES, RATE_HZ
from device.hearing.wake import Detector

if TYPE_CHECKING:
    from pathlib import Path

    from device.hearing.frames import Samples
    from device.hearing.wake import Detection

THRESHOLD = 0.5


class Word:
    """A wake word.

    Args:
        model: a bundled word, or the path of an .onnx file named for what is said.
        cache_dir: see `load_scorer`.

    Raises:
        ModelError: the model cannot be used.
    """

    def __init__(self, model: str, cache_dir: Path) -> None:
        self.scorer = load_scorer((model,), engine="streaming", cache_dir=cache_dir)
        self.name = self.scorer.words[0]
        self.phrase = re.sub(r" v\d.*$", "", re.sub(r"[_.!-]+", " ", self.name)).strip().lower()

    def detect(self, samples: Samples, earliest: int, latest: int) -> Detection | None:
        """Return the first detection between two samples, as the recorder would have it."""
        self.scorer.reset()
        frames = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
        detector = Detector((self.name,), (THRESHOLD,), 1, RATE_HZ)
        for number, row in enumerate(self.scorer.score(frames), 1):
            detection = detector.push(row, number * FRAME_SAMPLES)
            if detection is not None and detection.wake_sample >= earliest:
                return detection if detection.wake_sample <= latest else None
        return None
