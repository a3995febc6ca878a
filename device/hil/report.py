"""What pytest-html shows of a recording: a picture of what was heard, its sound, and columns of what was measured."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from device import __version__
from device.hearing.frames import RATE_HZ

if TYPE_CHECKING:
    import pytest

    from device.hil.judge import Verdict
    from device.hil.recordings import Recording
    from device.hil.rig import Playback

COLUMNS = ("level", "drop-outs", "drift", "kept before", "kept after", "to the broker")
BLUE, ORANGE, GREEN, GREY, RED = "#3465a4", "#ce5c00", "#4e9a06", "#888a85", "#a40000"
LEGEND = (
    "<p><b>level</b>: of the loudest quarter, as heard. <b>drift</b>: of the microphone's clock against the "
    "loudspeaker's. <b>kept before, kept after</b>: what the request holds beyond what was said; below 0 it was cut. "
    "<b>to the broker</b>: from the end of speech. Click a row for the picture and the sound of what was heard.</p>"
    "<style>.logwrapper:not(:has(.log)) {display: none}</style>"  # the frame of a log that is empty
)


def summary(about: str) -> str:
    """Return what stands above the table: what was listened with, and how to read the rest."""
    return f"<p>wakeword-recorder {__version__}; {html.escape(about)}</p>{LEGEND}"


def add_header(cells: list[str]) -> None:
    """Put the columns of what was measured in the place of pytest-html's links, which there are none of."""
    cells[2:] = [*(f"<th>{name}</th>" for name in COLUMNS), *cells[2:-1]]


def add_row(nodeid: str, facts: dict[str, str], cells: list[str]) -> None:
    """Put the cells of one recording there, or beside a check's name what it measured."""
    name = nodeid.rpartition("::")[2]
    if not facts.keys() & set(COLUMNS):
        name = ": ".join([name, *([", ".join(map(" ".join, facts.items()))] if facts else [])])
    cells[1] = f'<td class="col-testId" title="{html.escape(nodeid)}">{html.escape(name)}</td>'
    measured = (f'<td style="white-space: nowrap">{html.escape(_all_of(column, facts))}</td>' for column in COLUMNS)
    cells[2:] = [*measured, *cells[2:-1]]


def _all_of(column: str, facts: dict[str, str]) -> str:
    """Return a column's value; of a recording with several requests each one's."""
    return ", ".join(value for name, value in facts.items() if name.rstrip(" 0123456789") == column)


def extras(config: pytest.Config, recording: Recording, take: Playback, verdict: Verdict) -> list[Any]:
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
            f'src="data:image/webp;base64,{_picture(recording, take, verdict)}">'
            f'<p><audio controls preload="none" src="data:audio/flac;base64,{_sound(sound)}"></audio></p>'
            f'<p style="color: #555">{facts}</p>'
        )
    ]


def _sound(heard: Any) -> str:
    out = io.BytesIO()
    samples = np.clip(np.rint(heard * 32768), -32768, 32767).astype(np.int16)
    soundfile.write(out, samples, RATE_HZ, format="FLAC", subtype="PCM_16")
    return base64.b64encode(out.getvalue()).decode()


def _picture(recording: Recording, take: Playback, verdict: Verdict) -> str:
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
    with np.errstate(divide="ignore"):  # of digital silence
        spectrum.specgram(heard, NFFT=512, Fs=RATE_HZ, noverlap=256, cmap="magma", vmin=-130, vmax=-40)
    spectrum.set_facecolor("black")  # digital silence has no level at all
    spectrum.set_ylabel("Hz")
    spectrum.set_xlabel("seconds of the recording")
    spectrum.set_xlim(0, max(len(recording.samples) / RATE_HZ, 0.1))
    out = io.BytesIO()
    # A spectrogram's noise makes a PNG ten times as large, and hundreds are in one page.
    figure.savefig(out, format="webp", dpi=90, pil_kwargs={"quality": 80})
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
