"""A question to the person at the terminal."""

from __future__ import annotations

import getpass
import sys

import click

from device.errors import UsageError


def ask(text: str, default: str = "", *, hide: bool = False) -> str:
    """Ask for a line; Enter alone means the default.

    Python's own `input` writes its question to C's standard error, which is turned away once PortAudio is in use.

    Args:
        text: the question.
        default: shown in brackets, if there is one.
        hide: do not show what is typed.

    Raises:
        UsageError: nobody answers any more.
    """
    question = f"{text}{f' [{default}]' if default else ''}: "
    try:
        answer = getpass.getpass(question) if hide else _line(question)
    except EOFError:
        raise UsageError("nobody answered", hint="call this again, or give the answers as options") from None
    return answer.strip() or default


def _line(question: str) -> str:
    click.echo(question, nl=False)
    sys.stdout.flush()
    line = sys.stdin.buffer.readline()
    if not line:
        click.echo()
        raise EOFError
    return line.decode(errors="replace")
