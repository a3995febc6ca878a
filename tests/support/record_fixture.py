"""Records a fixture from the microphone and writes its sidecar; `scripts/record-fixture` calls it."""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from device import config
from device.edges.microphone import Block, Microphone
from device.errors import RecorderError
from device.explain import Explanation, explain
from support.recordings import Recording, RequestTruth, Sidecar, write_recording

if TYPE_CHECKING:
    from device.core.frames import Samples

FIXTURES = Path(__file__).parents[1] / "fixtures"


def record(settings: config.Settings, stop: threading.Event) -> Samples:
    """Record from the configured microphone until told to stop.

    Raises:
        RecorderError: there is no such microphone, or it was lost.
    """
    lost: list[str] = []
    blocks: list[Samples] = []
    wanted = settings.microphone
    with Microphone(
        wanted.name, wanted.channel, on_state=lambda state: lost.append(state.reason) if state.name == "lost" else None
    ) as microphone:
        while not stop.is_set():
            match microphone.read(0.1):
                case Block(samples):
                    if not blocks:
                        print("recording; press Enter to end it", file=sys.stderr)
                    blocks.append(samples)
            if lost:
                raise RecorderError(lost[0])
    return np.concatenate(blocks) if blocks else np.zeros(0, np.int16)


def proposed(explanation: Explanation, padding: int, word: str) -> Sidecar:
    """Make a sidecar of what the recorder found: a proposal, to be corrected by ear."""
    requests = tuple(
        RequestTruth(
            wake_end_sample=min(kept.wake_sample, kept.speech_sample),
            start_sample=kept.speech_sample,
            end_sample=max(kept.end_sample - padding, kept.speech_sample + 1),
        )
        for kept in explanation.requests
    )
    return Sidecar(wake_word=word, requests=requests, about="recorded with scripts/record-fixture")


def main() -> int:
    """Record, find the marks, write both files."""
    parser = argparse.ArgumentParser(prog="scripts/record-fixture", description=__doc__)
    parser.add_argument("name", help="the fixture's name")
    parser.add_argument("--wake-word", default="hey_jarvis", help="the word that is said")
    parser.add_argument("--config", type=Path, help="configuration file; its microphone is used")
    parser.add_argument("--out", type=Path, default=FIXTURES, help="the folder; else tests/fixtures")
    arguments = parser.parse_args()
    try:
        loaded = config.load(arguments.config)
        settings = msgspec.structs.replace(
            loaded, wake=msgspec.structs.replace(loaded.wake, words=(arguments.wake_word,))
        )
        stop = threading.Event()
        threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
        samples = record(settings, stop)
        explanation = explain(arguments.name, samples, settings)
    except RecorderError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    truth = proposed(explanation, round(settings.capture.padding_s * 16_000), arguments.wake_word)
    write_recording(Recording(arguments.name, samples, truth), arguments.out)
    print(f"{arguments.out / arguments.name}.wav: {len(samples) / 16_000:.1f} s, requests found: {len(truth.requests)}")
    print(f"listen to it and correct the marks by ear in {arguments.out / arguments.name}.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
