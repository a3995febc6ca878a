"""A program of its own around one ``Microphone``: commands come in on standard input, what happens goes out as JSON.

``python microphone_probe.py NAME CHANNEL`` prints a line for each state and gap and one for each command: ``mute``,
``unmute``, ``count`` (samples read so far), ``hear N`` (once N more were read), ``cpu`` (seconds this process used
until now), ``save PATH`` (all samples as .npy), ``close``. Times are CLOCK_MONOTONIC's, which all processes share. The
variable SYSFS names a folder to read in place of /sys.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from device.edges.microphone import Block, Gap, Hole, Microphone, ports
from device.errors import RecorderError

_out = threading.Lock()  # lines come from three threads


def say(event: str, **facts: Any) -> None:
    line = json.dumps({"event": event, "at_s": time.monotonic(), **facts})
    with _out:
        print(line, flush=True)


def main(name: str, channel: int) -> int:  # noqa: C901 - one script, read from top to bottom
    heard: list[np.ndarray] = []
    wanted: list[int] = []  # totals of samples to say something at, ascending
    ending = threading.Event()
    microphone = Microphone(name, channel, on_state=lambda state: say("state", state=state.name, reason=state.reason))

    def read() -> None:  # ends with main(), which sets ending and joins it; heard is appended to by it alone
        try:
            while not ending.is_set():
                item = microphone.read(0.2)
                if isinstance(item, Block):
                    heard.append(item.samples)
                    while wanted and sum(map(len, heard)) >= wanted[0]:
                        say("hear", samples=wanted.pop(0))
                elif isinstance(item, Hole):
                    say("hole", samples=item.samples, position=sum(map(len, heard)))
                elif isinstance(item, Gap):
                    say("gap", why=item.why)
        except RecorderError as error:
            say("failed", error=str(error))

    reader = threading.Thread(target=read)
    microphone.start()
    reader.start()
    try:
        for line in sys.stdin:
            command, *arguments = line.split(maxsplit=1)
            match command:
                case "mute":
                    microphone.mute()
                    say("muted")
                case "unmute":
                    microphone.unmute()
                    say("unmuted")
                case "count":
                    form = microphone.stream_format
                    rate_hz = form.rate_hz if form else 0
                    say("count", samples=sum(map(len, heard)), source=microphone.source_name, rate_hz=rate_hz)
                case "hear":
                    wanted.append(sum(map(len, heard)) + int(arguments[0]))
                case "cpu":
                    say("cpu", cpu_s=time.process_time())
                case "save":
                    np.save(arguments[0].strip(), np.concatenate(heard))
                    say("saved")
                case "close":
                    break
        microphone.close()
        say("closed")
    except RecorderError as error:
        say("failed", error=str(error))
        return error.exit_status
    finally:
        ending.set()
        reader.join()
    return 0


if __name__ == "__main__":
    ports.SYSFS = Path(os.environ.get("SYSFS", ports.SYSFS))
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
