"""Writes files that are there whole or not at all, after a power cut too."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(
    path: Path, content: bytes, *, mode: int = 0o600, replace: bool = True, owner: int | None = None
) -> None:
    """Write a file under another name and rename it when the disk has all of it.

    Args:
        path: in a folder that exists.
        content: all of it.
        mode: its permissions, whatever the umask.
        replace: whether it may take the place of a file of this name.
        owner: the user it is given to; None: whoever writes it.

    Raises:
        FileExistsError: there is a file of this name, and it is not to be replaced.
        OSError: it cannot be written; nothing of it is left.
    """
    number, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    new = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(number, mode)
            if owner is not None:
                os.fchown(number, owner, -1)
            os.fsync(number)
        if replace:
            new.replace(path)
        else:
            os.link(new, path)
    finally:
        new.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the disk keep which files the folder holds."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)
