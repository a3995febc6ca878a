"""How well requests are cut: ours, and plain voice activity detectors in the same place, against the truth."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from device.edges.vad import WebrtcVad
from device.hearing.capture import Capture
from device.hearing.cut import CutRules
from device.hearing.frames import FRAME_SAMPLES, RATE_HZ, VAD_SAMPLES, Samples, samples_of
from device.hearing.pipeline import HISTORY_SAMPLES
from device.hearing.request import Request
from device.hearing.wake import Detection, Detector
from support.scenes import render

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from device.hearing.wake import WakeScorer
    from support.scenes import Scene

DEFAULTS = SimpleNamespace(pre_roll_s=0.5, silence_s=0.8, no_speech_s=4.0, max_s=15.0, padding_s=0.15)
THRESHOLD = 0.5
RULES = CutRules()
SILERO_SAMPLES = 480  # openwakeword's chunk for its Silero model
_LATEST_S = 1.0  # a detection later than this after the wake word is one of something else


@dataclass(frozen=True, slots=True)
class Heard:
    """A recording whose wake word was detected.

    Attributes:
        group: what it is counted with.
        samples: int16, shape (n,).
        wake_end_sample: where the wake word ends.
        request: where the request starts and ends; None: it is a bare wake word.
        detection: the wake word's.
    """

    group: str
    samples: Samples
    wake_end_sample: int
    request: tuple[int, int] | None
    detection: Detection


@dataclass(frozen=True, slots=True)
class Cut:
    """What was kept, in samples of the stream, and what ended it."""

    start: int
    end: int
    ended_by: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How a number of recordings were cut; counts, and medians in seconds.

    Attributes:
        requests: how many there were.
        missing: nothing came out.
        start_cut: over 30 ms of the beginning are missing.
        end_cut: over 30 ms of the end are missing.
        end_late: the end is over 0.5 s late, or silence did not end it.
        wake_left: over 0.2 s of the wake word stayed in.
        bare: how many bare wake words there were.
        bare_kept: something came out of them.
        start_excess_s: the median of what was kept before the request.
        end_excess_s: the median of what was kept after it.
    """

    requests: int
    missing: int
    start_cut: int
    end_cut: int
    end_late: int
    wake_left: int
    bare: int
    bare_kept: int
    start_excess_s: float
    end_excess_s: float


def hear_all(scenes: Iterable[tuple[str, str, Scene]], scorer: WakeScorer) -> Iterator[Heard]:
    """Render scenes and yield those whose wake word is detected, by noise and level."""
    for name, word, scene in scenes:
        recording = render(scene, name, wake_word=word)
        bare = not recording.truth.requests
        wake_end = recording.truth.bare_wakes[0].end_sample if bare else recording.truth.requests[0].wake_end_sample
        detection = detect(recording.samples, word, wake_end, scorer)
        if detection is not None:
            said = None if bare else recording.truth.requests[0]
            request = said and (said.start_sample, said.end_sample)
            yield Heard(f"{scene.noise}, {scene.snr_db:g} dB", recording.samples, wake_end, request, detection)


def detect(samples: Samples, word: str, wake_end: int, scorer: WakeScorer) -> Detection | None:
    """Return the first detection of the word that is spoken up to ``wake_end``."""
    scorer.reset()
    scores = scorer.score(samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES))
    detector = Detector((word,), (THRESHOLD,), 1, RATE_HZ)
    column = scorer.words.index(word)
    for number, row in enumerate(scores, 1):
        if detection := detector.push(row[column : column + 1], number * FRAME_SAMPLES):
            return detection if detection.wake_sample < wake_end + samples_of(_LATEST_S) else None
    return None


def cut_ours(heard: Heard, scorer: WakeScorer, rules: CutRules = RULES) -> Cut | None:
    """Cut as the recorder does."""
    wake = heard.detection.wake_sample
    capture = Capture(DEFAULTS, scorer.segmenter, rules)
    capture.begin(heard.detection, heard.samples[max(0, wake - HISTORY_SAMPLES) : wake])
    whole = wake + (len(heard.samples) - wake) // FRAME_SAMPLES * FRAME_SAMPLES
    outcome = None
    for start in range(wake, whole, FRAME_SAMPLES):
        if outcome := capture.push(heard.samples[start : start + FRAME_SAMPLES]):
            break
    outcome = outcome or capture.finish("end-of-input", heard.samples[whole:])
    return Cut(outcome.start_sample, outcome.end_sample, outcome.ended_by) if isinstance(outcome, Request) else None


def cut_webrtcvad(heard: Heard) -> Cut | None:
    """Cut where webrtcvad's own decisions say."""
    vad = WebrtcVad(2)
    whole = heard.samples[: len(heard.samples) // VAD_SAMPLES * VAD_SAMPLES].reshape(-1, VAD_SAMPLES)
    return cut_plainly(heard, np.array([vad.is_speech(frame) for frame in whole]), VAD_SAMPLES)


def cut_silero(heard: Heard) -> Cut | None:
    """Cut where the Silero model of openwakeword's wheel says, with Silero's usual hysteresis of 0.5 and 0.35."""
    from openwakeword.vad import VAD  # late: it imports scikit-learn

    vad = VAD()
    speaking, flags = False, []
    for start in range(0, len(heard.samples) - SILERO_SAMPLES + 1, SILERO_SAMPLES):
        score = float(vad.predict(heard.samples[start : start + SILERO_SAMPLES]))
        speaking = score >= (0.35 if speaking else 0.5)
        flags.append(speaking)
    return cut_plainly(heard, np.array(flags), SILERO_SAMPLES)


def cut_plainly(heard: Heard, flags: npt.NDArray[np.bool_], hop: int) -> Cut | None:
    """Cut as recorders usually do with a detector's bare decisions, with the same settings.

    Speech across the detection begins where the detector says, at most the pre-roll before; else the request begins at
    the first speech after it. It ends after ``silence_s`` without speech; less than 0.25 s of speech is none.
    """
    wake = heard.detection.wake_sample
    silence, padding = samples_of(DEFAULTS.silence_s), samples_of(DEFAULTS.padding_s)
    earliest = wake - samples_of(DEFAULTS.pre_roll_s)
    first: int | None = None
    last, ended_by = 0, "end-of-input"
    for frame in range(wake // hop, len(flags)):
        if flags[frame]:
            first, last = frame if first is None else first, frame
        elif first is not None and (frame - last) * hop >= silence:
            if (last - first) * hop >= RATE_HZ // 4:
                ended_by = "silence"
                break
            first = None
    if first is None:
        return None
    while first * hop > earliest and first <= wake // hop and flags[first - 1]:
        first -= 1
    end = min((last + 1) * hop + padding, len(heard.samples))
    return Cut(max(first * hop - padding, earliest), end, ended_by)


def tally(cuts: Iterable[tuple[Heard, Cut | None]]) -> Tally:
    """Count what went wrong."""
    pairs = list(cuts)
    asked = [(heard, cut) for heard, cut in pairs if heard.request is not None]
    bare = [cut for heard, cut in pairs if heard.request is None]
    made = [(heard, heard.request, cut) for heard, cut in asked if cut is not None and heard.request is not None]
    before = [request[0] - cut.start for _, request, cut in made]
    after = [cut.end - request[1] for _, request, cut in made]
    late = [cut.ended_by != "silence" for _, _, cut in made]
    little = samples_of(0.03)
    return Tally(
        requests=len(asked),
        missing=len(asked) - len(made),
        start_cut=sum(excess < -little for excess in before),
        end_cut=sum(excess < -little for excess in after),
        end_late=sum(excess > samples_of(0.5) or never for excess, never in zip(after, late, strict=True)),
        wake_left=sum(heard.wake_end_sample - cut.start > samples_of(0.2) for heard, _, cut in made),
        bare=len(bare),
        bare_kept=sum(cut is not None for cut in bare),
        start_excess_s=float(np.median(before)) / RATE_HZ if made else 0.0,
        end_excess_s=float(np.median(after)) / RATE_HZ if made else 0.0,
    )
