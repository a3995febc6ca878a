"""Pipelines under test, and what they find in a form that can be compared."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

from device.edges.vad import WebrtcVad
from device.hearing.capture import Capture
from device.hearing.confirm import Confirmer
from device.hearing.cut import CutRules
from device.hearing.gate import Gate
from device.hearing.pipeline import Pipeline
from device.hearing.request import Request
from device.hearing.wake import Detector

CAPTURE = SimpleNamespace(pre_roll_s=0.5, silence_s=0.8, no_speech_s=4.0, max_s=15.0, padding_s=0.15)


def build(scorer, *, gated=True, cutting=CAPTURE, gate=None, second=None):
    detector = partial(Detector, scorer.words, (0.5,) * len(scorer.words), patience=1, refractory_samples=16_000)
    gate = gate or (Gate(WebrtcVad(2)) if gated else None)
    confirmer = Confirmer(second, dict.fromkeys(scorer.words, 0.5))
    return Pipeline(scorer, detector, Capture(cutting, scorer.segmenter, CutRules()), gate, confirmer)


def told(events):
    """Events that can be compared: PCM as bytes."""
    return [
        (event.wake_word, event.wake_sample, event.start_sample, event.end_sample, event.ended_by, event.pcm.tobytes())
        if isinstance(event, Request)
        else event
        for event in events
    ]


def requests_of(events):
    return [event for event in events if isinstance(event, Request)]
