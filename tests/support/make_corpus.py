"""``scripts/make-corpus``: a seeded corpus of wake words and requests, every recording with its sidecar."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from device.errors import UsageError
from support.command_line import COUNT, FILE, SEED, make_writable, option, script
from support.recordings import write_recording
from support.rooms import NOISE_KINDS
from support.scenes import render, sample_scenes
from support.speech import missing_synthesisers

if TYPE_CHECKING:
    from device.hil.recordings import Recording

ROOT = Path(__file__).parents[2]


def _decibels(text: str) -> float:
    """Return what a speaker's voice can be above the noise; beyond that, samples are nothing but one of the two."""
    with contextlib.suppress(ValueError):
        if -60.0 <= float(text) <= 120.0:  # which nan is not
            return float(text)
    raise click.BadParameter(f"{text} is not a number of dB from -60 to 120")


@script(
    "make-corpus",
    __doc__.partition(": ")[2],
    option("--size", type=COUNT, default=200, help="How many recordings."),
    option("--seed", type=SEED, default=1, help="The same seed and size: the same corpus."),
    option("--out", type=FILE, default=ROOT / "corpus", help="The folder."),
    option("--noise", multiple=True, type=click.Choice(NOISE_KINDS), default=NOISE_KINDS, help="May be repeated."),
    option("--snr-db", multiple=True, type=_decibels, default=(5.0, 10.0, 15.0, 20.0, 30.0), help="May be repeated."),
)
def main(options: Any) -> int:
    """Make the corpus that the command line asks for; return the exit status."""
    if missing := missing_synthesisers():
        print(f"make-corpus: not installed: {', '.join(missing)}; apt-get install {' '.join(missing)}", file=sys.stderr)
        return 1
    make_writable(options.out, "--out")
    _remove_former(options.out)
    _make(options)
    print(f"{options.size} recordings and manifest.json in {options.out}")
    return 0


def _make(options: Any) -> None:
    entries = []
    scenes = sample_scenes(options.size, options.seed, noises=tuple(options.noise), snrs_db=tuple(options.snr_db))
    for number, (name, wake_word, scene) in enumerate(scenes, 1):
        recording = render(scene, name, wake_word=wake_word)
        write_recording(recording, options.out)
        entries.append(_entry(recording))
        if sys.stderr.isatty():
            print(f"\r{number} of {options.size}", end="", file=sys.stderr, flush=True)
    manifest = {"size": options.size, "seed": options.seed, "recordings": entries}
    (options.out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _remove_former(folder: Path) -> None:
    """Remove the recordings that an earlier call made here, by its manifest: a smaller corpus leaves no old ones.

    Raises:
        UsageError: the manifest is of something else.
    """
    manifest = folder / "manifest.json"
    if not manifest.exists():
        return
    try:
        names = [entry["name"] for entry in json.loads(manifest.read_text(encoding="utf-8"))["recordings"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"--out {folder}: its manifest.json is not a corpus's", hint="name another folder") from error
    for name in names:
        for ending in (".wav", ".json"):
            (folder / f"{Path(name).name}{ending}").unlink(missing_ok=True)


def _entry(recording: Recording) -> dict[str, Any]:
    """Return what a table groups by; the truth is in the sidecar."""
    made_with = recording.truth.made_with
    said = made_with["utterances"][0]
    return {
        "name": recording.name,
        "wake_word": recording.truth.wake_word,
        **{key: made_with[key] for key in ("noise", "snr_db", "rt60_s", "level_dbfs")},
        **{key: said[key] for key in ("voice", "gap_s", "text")},
        "duration_s": round(len(recording.samples) / 16_000, 3),
    }


if __name__ == "__main__":
    raise SystemExit(main())
