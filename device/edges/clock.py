"""The machine's clocks: the wall's, the one since boot that nobody sets, and whether a time server set the first."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

from device.message.timestamps import Now

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIMESYNCD_DONE = "/run/systemd/timesync/synchronized"  # systemd-timesyncd makes it at its first synchronisation
_TIMEX_BYTES = 512  # more than struct timex takes anywhere; all zero means: only read
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised


class SystemClock:
    """Reads the kernel's clocks."""

    def __init__(self) -> None:
        self._boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
        self._adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)

    def now(self) -> Now:
        """Return this moment."""
        return Now(
            wall_ns=time.time_ns(),
            boot_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
            boot_id=self._boot_id,
            synced=self._synced(),
        )

    def _synced(self) -> bool:
        if os.path.exists(_TIMESYNCD_DONE):  # noqa: PTH110 - 1 us instead of 5, and asked for every request
            return True
        if self._adjtimex is None:
            return False
        # ProtectClock= in the unit forbids even this reading; -1 then, and the clock counts as not synchronised.
        return bool(0 <= self._adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)) < _TIME_ERROR)
