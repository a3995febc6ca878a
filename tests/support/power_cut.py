"""A power cut: a program's writes are recorded with strace, and a disk is made that lost what was not synced."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

SECTOR = 512
_CALLS = "openat,write,pwrite64,ftruncate,fsync,fdatasync,rename,unlink"
_LINE = re.compile(r"(?:\d+ +)?(\w+)\((.*)\) += (\d+)(?:<.*)?$", re.DOTALL)
_FILE = re.compile(r"\d+<([^>]*)>(?:, (.*))?$", re.DOTALL)
_IGNORED = re.compile(r"-shm$|\.patched")  # what no program reads again after a power cut
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)


@dataclass(frozen=True)
class Call:
    """One recorded system call on a file of the folder, or a ``mark`` that the program made on standard error."""

    kind: str
    name: str
    data: bytes = b""
    at: int = 0


@dataclass
class File:
    """What is on the disk for sure, and the writes and cuts since the last sync, in their order."""

    content: bytearray = field(default_factory=bytearray)
    pending: list[Call] = field(default_factory=list)

    def apply(self, call: Call) -> None:
        if call.kind == "cut":
            del self.content[call.at :]
            self.content.extend(bytes(call.at - len(self.content)))
        else:
            self.content.extend(bytes(max(call.at - len(self.content), 0)))
            self.content[call.at : call.at + len(call.data)] = call.data

    def sync(self) -> None:
        for call in self.pending:
            self.apply(call)
        self.pending.clear()


def record(script: str, folder: Path, log: Path) -> list[Call]:
    """Run a script (its argument is the folder) under strace and return its calls; its marks are lines ``MARK …``."""
    root = Path(__file__).parents[2]
    subprocess.run(
        [
            "strace",
            "-f",
            "-y",
            "-s",
            "1000000",
            "-o",
            log,
            "-e",
            f"trace={_CALLS}",
            sys.executable,
            "-c",
            script,
            folder,
        ],
        env={"PYTHONPATH": f"{root}:{root / 'tests'}", "PATH": os.environ["PATH"]},
        check=True,
        capture_output=True,
        timeout=60,
    )
    calls = [_call(line, folder) for line in log.read_text(encoding="latin-1").splitlines()]
    return [call for call in calls if call is not None and not _IGNORED.search(call.name)]


def _call(line: str, folder: Path) -> Call | None:
    parts = _LINE.match(line)
    if not parts:
        return None
    kind, arguments, _ = parts.groups()
    strings = [ast.literal_eval(f'b"{text}"') for text in _STRING.findall(arguments)]
    if kind in ("rename", "unlink") or (kind == "openat" and "O_CREAT" in arguments):
        names = [os.fsdecode(text) for text in strings]
        if not names[0].startswith(f"{folder}/"):
            return None
        return Call(kind, Path(names[0]).name, data=Path(names[-1]).name.encode())
    file = _FILE.match(arguments)
    if kind == "write" and strings and strings[0].startswith(b"MARK "):
        return Call("mark", strings[0].decode().strip().removeprefix("MARK "))
    if file is None or not (file[1] == str(folder) or file[1].startswith(f"{folder}/")):
        return None
    name = Path(file[1]).name if file[1] != str(folder) else ""
    numbers = arguments.rsplit(", ", 2)
    if kind in ("pwrite64", "write"):
        assert kind == "pwrite64" or _IGNORED.search(name), name
        return Call("write", name, strings[0], int(numbers[-1]))
    if kind == "ftruncate":
        return Call("cut", name, at=int(numbers[-1]))
    assert kind in ("fsync", "fdatasync"), kind
    return Call("sync", name)


class Disk:
    """A folder's files as the program sees them and as they are on the disk for sure."""

    def __init__(self) -> None:
        self.marks: list[str] = []
        self._seen: dict[str, File] = {}
        self._lasting: dict[str, File] = {}
        self._unsynced_names: list[tuple[Call, File]] = []

    def do(self, call: Call) -> None:
        """Let the program make one call."""
        if call.kind == "mark":
            self.marks.append(call.name)
        elif call.kind in ("openat", "rename", "unlink"):
            if call.kind == "openat" and call.name in self._seen:
                return
            change = (call, File())
            _rename(self._seen, *change)
            self._unsynced_names.append(change)
        elif call.kind == "sync" and not call.name:
            for change in self._unsynced_names:
                _rename(self._lasting, *change)
            self._unsynced_names.clear()
        elif call.kind == "sync":
            self._seen[call.name].sync()
        else:
            self._seen[call.name].pending.append(call)

    def lose_power(self, folder: Path, chance: Random | None) -> None:
        """Write the folder as the disk may hold it when the power is cut now; the disk is of no use afterwards.

        Args:
            folder: made anew.
            chance: decides which unsynced sectors and names survived; None: not one of them.
        """
        if chance:  # a journalling file system keeps the order of names
            for change in self._unsynced_names[: chance.randint(0, len(self._unsynced_names))]:
                _rename(self._lasting, *change)
        folder.mkdir(mode=0o700)
        for name, file in self._lasting.items():
            for call in file.pending if chance else ():
                for piece in _pieces(call):
                    if chance.random() < 0.5:
                        file.apply(piece)
            (folder / name).write_bytes(file.content)


def _rename(names: dict[str, File], call: Call, created: File) -> None:
    if call.kind == "openat":
        names[call.name] = created
    elif call.kind == "unlink":
        names.pop(call.name, None)
    else:
        names[call.data.decode()] = names.pop(call.name)


def _pieces(call: Call) -> list[Call]:
    """The parts of a write that a disk writes each wholly or not at all."""
    if call.kind == "cut":
        return [call]
    starts = range(0, len(call.data), SECTOR)
    return [Call("write", call.name, call.data[start : start + SECTOR], call.at + start) for start in starts]
