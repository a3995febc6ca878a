"""Draws an explanation: waveform, wake score, gate, speech and noise floor, cut points, over one shared time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from device.errors import RecorderError, UsageError
from device.hearing.frames import FRAME_SAMPLES, RATE_HZ, VAD_SAMPLES

if TYPE_CHECKING:
    from pathlib import Path

    from device.hearing.frames import Samples
    from device.tools.explain import Explanation

FORMATS = (".png", ".svg", ".pdf")
BLUE, ORANGE, GREEN, GREY = "#3465a4", "#ce5c00", "#4e9a06", "#888a85"
DARKEST_DBFS = -90.0  # one step of 16 bits; digital silence is drawn there too


def refuse_unless_drawable(path: Path) -> None:
    """Refuse, before a long recording is analysed, what could not be drawn after it.

    Raises:
        UsageError: the file's name ends in no format that can be drawn.
        RecorderError: matplotlib is not installed, or the file cannot be written there.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"--plot {path}: drawn is what ends in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise RecorderError("--plot needs matplotlib", hint="scripts/setup --extras plot brings it") from error
    if not path.parent.is_dir():
        raise RecorderError(f"--plot {path}: there is no folder {path.parent}", hint="make it first, or name another")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise RecorderError(f"--plot {path}: cannot be written", hint="name another file")


def draw(explanation: Explanation, samples: Samples, path: Path) -> None:
    """Write the picture, in the format that the file's name ends in.

    Args:
        explanation: of the recording.
        samples: the recording, int16, 16 kHz mono.
        path: the file to write, which ``refuse_unless_drawable`` accepts.

    Raises:
        RecorderError: the file cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["axes.spines.top"] = mpl.rcParams["axes.spines.right"] = False
    width = float(np.clip(explanation.samples / RATE_HZ * 1.2, 10, 40))
    figure = Figure(figsize=(width, 7.5), layout="constrained")
    wave, score, level = figure.subplots(3, 1, sharex=True, height_ratios=(2, 2, 2))
    _wave(wave, explanation, samples)
    _score(score, explanation)
    _level(level, explanation, samples)
    level.set_xlabel("seconds of the recording")
    level.set_xlim(0, explanation.samples / RATE_HZ)
    try:
        figure.savefig(path, dpi=110, format=path.suffix[1:].lower())
    except OSError as error:
        raise RecorderError(f"{path} cannot be written: {error.strerror}") from error


def _wave(axes: Any, explanation: Explanation, samples: Samples) -> None:
    seconds = np.arange(len(samples)) / RATE_HZ
    axes.plot(seconds, samples / 32768, color=GREY, linewidth=0.5)
    peak = max(float(np.abs(samples / 32768).max(initial=0)) * 1.15, 0.01)
    axes.set_ylim(-peak, peak)
    axes.set_ylabel("waveform")
    for number, request in enumerate(explanation.requests):
        start, end = request.start_sample / RATE_HZ, request.end_sample / RATE_HZ
        axes.axvspan(start, end, color=GREEN, alpha=0.2, label=None if number else "kept")
        axes.text(start, peak * 0.97, f" {start:.2f} to {end:.2f} s, {request.ended_by}", va="top", color=GREEN)
    for number, detection in enumerate(explanation.detections):
        second = detection.wake_sample / RATE_HZ
        axes.axvline(second, color=ORANGE, label=None if number else "wake word heard")
    axes.set_title(explanation.file, loc="left")
    _legend(axes)


def _score(axes: Any, explanation: Explanation) -> None:
    frame_s = FRAME_SAMPLES / RATE_HZ
    for (word, scores), color in zip(explanation.scores.items(), _colors(), strict=False):
        seconds = (np.arange(len(scores)) + 1) * frame_s
        axes.plot(seconds, scores, color=color, label=f"score of {word}")
        threshold = explanation.thresholds[word]
        axes.axhline(threshold, color=color, linestyle=":", label=f"its threshold, {threshold:g}")
    seconds = np.arange(len(explanation.gate_open) + 1) * frame_s
    gate = np.where(explanation.gate_open, -0.05, np.nan)
    axes.stairs(gate, seconds, baseline=-0.15, fill=True, color=GREY, alpha=0.6, label="gate open")
    axes.set_ylim(-0.15, 1.05)
    axes.set_ylabel("wake score")
    _legend(axes)


def _level(axes: Any, explanation: Explanation, samples: Samples) -> None:
    """Draw the recording's level, and below it what was taken for the wake word and what for the request."""
    _level_of_all(axes, samples)
    after = [one for one in explanation.segments if one.level_dbfs]
    if not after:
        why = "the recording ends with the wake word" if explanation.detections else "no wake word was heard"
        axes.text(0.5, 0.92, why, transform=axes.transAxes, ha="center", color=GREY)
    for number, one in enumerate(after):
        edges = (one.start_sample + np.arange(len(one.request) + 1) * VAD_SAMPLES) / RATE_HZ
        for chances, sure, color, label, row in (
            (one.wake_word, 0.5, ORANGE, "wake word", 0),
            (one.request, one.sure, GREEN, "request", 1),
        ):
            low = DARKEST_DBFS - 12 + 6 * row
            taken = np.where(np.array(chances) >= sure, low + 5, np.nan)
            axes.stairs(taken, edges, baseline=low, fill=True, color=color, label=None if number else label)
    axes.set_ylim(DARKEST_DBFS - 13, 0)
    axes.set_ylabel("dB of full scale")
    _legend(axes)


def _level_of_all(axes: Any, samples: Samples) -> None:
    parts = samples[: len(samples) // VAD_SAMPLES * VAD_SAMPLES].reshape(-1, VAD_SAMPLES) / 32768
    levels = 10 * np.log10(np.maximum(np.mean(parts**2, axis=1), 10.0 ** (DARKEST_DBFS / 10)))
    axes.plot(np.arange(len(parts)) * VAD_SAMPLES / RATE_HZ, levels, color=GREY, linewidth=1, label="level")
    axes.set_ylim(DARKEST_DBFS - 5, 0)


def _colors() -> tuple[str, ...]:
    return (BLUE, ORANGE, GREEN, "#75507b", "#a40000")


def _legend(axes: Any) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
