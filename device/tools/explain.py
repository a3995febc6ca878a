"""What the recorder would do with a recording, and why: the real pipeline's decisions, and what they were made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from device import build
from device.config import settings as config
from device.hearing.capture import NoSpeech
from device.hearing.confirm import Unconfirmed
from device.hearing.frames import FRAME_SAMPLES, RATE_HZ, VAD_SAMPLES
from device.hearing.noise import band_levels
from device.hearing.pipeline import HISTORY_SAMPLES, Heard
from device.hearing.request import Request
from device.hearing.segment_network import REQUEST, WAKE_WORD
from device.hearing.wake import Detection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device.config.settings import Settings
    from device.hearing.frames import Samples
    from device.hearing.pipeline import Finding
    from device.hearing.wake import WakeScorer

FULL_SCALE_DB = 90.3  # band levels count from white noise with a deviation of 1


class Detected(Struct, frozen=True, kw_only=True):
    """A wake word heard.

    Attributes:
        again: it was heard while a capture was already open.
        threshold: the configuration's, for the score, or for what it comes to with the second model's probability.
        counts: whether it counts: not if the second model makes it too unlikely.
        confirmed: the second model's probability; None: there is none.
        together: how sure both are together; None: there is one model.
    """

    wake_word: str
    score: float
    threshold: float
    wake_sample: int
    again: bool
    counts: bool
    confirmed: float | None
    together: float | None


class Kept(Struct, frozen=True, kw_only=True):
    """A request as it would be stored: what is kept, and where its speech begins."""

    wake_word: str
    wake_sample: int
    start_sample: int
    speech_sample: int
    end_sample: int
    duration_s: float
    ended_by: str


class Nothing(Struct, frozen=True, kw_only=True):
    """A wake word after which nothing was said."""

    wake_word: str
    wake_sample: int
    end_sample: int


class Segmented(Struct, frozen=True, kw_only=True):
    """What the sound about a wake word was taken for, a value each 20 ms.

    Attributes:
        start_sample: where the first value's 20 ms begin, up to 2.5 s before the detection.
        wake_word: the chance that it is part of the wake word, 0 to 1.
        request: the chance that it is part of the request.
        sure: the chance from which on it is taken for that; `[vad] aggressiveness` chooses it.
        level_dbfs: the sound, mean over its bands.
    """

    start_sample: int
    wake_word: list[float]
    request: list[float]
    sure: float
    level_dbfs: list[float]


class Explanation(Struct, frozen=True, kw_only=True):
    """Everything about one recording; sample numbers at 16 kHz.

    Attributes:
        file: its name.
        samples: its length.
        remarks: what is wrong with it, such as a chosen channel that is silent.
        thresholds: by wake word, from which score on it counts, or a second model is asked.
        scores: by wake word, one for each 80 ms, as if no gate were there.
        gate_open: for each 80 ms; all true without a gate.
        detections: in the order of the stream.
        requests: what would be stored.
        no_speech: wake words after which nothing was said.
        segments: what was heard about each wake word.
    """

    file: str
    samples: int
    remarks: list[str]
    thresholds: dict[str, float]
    scores: dict[str, list[float]]
    gate_open: list[bool]
    detections: list[Detected]
    requests: list[Kept]
    no_speech: list[Nothing]
    segments: list[Segmented]


def explain(file: str, samples: Samples, settings: Settings, remarks: Sequence[str] = ()) -> Explanation:
    """Run a recording through the recorder's parts and note what they do.

    Args:
        file: its name.
        samples: int16, shape (n,), 16 kHz mono.
        settings: the configuration.
        remarks: what is wrong with it, as `Recording.remarks` says.
    """
    scorer = build.build_scorer(settings)
    gate_open, events = _events(samples, settings, scorer)
    thresholds = dict(zip(scorer.words, build.first_thresholds(settings), strict=True))
    wanted = dict(zip(scorer.words, config.thresholds(settings.wake), strict=True))
    outcomes = [event for event in events if isinstance(event, Request | NoSpeech)]
    return Explanation(
        file=file,
        samples=len(samples),
        remarks=list(remarks),
        thresholds=thresholds,
        scores=_scores(samples, scorer),
        gate_open=gate_open,
        detections=[_detected(event, wanted) for event in events if isinstance(event, Heard | Unconfirmed)],
        requests=[_kept(event) for event in outcomes if isinstance(event, Request)],
        no_speech=[
            Nothing(wake_word=event.word, wake_sample=event.wake_sample, end_sample=event.end_sample)
            for event in outcomes
            if isinstance(event, NoSpeech)
        ],
        segments=[_segmented(samples, event, settings, scorer) for event in outcomes],
    )


def _events(samples: Samples, settings: Settings, scorer: WakeScorer) -> tuple[list[bool], list[Finding]]:
    pipeline = build.build_pipeline(settings, scorer, build.build_gate() if settings.wake.gate else None)
    gate_open: list[bool] = []
    events: list[Finding] = []
    for start in range(0, len(samples), FRAME_SAMPLES):
        events += pipeline.push(samples[start : start + FRAME_SAMPLES])
        gate_open.append(pipeline.gate_open)
    return gate_open, [*events, *pipeline.finish("end-of-input")]


def _scores(samples: Samples, scorer: WakeScorer) -> dict[str, list[float]]:
    scorer.reset()
    frames = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    rows = [scorer.score(frame[np.newaxis])[0].tolist() for frame in frames]
    return {word: [round(row[column], 5) for row in rows] for column, word in enumerate(scorer.words)}


def _detected(event: Heard | Unconfirmed, thresholds: dict[str, float]) -> Detected:
    return Detected(
        wake_word=event.word,
        score=round(event.score, 5),
        threshold=thresholds[event.word],
        wake_sample=event.wake_sample,
        again=isinstance(event, Heard) and event.again,
        counts=isinstance(event, Heard),
        confirmed=None if event.confirmed is None else round(event.confirmed, 5),
        together=None if event.together is None else round(event.together, 5),
    )


def _kept(request: Request) -> Kept:
    return Kept(
        wake_word=request.wake_word,
        wake_sample=request.wake_sample,
        start_sample=request.start_sample,
        speech_sample=request.speech_sample,
        end_sample=request.end_sample,
        duration_s=len(request.pcm) / RATE_HZ,
        ended_by=request.ended_by,
    )


def _segmented(samples: Samples, outcome: Request | NoSpeech, settings: Settings, scorer: WakeScorer) -> Segmented:
    """Let a fresh segmenter hear what the capture's heard: what it says depends on nothing else."""
    wake = outcome.wake_sample
    word = outcome.wake_word if isinstance(outcome, Request) else outcome.word
    history = samples[max(wake - HISTORY_SAMPLES, 0) : wake]
    segmenter = scorer.segmenter(Detection(word, 1.0, wake), history[len(history) % VAD_SAMPLES :])
    last = min(outcome.end_sample + round(settings.capture.silence_s * RATE_HZ), len(samples))
    segmenter.push(samples[wake : wake + (last - wake) // VAD_SAMPLES * VAD_SAMPLES])
    chances = segmenter.chances
    start = segmenter.start_sample
    levels = band_levels(samples[start : start + len(chances) * VAD_SAMPLES]).mean(axis=1)
    return Segmented(
        start_sample=start,
        wake_word=chances[:, WAKE_WORD].round(3).tolist(),
        request=chances[:, REQUEST].round(3).tolist(),
        sure=build.SURE[settings.vad.aggressiveness],
        level_dbfs=[round(float(level) - FULL_SCALE_DB, 1) for level in levels],
    )


def report_lines(explanation: Explanation) -> list[str]:
    """Say it for people, a line for each thing that happens, in the order of the recording."""
    lines: list[tuple[int, int, str]] = []  # by the detection that led to it: what comes of one stands after it
    outcomes: list[Kept | Nothing] = [*explanation.requests, *explanation.no_speech]
    for detection in explanation.detections:
        again = ""
        if detection.again:
            starts_over = any(outcome.wake_sample == detection.wake_sample for outcome in outcomes)
            again = f"; a capture is open already, {'which starts over' if starts_over else 'so it begins no other'}"
        refused = "" if detection.counts else ", so it does not count"
        text = f"hears {detection.wake_word}: {_sureness(detection)}{refused}{again}"
        lines.append((detection.wake_sample, detection.wake_sample, text))
    for request in explanation.requests:
        ended = {"silence": "silence after it ended it", "max": "it reached [capture] max_s"}
        why = ended.get(request.ended_by, f"ended by {request.ended_by}")
        speech = f"speech begins at {_s(request.speech_sample)} s"
        text = f"keeps {request.duration_s:.2f} s, up to {_s(request.end_sample)} s: {speech}; {why}"
        lines.append((request.wake_sample, request.start_sample, text))
    for nothing in explanation.no_speech:
        text = f"gives up: nothing was said after {nothing.wake_word}; nothing is kept"
        lines.append((nothing.wake_sample, nothing.end_sample, text))
    share = sum(explanation.gate_open) / max(len(explanation.gate_open), 1)
    head = f"{explanation.file}: {explanation.samples / RATE_HZ:.2f} s; the gate is open for {share:.0%} of it"
    happened = [f"{_s(sample):>8} s  {text}" for _, sample, text in sorted(lines, key=lambda line: line[0])]
    return [head, *(f"  warning: {remark}" for remark in explanation.remarks), *happened, *_unheard(explanation)]


def _sureness(detection: Detected) -> str:
    both = ""
    if detection.together is not None:
        both = f", confirmed {detection.confirmed:.2f}, together {detection.together:.2f}"
    return f"score {detection.score:.2f}{both}, threshold {detection.threshold:.2f}"


def _unheard(explanation: Explanation) -> list[str]:
    """Say of a word that was not heard how near its score came."""
    heard = {detection.wake_word for detection in explanation.detections}
    lines = []
    for word, scores in explanation.scores.items():
        if word not in heard and scores:
            peak = int(np.argmax(scores))
            when = _s((peak + 1) * FRAME_SAMPLES)
            text = f"{word} is not heard: its highest score is {scores[peak]:.2f} at {when} s"
            lines.append(f"            {text}, threshold {explanation.thresholds[word]:.2f}")
    return lines


def _s(sample: int) -> str:
    return f"{sample / RATE_HZ:.2f}"
