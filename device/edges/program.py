"""A program of somebody else's, run to its end within bounds: of time, and of what it writes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST_ERROR_BYTES = 65_536  # on standard error; who writes more than this writes without end
_LOOK_S = 0.2  # how soon it is seen that nobody waits for the program any more
_SHOWN = 160  # characters of its last words
# The service's own business: its notification socket, its watchdog, its secrets.
_WITHHELD = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY")


def run(
    command: Sequence[str],
    standard_input: bytes,
    *,
    folder: str,
    timeout_s: float,
    on_start: Callable[[], None] = lambda: None,
    given_up: Callable[[], bool] = lambda: False,
) -> str:
    """Run a program without a shell, in a process group of its own, and wait for its end.

    What it writes to standard output goes nowhere. It is killed when its time is over or it writes without end, and
    whatever it leaves running ends with it.

    Args:
        command: the program and its arguments.
        standard_input: what it may read.
        folder: where it starts.
        timeout_s: how long it may take.
        on_start: called once it runs.
        given_up: asked a few times a second; true ends it.

    Returns:
        What went wrong, in one line; empty if nothing did.
    """
    try:
        process = _start(command, standard_input, folder)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError) and error.filename == command[0]
        return f"{error.filename or command[0]}: " + ("no such program" if missing else str(error.strerror).lower())
    with process:
        on_start()
        try:
            problem, words = _watch(process, timeout_s, given_up)
        finally:
            _kill_group(process.pid)
        status = process.wait()
    return problem or _ending(status, words)


def _start(command: Sequence[str], standard_input: bytes, folder: str) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if name not in _WITHHELD}
    given = os.memfd_create("input")  # not a pipe: a program that does not read it keeps nobody waiting
    try:
        os.write(given, standard_input)
        os.lseek(given, 0, os.SEEK_SET)
        return subprocess.Popen(
            command, stdin=given, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder, env=environment,
            start_new_session=True,
        )  # fmt: skip
    finally:
        os.close(given)


def _watch(process: subprocess.Popen[bytes], timeout_s: float, given_up: Callable[[], bool]) -> tuple[str, bytes]:
    """Wait for the end; return why it has to be killed, empty if it ended, and what it wrote to standard error."""
    assert process.stderr is not None  # noqa: S101
    deadline_s = time.monotonic() + timeout_s
    errors, ending = process.stderr.fileno(), os.pidfd_open(process.pid)
    os.set_blocking(errors, False)
    words = b""
    poll = select.poll()
    poll.register(errors, select.POLLIN)
    poll.register(ending, select.POLLIN)
    try:
        while True:
            ready = dict(poll.poll(_LOOK_S * 1000))
            if errors in ready:
                if more := os.read(errors, 4096):
                    words += more
                else:
                    poll.unregister(errors)  # it has closed it
            if len(words) > MOST_ERROR_BYTES:
                return f"wrote over {MOST_ERROR_BYTES} bytes to standard error; ended", words
            if ending in ready and errors not in ready:
                return "", words
            if time.monotonic() >= deadline_s:
                return f"not done within {timeout_s:g} s; ended", words
            if given_up():
                return "not done when the recorder stopped; ended", words
    finally:
        os.close(ending)


def _kill_group(leader: int) -> None:
    """End all that is left of a process group; its leader was not waited for yet, so that the number is still its."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # all have ended; or what is left took another user's rights


def _ending(status: int, words: bytes) -> str:
    if status == 0:
        return ""
    last = words.decode(errors="replace").strip().rpartition("\n")[2]
    said = "".join(character for character in last if character.isprintable())[:_SHOWN]
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    return how + (f": {said}" if said else "")
