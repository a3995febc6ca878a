"""Secrets, read from files only: never from arguments, never shown."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import NamedTuple

from device.errors import ConfigurationError

_AROUND = b"\xef\xbb\xbf\r\n"  # a byte order mark, as some editors put in front, and a line end


class Secret(NamedTuple):
    """A secret, None where there is none, and what to warn of."""

    value: str | None
    warning: str = ""

    def __repr__(self) -> str:
        return f"Secret(***, warning={self.warning!r})"


def read_secret(
    file: str, credentials_directory: str | None, *, credential: str, key: str, noun: str, most_bytes: int
) -> Secret:
    """Read a secret; a byte order mark in front and one line end behind do not count.

    Args:
        file: the configured one; empty: what systemd hands over, if anything.
        credentials_directory: systemd's ``$CREDENTIALS_DIRECTORY``.
        credential: its name there.
        key: the configuration's, such as ``[mqtt] password_file``.
        noun: what it is called in messages.
        most_bytes: a longer one is a mistake.

    Raises:
        ConfigurationError: the file cannot be read, or holds no secret.
    """
    if file:
        path, name = Path(file), f"{key} = {file!r}"
    elif credentials_directory and (Path(credentials_directory) / credential).exists():
        path, name = Path(credentials_directory) / credential, f"systemd credential {credential}"
    else:
        return Secret(None)
    right = f"a file with the {noun} alone"
    try:
        with path.open("rb") as opened:
            mode = stat.S_IMODE(path.stat().st_mode)
            content = opened.read(most_bytes + len(_AROUND) + 1)
    except OSError as error:
        raise ConfigurationError([f"{name}: cannot be read ({error.strerror}); {right}"]) from error
    try:
        value = content.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ConfigurationError([f"{name}: not UTF-8 text; {right}, in one line"]) from None
    if not value or "\n" in value or len(value.encode()) > most_bytes:
        wrong = "is empty" if not value else "has more than one line" if "\n" in value else "is too long"
        raise ConfigurationError([f"{name}: {wrong}; {right}, in one line"])
    # systemd's own copies are 0440 for root's group, in a folder that nobody else can enter.
    exposed = file and mode & (stat.S_IROTH | stat.S_IWOTH)
    warning = f"{name}: every user of this machine can read it (mode {mode:04o}); chmod o-rwx {path}" if exposed else ""
    return Secret(value, warning)
