"""Starts a program and writes down what it used; a script of the standard library alone, run with ``-I -S``.

Linux takes the memory of who starts a program for the program's own, up to its exec: a starter with numpy in it would
be measured instead of a lean child. This one has some 9 MB. A SIGTERM is handed on.
"""

import json
import os
import signal
import sys
import time


def main() -> int:
    """Run the command after the report's path; return its exit status."""
    report, *command = sys.argv[1:]
    began = time.monotonic()
    pid = os.posix_spawnp(command[0], command, os.environ)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    _, status, used = os.wait4(pid, 0)
    facts = {
        "began": began,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss * 1024 / 1e6,
        "switches": used.ru_nvcsw,
        "elapsed_s": time.monotonic() - began,
    }
    with open(report, "w", encoding="utf-8") as file:  # noqa: PTH123 - importing pathlib would cost it memory
        json.dump(facts, file)
    return os.waitstatus_to_exitcode(status)


sys.exit(main())
