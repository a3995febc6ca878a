"""Passwords, read from files only: never from arguments, never shown."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import NamedTuple

from device.errors import ConfigurationError

CREDENTIAL = "mqtt-password"
_MAX_BYTES = 65_535  # MQTT's own limit
_AROUND = b"\xef\xbb\xbf\r\n"  # a byte order mark, as some editors put in front, and a line end


class Password(NamedTuple):
    """A password, None where there is none, and what to warn of."""

    value: str | None
    warning: str = ""

    def __repr__(self) -> str:
        return f"Password(***, warning={self.warning!r})"


def mqtt_password(password_file: str, credentials_directory: str | None) -> Password:
    """Read the broker's password; a byte order mark in front and one line end behind do not count.

    Args:
        password_file: the configured file; empty: what systemd hands over as ``mqtt-password``, if anything.
        credentials_directory: systemd's ``$CREDENTIALS_DIRECTORY``.

    Raises:
        ConfigurationError: the file cannot be read, or holds no password.
    """
    if password_file:
        path, name = Path(password_file), f"[mqtt] password_file = {password_file!r}"
    elif credentials_directory and (Path(credentials_directory) / CREDENTIAL).exists():
        path, name = Path(credentials_directory) / CREDENTIAL, f"systemd credential {CREDENTIAL}"
    else:
        return Password(None)
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            content = file.read(_MAX_BYTES + len(_AROUND) + 1)
    except OSError as error:
        raise ConfigurationError(
            [f"{name}: cannot be read ({error.strerror}); a file with the password alone"]
        ) from error
    try:
        value = content.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ConfigurationError([f"{name}: not UTF-8 text; a file with the password alone, in one line"]) from None
    if not value or "\n" in value or len(value.encode()) > _MAX_BYTES:
        wrong = "is empty" if not value else "has more than one line" if "\n" in value else "is too long"
        raise ConfigurationError([f"{name}: {wrong}; a file with the password alone, in one line"])
    # systemd's own copies are 0440 for root's group, in a folder that nobody else can enter.
    exposed = password_file and mode & (stat.S_IROTH | stat.S_IWOTH)
    warning = f"{name}: every user of this machine can read it (mode {mode:04o}); chmod o-rwx {path}" if exposed else ""
    return Password(value, warning)
