"""The daemon with a witness: all that it hears from the microphone goes into a pipe, too, and is kept at its other end.

Run as a program of its own by `daemon.running` (``python -m device.hil.tee CONFIG DESCRIPTOR``): the daemon itself has
no such way out. In the pipe is a header and, for a block, its int16 samples. A file would keep the daemon waiting for a
slow disk.
"""

from __future__ import annotations

import math
import os
import struct
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from device.errors import RecorderError
from device.hearing.frames import RATE_HZ, Samples

if TYPE_CHECKING:
    from device.edges.microphone import Microphone

HEADER = struct.Struct("<cdI")  # kind, the system's monotonic clock in seconds, samples
DRIFT = 2e-4  # how much slower than this machine's clock a microphone's may run
BLOCK, HOLE, GAP = b"B", b"H", b"G"


def main(arguments: list[str]) -> int:
    """Run the daemon on a configuration, with a pipe's end as witness; return its exit status."""
    from device import log
    from device.cli.common import report
    from device.config import settings as config
    from device.edges import microphone

    path, descriptor = Path(arguments[0]), int(arguments[1])
    try:
        loaded = config.load(path)
        log.setup("json", loaded.log.level)
        with os.fdopen(descriptor, "wb") as witness:
            microphone.Microphone = witnessed(microphone.Microphone, witness)  # type: ignore[misc]
            from device.daemon.app import App

            return App(loaded).run()
    except RecorderError as error:
        report(error, "json")
        return error.exit_status


def witnessed(kind: type[Microphone], pipe: BinaryIO) -> type[Microphone]:
    """Return a microphone of that kind that also writes into a pipe whatever is read from it."""
    from device.edges.microphone import Block, Gap, Hole

    class Witnessed(kind):  # type: ignore[misc, valid-type]
        def read(self, timeout_s: float) -> Block | Hole | Gap | None:
            item: Block | Hole | Gap | None = super().read(timeout_s)
            now = time.monotonic()
            match item:
                case Block(samples):
                    pipe.write(HEADER.pack(BLOCK, now, len(samples)) + samples.astype("<i2").tobytes())
                case Hole(missing):
                    pipe.write(HEADER.pack(HOLE, now, missing))
                case Gap():
                    pipe.write(HEADER.pack(GAP, now, 0))
            pipe.flush()
            return item

    return Witnessed


class TappedSound:
    """What the daemon has heard, read from its pipe by a thread as it comes.

    Args:
        outlet: the pipe's end, a file descriptor, which this object owns from now on.

    Attributes:
        end: the stream position after the last sample.
        began_s: when the stream's first sample was heard, by the system's monotonic clock and what came last.
        holes: where sound was missing, said the microphone: position and samples; 0 samples: nobody knows how many.
    """

    def __init__(self, outlet: int) -> None:
        self._outlet = outlet
        self._lock = threading.Lock()  # guards the blocks
        self._blocks: list[tuple[int, Samples]] = []
        self.end = 0
        self.began_s = math.inf
        self.holes: list[tuple[int, int]] = []
        self._thread = threading.Thread(target=self._read, name="witness", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for the pipe's end, which comes with the daemon's."""
        self._thread.join()

    def _read(self) -> None:
        with os.fdopen(self._outlet, "rb") as pipe:
            while len(header := pipe.read(HEADER.size)) == HEADER.size:
                kind, now, samples = HEADER.unpack(header)
                self._take(kind, now, samples, pipe.read(2 * samples) if kind == BLOCK else b"")

    def _take(self, kind: bytes, now: float, samples: int, pcm: bytes) -> None:
        if kind != BLOCK:
            self.holes.append((self.end, samples))
            self.end += samples
            return
        with self._lock:
            self._blocks.append((self.end, np.frombuffer(pcm, "<i2")))
        self.end += samples
        # A block can come late, never early: the earliest one shows when the stream began.
        self.began_s = min(now - self.end / RATE_HZ, self.began_s + DRIFT * samples / RATE_HZ)

    def position_at(self, monotonic_s: float) -> int:
        """Return about which stream position was heard at a time of the system's monotonic clock."""
        return max(round((monotonic_s - self.began_s) * RATE_HZ), 0) if self.end else 0

    def slice(self, start: int, end: int) -> Samples:
        """Return the samples between two stream positions, 0 where there are none."""
        out = np.zeros(max(end - start, 0), np.int16)
        with self._lock:
            blocks = list(self._blocks)
        for position, block in blocks:
            first, last = max(position, start), min(position + len(block), end)
            if first < last:
                out[first - start : last - start] = block[first - position : last - position]
        return out

    def forget(self, before: int) -> None:
        """Let go of what was heard before a stream position."""
        with self._lock:
            self._blocks = [(at, block) for at, block in self._blocks if at + len(block) > before]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
