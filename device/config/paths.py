"""Paths of the configuration: where they lead, and what keeps a file from being read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

FILES = {
    "password_file": "the path of a file that holds the password alone",
    "ca_file": "the path of a PEM file, the authority's certificate",
    "cert_file": "the path of a PEM file, the client certificate",
    "key_file": "the path of a PEM file, the client certificate's key",
    "words": "the path of an .onnx model trained for openWakeWord",
}
"""What the file of a key would be."""


def user_folder(variable: str, fallback: str) -> Path | None:
    """Return the user's folder for one kind of file.

    Args:
        variable: the XDG variable that names it.
        fallback: where it is else, below the home folder.

    Returns:
        The folder; None where the variable is not set and nobody knows a home folder.
    """
    named = os.environ.get(variable)
    if named:
        return Path(named)
    try:
        return Path.home() / fallback
    except RuntimeError:
        return None


def real_path(value: str, folder: Path) -> str:
    """Return the path that a value means: ``~`` expanded, a relative one counted from the configuration's folder.

    Args:
        value: as it stands in the file.
        folder: the configuration file's.

    Raises:
        ValueError: it is no path, with the reason and what would be right.
    """
    if "\0" in value:
        raise ValueError("a path cannot hold a NUL character; leave it out")
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        raise ValueError("holds characters that file names cannot have with this locale") from None
    try:
        return str(folder / Path(value).expanduser())
    except RuntimeError:
        who = value.split("/", maxsplit=1)[0]
        raise ValueError(f"nobody knows the home folder of {who}; write the whole path") from None


def file_problem(path: str) -> str:
    """Return why there is no file at a path, or none that can be seen from here; empty if there is one."""
    try:
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "no such file"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if stat.S_ISREG(mode) else "not a file"


def is_folder(path: Path) -> bool:
    """Return whether there is a folder, as far as this user may know."""
    try:
        return path.is_dir()
    except OSError:
        return False


def same_folder(one: str, other: str) -> bool:
    """Return whether two paths lead to one place, which need not exist yet."""
    return Path(os.path.realpath(one)) == Path(os.path.realpath(other))
