"""What is heard, and how soon: latencies in audio and real time, detections beside openwakeword's, allocations."""

from __future__ import annotations

import gc
import statistics
import time
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
from support.broker import Broker, Listener
from support.daemon import Daemon, Device
from support.scenes import render, sample_scenes

from bench import sounds
from bench.figures import Figure, limited
from bench.others import ENGINES, detections
from device import build
from device.config import settings as config
from device.config.sections import WakeSettings
from device.edges.wakeword import load_scorer
from device.hearing.frames import FRAME_SAMPLES, RATE_HZ, samples_of
from device.hearing.pipeline import Heard
from device.hearing.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from device.hearing.frames import Samples
    from device.hearing.pipeline import Finding, Pipeline
    from device.hearing.wake import WakeScorer
    from device.hil.recordings import Recording

LATE_S = 1.5  # a detection counts for a wake word up to this long after its end
FRAME_MS = FRAME_SAMPLES / RATE_HZ * 1000


def pipeline(scorer: WakeScorer, *, gate: bool) -> Pipeline:
    """Return the daemon's pipeline with a scorer, all else being the configuration's defaults."""
    settings = config.Settings(wake=WakeSettings(words=scorer.words))
    return build.build_pipeline(settings, scorer, build.build_gate() if gate else None)


def hear(listener: Pipeline, samples: Samples) -> list[tuple[Finding, int]]:
    """Return what a pipeline says of a recording, each event with the stream position at which it is said."""
    said = []
    for start in range(0, len(samples), FRAME_SAMPLES):
        events = listener.push(samples[start : start + FRAME_SAMPLES])
        said += [(event, listener.position) for event in events]
    end = listener.position
    return said + [(event, end) for event in listener.finish("end-of-input")]


def audio_latency(recordings: Sequence[Recording]) -> Iterator[Figure]:
    """Yield how long after the wake word's end it is detected, in audio time, gated and not; the gate may add a frame.

    Args:
        recordings: their wake words count as far as both hear them.
    """
    section = "Wake word's end to detection, audio time (median over recordings)"
    scorer = load_scorer(["hey_jarvis", "alexa"], engine="streaming", cache_dir=None)
    delays: dict[bool, list[float]] = {True: [], False: []}
    for gate, found in delays.items():
        for recording in recordings:
            heard = [event for event, _ in hear(pipeline(scorer, gate=gate), recording.samples)]
            detected = [event.wake_sample for event in heard if isinstance(event, Heard)]
            for request in recording.truth.requests:
                after = [sample - request.wake_end_sample for sample in detected]
                near = [late / RATE_HZ * 1000 for late in after if -0.5 < late / RATE_HZ < LATE_S]
                found.append(near[0] if near else float("nan"))
    added = max(abs(gated - ungated) for gated, ungated in zip(*delays.values(), strict=True) if gated == gated)
    same = np.array_equal(delays[True], delays[False], equal_nan=True)
    detail = f"of {len(delays[True])} wake words, {np.isnan(delays[True]).sum()} unheard"
    yield limited(section, "with the gate", float(np.nanmedian(delays[True])), "ms")
    yield limited(section, "without", float(np.nanmedian(delays[False])), "ms", detail=detail)
    yield Figure(
        section=section, name="most that the gate adds", value=added, unit="ms", target="0", reached=bool(same)
    )


def real_latency(folder: Path, wav: Path, recording: Recording, rounds: int) -> Iterator[Figure]:
    """Yield the daemon's own part of each latency: what passes in real time beyond the audio that decides.

    Args:
        folder: for all files.
        wav: a recording of a wake word and a request.
        recording: the same with its truth.
        rounds: how often it is said.
    """
    (request,) = recording.truth.requests
    scorer = load_scorer(["hey_jarvis"], engine="streaming", cache_dir=None)
    said = hear(pipeline(scorer, gate=True), recording.samples)
    decided_at = next(position for event, position in said if isinstance(event, Request))
    quiet = sounds.write(folder / "quiet.wav", sounds.quiet_room(0.5))
    times: dict[str, list[float]] = {"wake": [], "stored": [], "sent": [], "all": []}
    with Broker(folder) as broker, Listener(broker.port, "wakeword/#"):
        inputs = [argument for path in [quiet] + [wav] * rounds for argument in ("--input", path)]
        with Daemon(Device(folder, broker.port), *inputs, "--pace", "realtime") as daemon:
            daemon.wait_for("input")
            for _ in range(rounds):
                daemon.wait_for("input")
                began = time.monotonic()
                wake_sample = daemon.wait_for("wake")["wake_sample"]
                times["wake"].append(time.monotonic() - began - wake_sample / RATE_HZ)
                daemon.wait_for("stored")
                stored = time.monotonic()
                times["stored"].append(stored - began - decided_at / RATE_HZ)
                daemon.wait_for("sent")
                times["sent"].append(time.monotonic() - stored)
                times["all"].append(time.monotonic() - began - request.end_sample / RATE_HZ)
    milliseconds = {name: statistics.median(values) * 1000 for name, values in times.items()}
    section = "Real time, mosquitto on the same machine (median)"
    yield limited(section, "frame's end to the event `wake`", milliseconds["wake"], "ms")
    yield limited(section, "end of speech to acknowledgement", milliseconds["all"], "ms")
    waited = (decided_at - request.end_sample) / RATE_HZ * 1000
    yield limited(section, "of it the silence that ends a request", waited, "ms")
    yield limited(section, "of it until committed to disk", milliseconds["stored"], "ms")
    yield limited(section, "of it until acknowledged", milliseconds["sent"], "ms")


def allocation(frames: int) -> Iterator[Figure]:
    """Yield the memory that a frame leaves behind in the steady state, and the most it needs for a moment.

    Args:
        frames: how many are heard.
    """
    section = "Python and numpy memory per frame in the steady state"
    scorer = load_scorer(["hey_jarvis"], engine="streaming", cache_dir=None)
    seconds = frames * FRAME_SAMPLES / RATE_HZ
    for name, sound in {"quiet room": sounds.quiet_room, "continuous speech": sounds.continuous_speech}.items():
        listener = pipeline(scorer, gate=True)
        blocks = sound(seconds)[: samples_of(seconds)].reshape(-1, FRAME_SAMPLES)
        _listen(listener, blocks)
        gc.collect()
        tracemalloc.start()
        try:
            _listen(listener, blocks[: len(blocks) // 4])
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            _listen(listener, blocks)
            peak = tracemalloc.get_traced_memory()[1]
            gc.collect()
            kept = (tracemalloc.get_traced_memory()[0] - before) / len(blocks)
        finally:
            tracemalloc.stop()
        yield limited(section, f"kept, {name}", kept, "bytes", 1)
        yield limited(section, f"for a moment, {name}", (peak - before) / 1000, "kB")


def _listen(listener: Pipeline, blocks: Samples) -> None:
    for block in blocks:
        for _ in listener.push(block):
            pass


class Tally:
    """How many of the wake words were heard, and what was heard besides."""

    def __init__(self) -> None:
        self.said = self.heard = self.wrong = 0

    def count(self, recording: Recording, detected: Sequence[tuple[str, int]]) -> None:
        """Count one recording's detections, (word, position) each."""
        expected = [(recording.truth.wake_word, request) for request in recording.truth.requests]
        hits = 0
        for word, request in expected:
            start, latest = request.wake_start_sample or 0, request.wake_end_sample + samples_of(LATE_S)
            hits += any(name == word and start < sample <= latest for name, sample in detected)
        self.said += len(expected)
        self.heard += hits
        self.wrong += len(detected) - hits


def recall(size: int, seed: int) -> Iterator[Figure]:
    """Yield who hears how many wake words of a noisy corpus, and whether the daemon's detections are the Model's.

    Args:
        size: how many recordings.
        seed: of the corpus.
    """
    words = ["hey_jarvis", "alexa"]
    daemon = pipeline(load_scorer(words, engine="streaming", cache_dir=None), gate=True)
    model = pipeline(load_scorer(words, engine="reference", cache_dir=None), gate=False)
    tallies = {name: Tally() for name in ("wakeword-recorder", *ENGINES)}
    differing = 0
    for name, word, scene in sample_scenes(size, seed):
        recording = render(scene, name, wake_word=word)
        ours, theirs = (
            [
                (event.word, event.wake_sample)
                for event, _ in hear(listener, recording.samples)
                if isinstance(event, Heard)
            ]
            for listener in (daemon, model)
        )
        differing += ours != theirs
        found = {"wakeword-recorder": ours, "openwakeword": theirs}
        pcm = recording.samples.tobytes()
        for other in ("pyopen-wakeword", "microWakeWord"):
            found[other] = [(word, sample) for sample in detections(ENGINES[other](word), pcm)]
        for engine, detected in found.items():
            tallies[engine].count(recording, detected)
    section = f"Wake words heard of {size} in noise and rooms (seed {seed})"
    for engine, tally in tallies.items():
        told = "openwakeword, no gate" if engine == "openwakeword" else engine
        yield limited(section, f"{told}; {tally.wrong} false", tally.heard, "heard")
    yield Figure(
        section=section,
        name="recordings detected otherwise than by openwakeword",
        value=differing,
        unit="",
        target="0",
        reached=differing == 0,
    )
