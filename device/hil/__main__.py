"""``scripts/hil``: the short form of ``pytest --hil``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

FIXTURES = Path(__file__).parents[2] / "tests" / "fixtures"


@click.command("hil")
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path), metavar="[FOLDER]...")
@click.option("-k", metavar="NAME", help="Only recordings whose name holds this; pytest's expressions, too.")
@click.option("-x", is_flag=True, help="Stop at the first that fails.")
@click.option("--virtual", is_flag=True, help="Through a virtual pair, which needs no hardware.")
@click.option("--format", multiple=True, metavar="RATExCHANNELS", help="Of the virtual pair; else 16000x1 and 48000x2.")
@click.option("--config", metavar="FILE", help="The configuration to test; else the built-in defaults.")
@click.option("--microphone", metavar="NAME", help="A part of its name; else the configured one.")
@click.option("--speaker", metavar="NAME", help="A part of its name; else the system's.")
@click.option("--broker", metavar="HOST[:PORT]", help="Else the configured one, else a mosquitto of its own.")
@click.option("--volume", type=float, metavar="DB", help="Play so much louder or softer; else a sweep finds it.")
@click.option("--delay", type=float, metavar="S", help="From end of speech to broker beyond silence_s; else 0.3.")
@click.option("--junit-xml", metavar="FILE", help="The results for a CI server.")
@click.option("--html", metavar="FILE", help="One page with a picture and the sound of each recording.")
@click.option("--report-log", metavar="FILE", help="A JSON object a line.")
def command(folders: tuple[Path, ...], **options: Any) -> None:
    """Play recordings through a loudspeaker into the microphone of the real daemon and judge what reaches the broker.

    A folder holds WAVs with sidecars; else tests/fixtures counts. The short form of pytest --hil, which takes all of
    pytest's options; the exit status is pytest's.
    """
    for folder in folders:
        if not folder.exists():
            raise click.UsageError(f"{folder}: there is no such folder")
    # No settings or plugins of a folder in which it happens to be called.
    alone = ["-c", os.devnull, f"--rootdir={Path.cwd()}", "--noconftest", "-p", "no:cacheprovider", "-v", "-ra"]
    called = [sys.executable, "-P", "-m", "pytest", *alone, "--hil", *map(str, folders or [FIXTURES])]
    # A process of its own: pytest rewrites a plugin's modules as it imports them, and these are imported already.
    os.execv(sys.executable, [*called, *_options(**options)])  # noqa: S606


def _options(
    *,
    k: str | None,
    x: bool,
    virtual: bool,
    html: str | None,
    junit_xml: str | None,
    report_log: str | None,
    **own: Any,
) -> list[str]:
    """Return pytest's options; ``own`` are those of ours that it has under ``--hil-``."""
    options = ["-k", k] if k else []
    options += ["-x"] if x else []
    options += ["--hil-virtual"] if virtual else []
    for name, value in own.items():
        options += [
            f"--hil-{name}={one}" for one in (value if isinstance(value, tuple) else [value]) if one is not None
        ]
    options += [f"--html={html}", "--self-contained-html"] if html else []
    options += [f"--junit-xml={junit_xml}"] if junit_xml else []
    return options + ([f"--report-log={report_log}"] if report_log else [])


def main(arguments: list[str] | None = None) -> int:
    """Become pytest; return 2 where an option is wrong, said in a line."""
    try:
        return int(command.main(arguments, prog_name="scripts/hil", standalone_mode=False) or 0)
    except click.UsageError as error:
        click.echo(f"error: {error.format_message().rstrip('.')}; see scripts/hil --help", err=True)
        return 2


if __name__ == "__main__":
    sys.exit(main())
