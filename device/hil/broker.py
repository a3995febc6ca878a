"""A mosquitto of the bench's own, on a free port of this machine, for as long as it runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from device.errors import BrokerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_S = 10.0


@contextlib.contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    """Run one for a block and give its port.

    Args:
        folder: for its files.

    Raises:
        BrokerUnavailableError: it is not installed, or does not start.
    """
    program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        raise BrokerUnavailableError(
            "mosquitto is not installed", hint="apt-get install mosquitto, or name a broker by --hil-broker"
        )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    configuration, log = folder / "mosquitto.conf", folder / "mosquitto.log"
    user = ["user root"] if os.geteuid() == 0 else []
    configuration.write_text("\n".join([*user, f"listener {port} 127.0.0.1", "allow_anonymous true"]) + "\n")
    with log.open("wb") as out:
        # Ends with this process, however that ends.
        command = ["setpriv", "--pdeathsig=TERM", "--", program, "-c", str(configuration)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        deadline_s = time.monotonic() + START_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline_s:
                last = log.read_text(errors="replace").splitlines()[-1:] or ["it says nothing"]
                raise BrokerUnavailableError(f"mosquitto does not start: {last[0]}")
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
