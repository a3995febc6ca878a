"""The daemon with a witness: all that it hears from the microphone is written to a file, in its own sample numbers.

Run as a program of its own by `rig.Rig` (``python -m device.hil.tee CONFIG FILE``): the daemon itself has no such way
out. Each entry of the file is a header and, for a block, its int16 samples.
"""

from __future__ import annotations

import math
import struct
import sys
import time
from dataclasses import dataclass, field
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
    """Run the daemon on a configuration, with the file as witness; return its exit status."""
    from device import log
    from device.cli.common import report
    from device.config import settings as config
    from device.edges import microphone

    path, file = map(Path, arguments)
    try:
        loaded = config.load(path)
        log.setup("json", loaded.log.level)
        with file.open("wb") as witness:
            microphone.Microphone = witnessed(microphone.Microphone, witness)  # type: ignore[misc]
            from device.daemon.app import App

            return App(loaded).run()
    except RecorderError as error:
        report(error, "json")
        return error.exit_status


def witnessed(kind: type[Microphone], file: BinaryIO) -> type[Microphone]:
    """Return a microphone of that kind that also writes to a file whatever is read from it."""
    from device.edges.microphone import Block, Gap, Hole

    class Witnessed(kind):  # type: ignore[misc, valid-type]
        def read(self, timeout_s: float) -> Block | Hole | Gap | None:
            item: Block | Hole | Gap | None = super().read(timeout_s)
            now = time.monotonic()
            match item:
                case Block(samples):
                    file.write(HEADER.pack(BLOCK, now, len(samples)) + samples.astype("<i2").tobytes())
                case Hole(missing):
                    file.write(HEADER.pack(HOLE, now, missing))
                case Gap():
                    file.write(HEADER.pack(GAP, now, 0))
            file.flush()
            return item

    return Witnessed


@dataclass(slots=True)
class Heard:
    """What the daemon has heard so far, read from the file as it grows.

    Attributes:
        path: the file.
        end: the stream position after the last sample.
        began_s: when the stream's first sample was heard, by the system's monotonic clock and what came last.
        holes: where sound was missing, said the microphone: position and samples; 0 samples: nobody knows how many.
    """

    path: Path
    end: int = 0
    holes: list[tuple[int, int]] = field(default_factory=list)
    _read: int = 0
    _blocks: list[tuple[int, Samples]] = field(default_factory=list)
    began_s: float = math.inf

    def update(self) -> int:
        """Read what is new; return the stream position after it."""
        if not self.path.exists():
            return self.end
        with self.path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        at = 0
        while at + HEADER.size <= len(new):
            kind, now, samples = HEADER.unpack_from(new, at)
            size = 2 * samples if kind == BLOCK else 0
            if at + HEADER.size + size > len(new):
                break
            at += HEADER.size
            self._take(kind, now, samples, new[at : at + size])
            at += size
        self._read += at
        return self.end

    def _take(self, kind: bytes, now: float, samples: int, pcm: bytes) -> None:
        if kind == BLOCK:
            self._blocks.append((self.end, np.frombuffer(pcm, "<i2")))
        else:
            self.holes.append((self.end, samples))
        self.end += samples
        if kind == BLOCK:
            # A block can come late, never early: the earliest one shows when the stream began.
            self.began_s = min(now - self.end / RATE_HZ, self.began_s + DRIFT * samples / RATE_HZ)

    def position_at(self, monotonic_s: float) -> int:
        """Return about which stream position was heard at a time of the system's monotonic clock."""
        return max(round((monotonic_s - self.began_s) * RATE_HZ), 0) if self.end else 0

    def slice(self, start: int, end: int) -> Samples:
        """Return the samples between two stream positions, 0 where there are none."""
        out = np.zeros(max(end - start, 0), np.int16)
        for position, block in self._blocks:
            first, last = max(position, start), min(position + len(block), end)
            if first < last:
                out[first - start : last - start] = block[first - position : last - position]
        return out

    def forget(self, before: int) -> None:
        """Let go of what was heard before a stream position."""
        self._blocks = [(at, block) for at, block in self._blocks if at + len(block) > before]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
