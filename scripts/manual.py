"""Writes the manual page and the shells' completions, made from the commands themselves.

scripts/install calls it with the installed Python: the manual page, and what bash, zsh and fish read.
"""

import os
import re
import sys
import time
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from device import __version__
from device.__main__ import COMMANDS, cli

NAME = "wakeword-recorder"
COMPLETE = "_WAKEWORD_RECORDER_COMPLETE"
STATUSES = {
    0: "Done.",
    1: "It failed while running.",
    2: "Wrong usage.",
    69: "The broker or the microphone is not available, or requests wait still.",
    78: "The configuration, or what it names, is wrong.",
}
FILES = {
    "/etc/wakeword-recorder/config.toml": "The configuration; each key is explained in it.",
    "/var/lib/wakeword-recorder": "The review choice and the requests that wait.",
}


def manual(day):
    """Return the manual page as troff.

    Args:
        day: its date, as YYYY-MM-DD.
    """
    lines = [
        f'.TH {NAME.upper()} 1 {day} "{NAME} {__version__}" "User Commands"',
        ".SH NAME",
        f"{NAME} \\- {escaped(first_sentence(cli.help))}",
        ".SH SYNOPSIS",
        f".B {NAME}",
        "COMMAND [OPTION]... [ARGUMENT]...",
        ".SH DESCRIPTION",
        *paragraphs(cli.help),
        ".SH COMMANDS",
    ]
    for name in COMMANDS:
        lines += of_command(name, cli.get_command(click.Context(cli), name))
    lines += [".SH EXIT STATUS", *pairs({str(number): meaning for number, meaning in STATUSES.items()})]
    lines += [".SH FILES", *pairs(FILES)]
    return "\n".join(lines) + "\n"


def of_command(name, command):
    context = click.Context(command, info_name=name, parent=click.Context(cli, info_name=NAME))
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f".SS {escaped(f'{NAME} {name} {usage}')}", *paragraphs(command.help)]
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record:
            lines += pairs({record[0]: record[1]})
    return lines


def paragraphs(text):
    """Return a help text as troff, a blank line before each paragraph."""
    lines = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines += [".PP", escaped(" ".join(paragraph.split()))]
    return lines


def pairs(meanings):
    """Return terms and what they mean as troff."""
    return [line for term, meaning in meanings.items() for line in (".TP", f".B {escaped(term)}", escaped(meaning))]


def escaped(text):
    """Return text in which troff finds nothing to obey."""
    safe = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return f"\\&{safe}" if safe.startswith(".") else safe


def first_sentence(text):
    return text.strip().split(".")[0].replace("\n", " ")


def completion(shell):
    """Return what a shell reads to complete the command."""
    # Not click's own call for it, which asks the machine's bash for its version.
    found = get_completion_class(shell)(cli, {}, NAME, COMPLETE)
    return found.source_template % found.source_vars()


def main(paths):
    """Write the manual page, and the completions of bash, zsh and fish, to these four paths."""
    day = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    texts = [manual(day), *map(completion, ("bash", "zsh", "fish"))]
    for path, text in zip(map(Path, paths), texts, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)


if __name__ == "__main__":
    main(sys.argv[1:])
