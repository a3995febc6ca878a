"""``scripts/hil``: the short form of ``pytest --hil``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

FIXTURES = Path(__file__).parents[2] / "tests" / "fixtures"


class Parser(argparse.ArgumentParser):
    """Complains in one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and exit with status 2."""
        self.exit(2, f"error: {message}; see scripts/hil --help\n")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Become pytest, with the options turned into its own, or exit with 2 where one of them is wrong."""
    options = _parser().parse_args(arguments)
    folders = options.folders or [FIXTURES]
    for folder in folders:
        if not folder.exists():
            print(f"error: {folder}: there is no such folder; see scripts/hil --help", file=sys.stderr)
            raise SystemExit(2)
    # No settings or plugins of a folder in which it happens to be called.
    alone = ["-c", os.devnull, f"--rootdir={Path.cwd()}", "--noconftest", "-p", "no:cacheprovider", "-v", "-ra"]
    # A process of its own: pytest rewrites a plugin's modules as it imports them, and these are imported already.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "pytest", *alone, *_command(options, folders)])  # noqa: S606


def _command(options: argparse.Namespace, folders: list[Path]) -> list[str]:
    """Return pytest's arguments."""
    command = ["--hil", *map(str, folders)]
    command += ["-k", options.k] if options.k else []
    command += ["-x"] if options.x else []
    command += ["--hil-virtual"] if options.virtual else []
    for name in ("format", "config", "microphone", "speaker", "broker", "volume", "delay"):
        values = getattr(options, name)
        for value in values if isinstance(values, list) else [values]:
            command += [] if value is None else [f"--hil-{name}={value}"]
    if options.html:
        command += [f"--html={options.html}", "--self-contained-html"]
    if options.junit_xml:
        command += [f"--junit-xml={options.junit_xml}"]
    if options.report_log:
        command += [f"--report-log={options.report_log}"]
    return command


def _parser() -> Parser:
    parser = Parser(
        prog="hil",
        allow_abbrev=False,
        description="Plays recordings through a loudspeaker into the microphone of the real daemon and judges what "
        "reaches the broker. The short form of pytest --hil, which takes all of pytest's options; the exit status is "
        "pytest's.",
    )
    add = parser.add_argument
    add("folders", nargs="*", type=Path, metavar="FOLDER", help="WAVs with sidecars; default: tests/fixtures")
    add("-k", metavar="NAME", help="only recordings whose name holds this; pytest's expressions, too")
    add("-x", action="store_true", help="stop at the first that fails")
    add("--virtual", action="store_true", help="through a virtual pair, which needs no hardware")
    add("--format", action="append", metavar="RATExCHANNELS", help="of the virtual pair; default: 16000x1 and 48000x2")
    add("--config", metavar="FILE", help="the configuration to test; default: the built-in defaults")
    add("--microphone", metavar="NAME", help="a part of its name; default: the configured one")
    add("--speaker", metavar="NAME", help="a part of its name; default: the system's")
    add("--broker", metavar="HOST[:PORT]", help="default: the configured one, else a mosquitto of its own")
    add("--volume", type=float, metavar="DB", help="play so much louder or softer; default: a sweep finds it")
    add("--delay", type=float, metavar="S", help="from end of speech to broker beyond silence_s; default: 0.3")
    add("--junit-xml", metavar="FILE", help="the results for a CI server")
    add("--html", metavar="FILE", help="one page with a picture and the sound of each recording")
    add("--report-log", metavar="FILE", help="a JSON object a line")
    return parser


if __name__ == "__main__":
    main()
