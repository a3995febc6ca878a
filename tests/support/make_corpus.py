"""``scripts/make-corpus``: a seeded corpus of wake words and requests, every recording with its sidecar."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from device.cli.common import report
from device.errors import RecorderError, UsageError
from device.hil.recordings import Recording, write_recording
from support.command_line import Parser, make_writable, positive_number, whole_number
from support.rooms import NOISE_KINDS
from support.scenes import render, sample_scenes
from support.speech import missing_synthesisers

ROOT = Path(__file__).parents[2]


def main(arguments: list[str] | None = None) -> int:
    """Make the corpus that the command line asks for; return the exit status."""
    options = _parser().parse_args(arguments)
    if missing := missing_synthesisers():
        print(f"make-corpus: not installed: {', '.join(missing)}; apt-get install {' '.join(missing)}", file=sys.stderr)
        return 1
    try:
        make_writable(options.out, "--out")
        _remove_former(options.out)
        _make(options)
    except RecorderError as error:
        report(error, "text")
        return error.exit_status
    print(f"{options.size} recordings and manifest.json in {options.out}")
    return 0


def _make(options: argparse.Namespace) -> None:
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


def _parser() -> Parser:
    parser = Parser(prog="make-corpus", description=__doc__.partition(": ")[2])
    parser.add_argument("--size", type=positive_number, default=200, help="how many recordings (default: %(default)s)")
    parser.add_argument(
        "--seed", type=whole_number, default=1, help="the same seed and size: the same corpus (%(default)s)"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "corpus", help="the folder (default: corpus/)")
    parser.add_argument(
        "--noise", nargs="+", choices=NOISE_KINDS, default=NOISE_KINDS, metavar="KIND", help=", ".join(NOISE_KINDS)
    )
    parser.add_argument(
        "--snr-db", nargs="+", type=_decibels, default=(5.0, 10.0, 15.0, 20.0, 30.0), metavar="DB", help="5 10 15 20 30"
    )
    return parser


def _decibels(text: str) -> float:
    """Return what a speaker's voice can be above the noise; beyond that, samples are nothing but one of the two."""
    with contextlib.suppress(ValueError):
        if -60.0 <= float(text) <= 120.0:  # which nan is not
            return float(text)
    raise argparse.ArgumentTypeError(f"{text} is not a number of dB from -60 to 120")


if __name__ == "__main__":
    raise SystemExit(main())
