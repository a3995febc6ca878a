"""The one way to lock a file or a folder: flock(2), which the kernel gives back however a process ends.

The lock belongs to the open file, so that nothing else the process opens or closes lets go of it.
"""

from __future__ import annotations

import fcntl
import time

SHARED, ALONE = fcntl.LOCK_SH, fcntl.LOCK_EX
_POLL_S = 0.005


def lock(file: int, kind: int, timeout_s: float) -> bool:
    """Lock an open file, or change the kind of its lock.

    Args:
        file: its descriptor.
        kind: ``SHARED`` or ``ALONE``.
        timeout_s: how long to wait for others to let go; 0: not at all.

    Returns:
        Whether it is locked; where it is not, a lock that it had may be gone, too.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        else:
            return True


def unlock(file: int) -> None:
    """Let go of an open file."""
    fcntl.flock(file, fcntl.LOCK_UN)
