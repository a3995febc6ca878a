"""A question to the person at the terminal."""

from __future__ import annotations

import getpass
import sys

import click

from device.errors import UsageError


def ask(text: str, default: str = "", *, hide: bool = False, otherwise: str = "give the answers as options") -> str:
    """Ask for a line; Enter alone means the default.

    Python's own `input` writes its question to C's standard error, which is turned away once PortAudio is in use.

    Args:
        text: the question.
        default: shown in brackets, if there is one.
        hide: do not show what is typed.
        otherwise: what to do where nobody can answer.

    Raises:
        UsageError: nobody answers any more.
    """
    question = f"{text}{f' [{default}]' if default else ''}: "
    try:
        answer = getpass.getpass(question) if hide else _line(question)
    except EOFError:
        raise UsageError("nobody answered", hint=f"call this again, or {otherwise}") from None
    return answer.strip() or default


def _line(question: str) -> str:
    click.echo(question, nl=False)
    sys.stdout.flush()
    line = sys.stdin.buffer.readline()
    if not line:
        click.echo()
        raise EOFError
    return line.decode(errors="replace")
