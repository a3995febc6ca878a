"""The commands that a document tells its reader to type, and each program's own opinion of their arguments."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

from support.daemon import PROGRAM

ROOT = Path(__file__).parents[2]
UNKNOWN = "--no-such-option"
BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
OURS = re.compile(r"(?:sudo )?(?:wakeword-recorder|pytest --|scripts/)")


class Command(NamedTuple):
    """A line to type: its words as a shell reads them, without ``sudo`` and the comment; the line itself."""

    words: tuple[str, ...]
    line: str

    def __str__(self) -> str:
        return " ".join(self.words)


def commands(path: Path) -> list[Command]:
    """Return every line of a document's shell blocks, and of its text what begins with a program of ours."""
    text = path.read_text()
    lines = [
        line
        for language, block in BLOCK.findall(text)
        if language == "sh"
        for line in block.replace("\\\n", " ").splitlines()
    ]
    spans = re.findall(r"`([^`]+)`", BLOCK.sub("", text))
    lines += [" ".join(span.split()) for span in spans if OURS.match(span)]
    found = (Command(tuple(_words(line)), line) for line in lines)
    return list({command.words: command for command in found if command.words}.values())


def _words(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    return words[1:] if words[:1] == ["sudo"] else words


def with_values(words: tuple[str, ...], folder: Path) -> list[str]:
    """Put values in the place of what a document leaves open: ``FOLDER``, ``NAME``, ``…``, ``[…]``."""
    filled = (re.sub(r"^\[|\](…|\.\.\.)?$|(?<=.)…$", "", word) for word in words)
    return [{"FOLDER": str(folder), "…": str(folder), "NAME": "kitchen"}.get(word, word) for word in filled]


def asked(words: list[str]) -> tuple[list[str], str]:
    """Return a command line that makes a script of ours judge these arguments, and do no more, and its complaint.

    An option that no program knows stands at the end: what it complains of must be that one alone.
    """
    script = ROOT / words[0]
    if program := re.search(r'(?:exec .*?/(?:program"|python" -m)|/python" -m(?= pytest)) (\S+)', script.read_text()):
        ours = f"No such option '{UNKNOWN}'.*; see scripts/{script.name} --help"
        complaint = f"({ours}|unrecognized arguments: {UNKNOWN})$"  # scripts/test is pytest
        return [sys.executable, "-P", "-m", program[1], *words[1:], UNKNOWN], complaint
    if script.name == "demo":
        return [str(PROGRAM), "demo", *words[1:], UNKNOWN], f"No such option '{UNKNOWN}'"
    return [str(script), *words[1:], UNKNOWN], f"unknown argument '{UNKNOWN}'; see scripts/{script.name} --help"
