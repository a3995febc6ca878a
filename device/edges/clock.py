"""The machine's clocks: the wall's, the one since boot that nobody sets, and whether a time server set the first."""

from __future__ import annotations

import ctypes
import functools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from device.message.timestamps import Now

if TYPE_CHECKING:
    from collections.abc import Callable

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TIMESYNCD_DONE = "/run/systemd/timesync/synchronized"  # systemd-timesyncd makes it at its first synchronisation
_TIMEX_BYTES = 512  # more than struct timex takes anywhere; all zero means: only read
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised


_Timex = ctypes.c_char * _TIMEX_BYTES


@functools.cache
def _adjtimex() -> Callable[[ctypes.Array[ctypes.c_char]], int] | None:
    """Return the C library's function; looking it up takes ten times as long as calling it."""
    return getattr(ctypes.CDLL(None), "adjtimex", None)


def kernel_state() -> int:
    """Return what adjtimex(2) says of the wall's clock: 0 to 4, or 5: not synchronised; -1: nobody may ask, or can."""
    adjtimex = _adjtimex()
    # ProtectClock= in the unit forbids even this reading; then the clock counts as not synchronised.
    return -1 if adjtimex is None else int(adjtimex(_Timex()))


class SystemClock:
    """Reads the kernel's clocks.

    Args:
        marker: a file that is there once a time server has set the clock.
        state: what the kernel says of that, where the file is not there.
    """

    def __init__(self, marker: str = TIMESYNCD_DONE, state: Callable[[], int] = kernel_state) -> None:
        self._boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
        self._marker = marker
        self._state = state

    def now(self) -> Now:
        """Return this moment."""
        return Now(
            wall_ns=time.time_ns(),
            boot_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
            boot_id=self._boot_id,
            # By os.path: 1 us instead of 5, and asked for every request.
            synced=os.path.exists(self._marker) or 0 <= self._state() < _TIME_ERROR,  # noqa: PTH110
        )
