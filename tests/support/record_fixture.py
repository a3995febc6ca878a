"""``scripts/record-fixture``: record one fixture from the microphone: NAME.wav and its sidecar NAME.json."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
import numpy as np

from device import build
from device.cli.common import open_store, refuse_muted
from device.config import settings as config
from device.edges.microphone import Block, Microphone
from device.edges.wakeword import load_scorer
from device.errors import ModelError, RecorderError, UsageError
from device.hearing.frames import RATE_HZ, samples_of
from device.hil.recordings import Recording, RequestTruth, Sidecar
from device.tools.explain import Explanation, explain
from support.command_line import FILE, make_writable, option, script
from support.recordings import write_recording

if TYPE_CHECKING:
    from device.hearing.frames import Samples

FIXTURES = Path(__file__).parents[1] / "fixtures"


class InterruptedRecordingError(RecorderError):
    """Ctrl-C ended it."""

    exit_status = 130


def _name(text: str) -> str:
    if not re.fullmatch("[a-z0-9][a-z0-9-]{0,63}", text):
        raise click.BadParameter(f"{text!r} is not made of lower-case letters, digits and hyphens")
    return text


@script(
    "record-fixture",
    __doc__.partition(": ")[2],
    click.Argument(["name"], type=_name),
    option("--wake-word", default="hey_jarvis", metavar="WORD", help="What is said: a word or an .onnx."),
    option("--config", type=FILE, help="Configuration; its microphone is used."),
    option("--out", type=FILE, default=FIXTURES, help="The folder."),
    option("--force", is_flag=True, help="Replace the fixture of that name."),
)
def main(options: Any) -> int:
    """Record, find the marks, write both files; return the exit status."""
    interrupted = threading.Event()
    # Not KeyboardInterrupt: it could strike inside the microphone's locks, or between the two files.
    signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    settings = _checked(options)
    samples = record(settings, interrupted)
    explanation = explain(options.name, samples, settings)
    _go_on_unless(interrupted)
    truth = proposed(explanation, settings, as_seen_from(options.out, options.wake_word))
    write_recording(Recording(options.name, samples, truth), options.out)
    path = options.out / options.name
    print(f"{path}.wav: {len(samples) / RATE_HZ:.1f} s, requests found: {len(truth.requests)}")
    print(f"listen to it and correct the marks by ear in {path}.json")
    return 0


def record(settings: config.Settings, interrupted: threading.Event) -> Samples:
    """Record from the configured microphone until Enter is pressed or ``interrupted`` is set.

    Returns:
        int16, shape (n,), n above 0, 16 kHz.

    Raises:
        MicrophoneUnavailableError: there is no such microphone, or it was lost, or muted.
        InterruptedRecordingError: it was.
        RecorderError: Enter came before the first sample.
    """
    blocks: list[Samples] = []
    wanted = settings.microphone
    with (
        open_store(settings) as store,
        Microphone(wanted.name, wanted.channel, once=True) as microphone,
    ):
        while not interrupted.is_set() and not _enter_was_pressed():
            refuse_muted(store)
            match microphone.read(0.1):
                case Block(samples):
                    if not blocks:
                        print("recording; press Enter to end it", file=sys.stderr)
                    blocks.append(samples)
    _go_on_unless(interrupted)
    if not blocks:
        raise RecorderError(
            "nothing was recorded: Enter came, or standard input ended, before the first sample",
            hint="wait for the word 'recording', speak, then press Enter",
        )
    return np.concatenate(blocks)


def proposed(explanation: Explanation, settings: config.Settings, word: str) -> Sidecar:
    """Make a sidecar of what the recorder found: a proposal, to be corrected by ear."""
    padding = samples_of(settings.capture.padding_s)
    requests = tuple(
        RequestTruth(
            wake_end_sample=min(kept.wake_sample, kept.speech_sample),
            start_sample=kept.speech_sample,
            end_sample=max(kept.end_sample - padding, kept.speech_sample + 1),
        )
        for kept in explanation.requests
    )
    return Sidecar(wake_word=word, requests=requests, about="recorded with scripts/record-fixture")


def _checked(options: Any) -> config.Settings:
    """Return the settings once nothing that can be known before would waste a recording.

    Raises:
        UsageError: there is no such wake word, there is a fixture of that name, or it cannot be written.
        MicrophoneUnavailableError: the microphone is muted.
        RecorderError: the configuration or the state cannot be used.
    """
    loaded = config.load(options.config)
    try:
        load_scorer((options.wake_word,), engine="streaming", cache_dir=build.cache_dir())
    except ModelError as error:
        raise UsageError(f"--wake-word: {error.message}", hint=error.hint) from error
    with open_store(loaded) as store:
        refuse_muted(store)
    make_writable(options.out, "--out")  # now that root has become the state folder's owner
    for path in (options.out / f"{options.name}.wav", options.out / f"{options.name}.json"):
        if path.exists() and not options.force:
            raise UsageError(f"{path} exists", hint="choose another NAME, or replace it with --force")
    wake = msgspec.structs.replace(loaded.wake, words=(options.wake_word,))
    return msgspec.structs.replace(loaded, wake=wake)


def as_seen_from(out: Path, word: str) -> str:
    """Return the wake word as the sidecar names it: a file by its path from there."""
    return os.path.relpath(word, out) if word.endswith(".onnx") else word


def _enter_was_pressed() -> bool:
    """Take what stands on standard input, without waiting; is it a line, or the end?"""
    # No thread that waits for it: one that still does when the program ends makes Python abort.
    if sys.stdin is None:
        return True
    ready = bool(select.select([sys.stdin], [], [], 0)[0])
    if ready:
        os.read(sys.stdin.fileno(), 4096)
    return ready


def _go_on_unless(interrupted: threading.Event) -> None:
    if interrupted.is_set():
        raise InterruptedRecordingError("interrupted", hint="nothing was written")


if __name__ == "__main__":
    sys.exit(main())
