"""The installed command as a user runs it: a process, its configuration, its log of events."""

from __future__ import annotations

import atexit
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(sys.executable).with_name("wakeword-recorder")
PATIENCE_S = 100  # the reference engine alone imports for half a minute where five others want the processor


class Device:
    """One device: a configuration and a state folder of its own.

    Args:
        folder: where both are.
        port: the broker's; None: one where nothing listens.
        settings: further TOML, by section.
    """

    def __init__(self, folder: Path, port: int | None = None, **settings: str) -> None:
        self.folder = folder
        self.config = folder / "config.toml"
        settings["device"] = f'id = "kitchen"\nstate_dir = "{folder / "state"}"\n' + settings.get("device", "")
        settings["mqtt"] = f'host = "127.0.0.1"\nport = {port or 1}\n' + settings.get("mqtt", "")
        self.config.write_text("".join(f"[{section}]\n{lines}\n" for section, lines in settings.items()))
        self.env = {**os.environ, "XDG_CACHE_HOME": _cache_home()}
        self.env.pop("STATE_DIRECTORY", None)

    def command(self, *arguments: object) -> list[str]:
        """Return the command line for a command of this device."""
        name, *rest = map(str, arguments)
        return [str(PROGRAM), name, "--config", str(self.config), *rest]

    def call(self, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command = self.command(*arguments)
        options = {"env": self.env, "capture_output": True, "text": True, "timeout": PATIENCE_S, **options}
        return subprocess.run(command, check=False, **options)

    def hear(self, *recordings: Path, arguments: tuple[object, ...] = (), status: int = 0) -> list[dict[str, Any]]:
        """Run the daemon on recordings at fast pace and return its events; the status must be the expected one."""
        inputs = [argument for path in recordings for argument in ("--input", path)]
        done = self.call("run", *inputs, "--pace", "fast", "--log-format", "json", *arguments)
        assert done.returncode == status, done.stderr
        return [json.loads(line) for line in done.stderr.splitlines()]


@lru_cache
def _cache_home() -> str:
    """Return the cache folder of all devices of this process: what can be made again is made but once."""
    folder = tempfile.mkdtemp(prefix="wakeword-recorder-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


class Daemon:
    """The daemon, running until the block ends; its events are read as they are said."""

    def __init__(self, device: Device, *arguments: object, env: dict[str, str] | None = None) -> None:
        self._command = device.command("run", "--log-format", "json", *arguments)
        self._env = {**device.env, **(env or {})}
        self.events: list[dict[str, Any]] = []
        self._returned: dict[str, int] = {}  # by name: how many events were looked through for it

    def __enter__(self) -> Daemon:
        self.process = subprocess.Popen(self._command, env=self._env, stderr=subprocess.PIPE, text=True)
        self._lines = self._read()
        return self

    def _read(self) -> Iterator[dict[str, Any]]:
        assert self.process.stderr
        for line in self.process.stderr:
            event = json.loads(line)
            self.events.append(event)
            yield event

    def wait_for(self, name: str) -> dict[str, Any]:
        """Return the next event of this name, one said already included; the test's own timeout bounds the wait."""
        for number in itertools.count(self._returned.get(name, 0)):
            if number >= len(self.events) and next(self._lines, None) is None:
                break
            if self.events[number].get("event") == name:
                self._returned[name] = number + 1
                return self.events[number]
        raise AssertionError(f"ended with {self.process.wait()} before {name!r}: {self.events}")

    def stop(self) -> int:
        """Stop it as systemd does, read the rest, and return its status."""
        self.process.terminate()
        return self.end()

    def end(self) -> int:
        """Read the rest until it ends by itself, and return its status."""
        for _ in self._lines:
            pass
        return self.process.wait(PATIENCE_S)

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stderr
        self.process.stderr.close()
