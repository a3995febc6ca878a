"""The one tree of errors: each knows its hint for the person, whether trying again can help, and its exit status."""

from __future__ import annotations

from typing import ClassVar


class RecorderError(Exception):
    """Anything the program expects to go wrong, said in one line.

    Args:
        message: what is wrong and where, with the value.
        hint: what would be right or what to do; shown after the message.
    """

    exit_status: ClassVar[int] = 1
    retry: ClassVar[bool] = False  # can the same thing work later without anybody changing anything?

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UsageError(RecorderError):
    """The command line asks for something that does not exist or cannot be combined."""

    exit_status = 2


class ConfigurationError(RecorderError):
    """The configuration is wrong; ``problems`` holds every one of them, a line each."""

    exit_status = 78

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class ModelError(RecorderError):
    """A wake word model is missing, is no model, or has a shape that cannot be used."""

    exit_status = 78


class StateFolderError(RecorderError):
    """The state folder cannot be made, read or written."""

    exit_status = 78


class MicrophoneUnavailableError(RecorderError):
    """No matching input device, or it cannot be opened now."""

    exit_status = 69
    retry = True


class BrokerUnavailableError(RecorderError):
    """The broker cannot be reached, or refuses the connection."""

    exit_status = 69
    retry = True


class RecordingError(RecorderError):
    """A recording cannot be read."""


class StoreError(RecorderError):
    """The database failed; what was asked for did not happen."""


class StoreBusyError(StoreError):
    """The database cannot take it now (disk full, locked, read-only); the same call may work later."""

    retry = True


class UnstorableError(StoreError):
    """A request breaks the tag's schema, so that nobody could read it again: a mistake of the program."""


class CommandRefusedError(RecorderError):
    """A remote command that would undo what somebody has chosen since; nothing happened."""


class TagError(RecorderError):
    """A received message is not a request of ours, or its topic, properties and tag disagree."""
