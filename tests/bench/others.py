"""The other ways to hear a wake word, each as its own documentation uses it; run as a program, it hears a WAV.

``python -m bench.others ENGINE WAV`` hears the recording in chunks of 80 ms and prints JSON: the detections' positions,
and the seconds from the process's first statement to the first chunk.
"""

from __future__ import annotations

import time

_BEGAN = time.monotonic()

import json  # noqa: E402 - the clock starts before what is imported
import sys  # noqa: E402
import wave  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK_SAMPLES = 1_280
THRESHOLD = 0.5
REFRACTORY_CHUNKS = 13  # 1 s


def openwakeword(word: str) -> Callable[[bytes], bool]:
    """The Model of openwakeword, as its README has it."""
    import warnings

    import numpy as np

    warnings.simplefilter("ignore")
    import openwakeword as package
    from openwakeword.model import Model

    paths = [path for path in package.get_pretrained_model_paths() if word in path]
    model = Model(wakeword_model_paths=paths)
    return lambda chunk: max(model.predict(np.frombuffer(chunk, np.int16)).values()) >= THRESHOLD


def pyopen_wakeword(word: str) -> Callable[[bytes], bool]:
    """The package pyopen-wakeword: the same networks in TensorFlow Lite."""
    from pyopen_wakeword import Model, OpenWakeWord, OpenWakeWordFeatures

    model = OpenWakeWord.from_builtin(Model(word))
    features = OpenWakeWordFeatures.from_builtin()

    def hear(chunk: bytes) -> bool:
        scores = [score for step in features.process_streaming(chunk) for score in model.process_streaming(step)]
        return max(scores, default=0.0) >= THRESHOLD

    return hear


def micro_wakeword(word: str) -> Callable[[bytes], bool]:
    """The package pymicro-wakeword: a small quantised network on features of its own."""
    from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model

    model = MicroWakeWord.from_builtin(Model(word))
    features = MicroWakeWordFeatures()

    def hear(chunk: bytes) -> bool:
        # All steps, also those after a detection: what is not heard is missing in the network's state.
        heard = [model.process_streaming(step) for step in features.process_streaming(chunk)]
        return any(heard)

    return hear


ENGINES = {"openwakeword": openwakeword, "pyopen-wakeword": pyopen_wakeword, "microWakeWord": micro_wakeword}


def detections(hear: Callable[[bytes], bool], pcm: bytes) -> list[int]:
    """Return the positions, in samples, where the word was heard, a second apart at least."""
    found: list[int] = []
    size = 2 * CHUNK_SAMPLES
    wait_until = 0
    for number, start in enumerate(range(0, len(pcm) - size + 1, size), 1):
        if hear(pcm[start : start + size]) and number >= wait_until:
            found.append(number * CHUNK_SAMPLES)
            wait_until = number + REFRACTORY_CHUNKS
    return found


def main() -> int:
    """Hear a recording with an engine; return the exit status."""
    name, path = sys.argv[1:3]
    hear = ENGINES[name]("hey_jarvis")
    loaded_s = time.monotonic() - _BEGAN
    with wave.open(path) as file:
        pcm = file.readframes(file.getnframes())
    print(json.dumps({"detections": detections(hear, pcm), "loaded_s": loaded_s}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
