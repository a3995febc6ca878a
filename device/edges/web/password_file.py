"""The file with the password's hash: read whenever it is asked for, so that another password counts at once."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from device.errors import RecorderError
from device.page import password as rules
from device.whole_file import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from device.page.password import Stored

_MOST_BYTES = 4096
_SET = "`wakeword-recorder web --set-password` writes it"


class PasswordFile:
    """The file.

    Args:
        path: where it is, or is to be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Stored | None:
        """Return what is stored; None where there is no file.

        Raises:
            RecorderError: it cannot be read, or holds something else.
        """
        try:
            with self.path.open("rb") as file:
                content = file.read(_MOST_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RecorderError(f"{self.path}: cannot be read: {error.strerror}", hint="use sudo") from error
        try:
            return rules.from_bytes(content)
        except ValueError:
            raise RecorderError(f"{self.path}: is not what a password is stored in", hint=_SET) from None

    def write(self, password: str, *, owner: int | None) -> None:
        """Store a password; whoever was logged in is no more.

        Args:
            password: one without a problem.
            owner: the user who is to read it; None: whoever writes it.

        Raises:
            RecorderError: it cannot be written.
        """
        stored = rules.store(password, salt=secrets.token_bytes(16), session_key=secrets.token_bytes(32))
        try:
            write_whole(self.path, rules.to_bytes(stored), owner=owner if os.geteuid() == 0 else None)
        except OSError as error:
            raise RecorderError(f"{self.path}: cannot be written: {error.strerror}", hint="use sudo") from error
