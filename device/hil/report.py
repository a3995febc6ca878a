"""What pytest-html shows of a recording: a picture of what was heard, its sound, and columns of what was measured."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from device.hearing.frames import RATE_HZ

if TYPE_CHECKING:
    import pytest

    from device.hil.judge import Verdict
    from device.hil.recordings import Recording
    from device.hil.rig import Take

COLUMNS = ("level", "drop-outs", "drift", "kept before", "kept after", "to the broker")
BLUE, ORANGE, GREEN, GREY, RED = "#3465a4", "#ce5c00", "#4e9a06", "#888a85", "#a40000"
LEGEND = (
    "<p><b>level</b>: of the loudest quarter, as heard. <b>drift</b>: of the microphone's clock against the "
    "loudspeaker's. <b>kept before, kept after</b>: what the request holds beyond what was said; below 0 it was cut. "
    "<b>to the broker</b>: from the end of speech. Open a row for the picture and the sound of what was heard.</p>"
)


def add_header(cells: list[str]) -> None:
    """Put the columns before the links."""
    cells[2:2] = [f"<th>{name}</th>" for name in COLUMNS]


def add_row(facts: dict[str, Any], cells: list[str]) -> None:
    """Put the cells of one recording there."""
    cells[2:2] = [f'<td style="white-space: nowrap">{html.escape(str(facts.get(name, "")))}</td>' for name in COLUMNS]


def extras(config: pytest.Config, recording: Recording, take: Take, verdict: Verdict) -> list[Any]:
    """Return what pytest-html shows under a recording; nothing where no page is wanted."""
    if not config.getoption("htmlpath", None):
        return []
    from pytest_html import extras as make

    sound = take.heard[: len(recording.samples)]
    facts = html.escape(", ".join(f"{name} {value}" for name, value in verdict.facts.items()))
    faults = "".join(f'<p style="color: {RED}">{html.escape(fault)}</p>' for fault in verdict.faults)
    about = html.escape(recording.truth.about)
    return [
        make.html(
            f"<p><b>{html.escape(recording.name)}</b>: {about}</p>{faults}"
            f'<img style="width: 100%; max-width: 60em; display: block" alt="what was heard" '
            f'src="data:image/png;base64,{_picture(recording, take, verdict)}">'
            f'<p><audio controls preload="none" src="data:audio/flac;base64,{_sound(sound)}"></audio></p>'
            f'<p style="color: #555">{facts}</p>'
        )
    ]


def _sound(heard: Any) -> str:
    out = io.BytesIO()
    samples = np.clip(np.rint(heard * 32768), -32768, 32767).astype(np.int16)
    soundfile.write(out, samples, RATE_HZ, format="FLAC", subtype="PCM_16")
    return base64.b64encode(out.getvalue()).decode()


def _picture(recording: Recording, take: Take, verdict: Verdict) -> str:
    """Draw waveform and spectrogram of what was heard, over the recording's own time."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["axes.spines.top"] = mpl.rcParams["axes.spines.right"] = False
    heard = take.heard[: len(recording.samples)]
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    wave, spectrum = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    seconds = np.arange(len(heard)) / RATE_HZ
    peak = max(float(np.abs(heard).max(initial=0)) * 1.5, 0.01)
    wave.plot(seconds, heard, color=GREY, linewidth=0.5)
    wave.set_ylim(-peak, peak)
    wave.set_ylabel("heard")
    _marks(wave, recording, verdict, peak)
    spectrum.specgram(heard + 1e-6, NFFT=512, Fs=RATE_HZ, noverlap=256, cmap="magma", vmin=-130, vmax=-40)
    spectrum.set_ylabel("Hz")
    spectrum.set_xlabel("seconds of the recording")
    spectrum.set_xlim(0, max(len(recording.samples) / RATE_HZ, 0.1))
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=90)
    return base64.b64encode(out.getvalue()).decode()


def _marks(axes: Any, recording: Recording, verdict: Verdict, peak: float) -> None:
    """Mark what was said, what was kept, and where wake words were detected."""
    for number, request in enumerate(recording.truth.requests):
        start, end = request.start_sample / RATE_HZ, request.end_sample / RATE_HZ
        axes.axvspan(start, end, ymin=0.94, color=BLUE, alpha=0.8, label=None if number else "said")
        axes.text((start + end) / 2, peak * 0.8, request.text, color=BLUE, ha="center", va="center", fontsize=9)
    for number, bare in enumerate(recording.truth.bare_wakes):
        span = (bare.start_sample / RATE_HZ, bare.end_sample / RATE_HZ)
        axes.axvspan(*span, ymin=0.94, color=GREY, alpha=0.8, label=None if number else "wake word alone")
    color = RED if verdict.faults else GREEN
    for number, (first, last) in enumerate(verdict.kept):
        axes.axvspan(
            first / RATE_HZ, last / RATE_HZ, ymax=0.94, color=color, alpha=0.18, label=None if number else "kept"
        )
    for number, wake in enumerate(verdict.wakes):
        axes.axvline(wake / RATE_HZ, color=ORANGE, label=None if number else "wake word heard")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
