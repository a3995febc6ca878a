"""What the recorder hears right now, measured over the shoulder of the real pipeline, and drawn for a terminal."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from device.core.frames import FRAME_SAMPLES, RATE_HZ, VAD_SAMPLES, Rechunker
from device.core.pipeline import Heard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from device.core.endpoint import SpeechClassifier
    from device.core.frames import Samples
    from device.core.pipeline import Pipeline
    from device.observe import ObservedGate, ObservedScorer

FLOOR_FRAMES = 50  # 4 s: the floor is the level that one frame in ten of these stays below
PEAK_FRAMES = 38  # 3 s: long enough to read a peak that has just passed
DARKEST_DBFS = -90.0


@dataclass(frozen=True, slots=True)
class Reading:
    """One frame's measurements.

    Attributes:
        position_s: seconds of the stream until now.
        level_dbfs: the frame's level, RMS.
        floor_dbfs: the room's, of late.
        speech: does webrtcvad hear speech in it?
        open: is the gate open?
        scores: each wake word's score, 0 to 1, and its peak of the last seconds.
        heard: the wake word that just fired, or empty.
        cpu: this program's share of one core of late, 1 being all of it.
    """

    position_s: float
    level_dbfs: float
    floor_dbfs: float
    speech: bool
    open: bool
    scores: dict[str, tuple[float, float]]
    heard: str
    cpu: float


class Meter:
    """Measures a stream frame by frame, by the pipeline that `run` would use.

    Args:
        pipeline: one built with the two observers.
        scorer: the pipeline's.
        gate: the pipeline's; None if it has none.
        classifier: says what is speech.
    """

    def __init__(
        self, pipeline: Pipeline, scorer: ObservedScorer, gate: ObservedGate | None, classifier: SpeechClassifier
    ) -> None:
        self._pipeline = pipeline
        self._scorer = scorer
        self._gate = gate
        self._classifier = classifier
        self._chunks = Rechunker()
        self._levels: deque[float] = deque(maxlen=FLOOR_FRAMES)
        self._scores: deque[list[float]] = deque(maxlen=PEAK_FRAMES)
        self._times: deque[tuple[float, float]] = deque([(time.monotonic(), time.process_time())], maxlen=PEAK_FRAMES)

    def push(self, block: Samples) -> Iterator[Reading]:
        """Take the next samples, int16, shape (n,); yield a reading for each whole frame."""
        for frame in self._chunks.push(block):
            heard = [event.word for event in self._pipeline.push(frame) if isinstance(event, Heard)]
            level = _dbfs(frame)
            self._levels.append(level)
            is_open = self._gate is None or self._gate.open
            self._scores.append([float(score) for score in self._scorer.latest] if is_open else [0.0] * len(self.words))
            peaks = np.max(self._scores, axis=0)
            yield Reading(
                position_s=self._pipeline.position / RATE_HZ,
                level_dbfs=level,
                floor_dbfs=float(np.quantile(self._levels, 0.1)),
                speech=sum(map(self._classifier.is_speech, frame.reshape(-1, VAD_SAMPLES))) > 0,  # it hears every part
                open=is_open,
                scores={
                    word: (score, float(peak))
                    for word, score, peak in zip(self.words, self._scores[-1], peaks, strict=True)
                },
                heard=heard[-1] if heard else "",
                cpu=self._share(),
            )

    @property
    def words(self) -> tuple[str, ...]:
        """The wake words."""
        return self._scorer.words

    def hole(self, samples: int) -> None:
        """So many samples are missing here."""
        for _ in self._pipeline.hole(samples):
            pass  # what becomes of requests is not the meter's business

    def gap(self) -> None:
        """Another stream follows."""
        for _ in self._pipeline.gap():
            pass

    def _share(self) -> float:
        self._times.append((time.monotonic(), time.process_time()))
        (began, used_before), (now, used) = self._times[0], self._times[-1]
        return (used - used_before) / max(now - began, 1e-3)


def _dbfs(frame: Samples) -> float:
    """The level of a frame, int16, shape (FRAME_SAMPLES,), in dB of full scale; digital silence is ``DARKEST_DBFS``."""
    power = float(np.mean(np.square(frame, dtype=np.float64)))
    return max(10 * math.log10(power / 2**30), DARKEST_DBFS) if power else DARKEST_DBFS


def bar(value: float, width: int, *marks: float) -> str:
    """Draw a value from 0 to 1 as a bar of ASCII, with marks at other values.

    Args:
        value: what is filled.
        width: of the bar in characters.
        marks: where a ``|`` stands, each 0 to 1.
    """
    cells = ["#" if position < round(value * width) else "." for position in range(width)]
    for mark in marks:
        cells[min(int(mark * width), width - 1)] = "|"
    return "".join(cells)


def lines(reading: Reading, thresholds: tuple[float, ...], columns: int) -> list[str]:
    """Draw a reading, a line each for the level and every word, none wider than the terminal.

    Args:
        reading: what to draw.
        thresholds: each word's, marked in its bar.
        columns: the terminal's width.
    """
    width = max(min(columns - 48, 50), 8)
    share = (reading.level_dbfs - DARKEST_DBFS) / -DARKEST_DBFS
    floor = (reading.floor_dbfs - DARKEST_DBFS) / -DARKEST_DBFS
    level = f"{'level':12} {bar(share, width, floor)} {reading.level_dbfs:4.0f} dBFS"
    speech, gate = "speech" if reading.speech else "quiet ", "open  " if reading.open else "closed"
    drawn = [
        *_wrapped(columns, level, f"floor {reading.floor_dbfs:4.0f}"),
        *_wrapped(columns, f"{'':12} {reading.position_s:7.1f} s", speech, f"gate {gate}", f"cpu {reading.cpu:4.0%}"),
    ]
    for (word, (score, peak)), threshold in zip(reading.scores.items(), thresholds, strict=True):
        head = f"{word[:12]:12} {bar(score, width, threshold)} {score:4.2f}"
        mark = "HEARD    " if reading.heard == word else f"peak {peak:4.2f}"
        drawn += _wrapped(columns, head, mark, f"threshold {threshold:.2f}")
    return drawn


def _wrapped(columns: int, *parts: str) -> list[str]:
    """Put parts in as few lines as a terminal is wide; only a part that alone is wider than it is cut."""
    rows = [parts[0]]
    for part in parts[1:]:
        if len(rows[-1]) + len(part) + 2 < columns:
            rows[-1] += f"  {part}"
        else:
            rows.append(f"  {part}")
    return [row[: columns - 1] for row in rows]


SECOND_FRAMES = round(RATE_HZ / FRAME_SAMPLES)
