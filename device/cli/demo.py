"""``demo``: the whole way of a request on a bundled recording, with nothing else needed."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from device.cli.common import common_options, remark
from device.errors import RecorderError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDING = Path(__file__).parents[1] / "resources" / "demo.wav"
PROGRAM = [sys.executable, "-m", "device"]
LIMIT_S = 60


@click.command("demo")
@click.option(
    "--save-to",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the WAV goes; else a new temporary folder.",
)
@common_options
def command(folder: Path | None, config: Path | None, log_format: str) -> None:
    """Run the real daemon on a bundled recording, with a broker and a subscriber of its own.

    Needs no microphone, no broker and no network. Ends by printing the tag and the path of the WAV.
    """
    if config is not None:
        raise UsageError("demo brings its own configuration", hint="use `run --input` to hear a recording with yours")
    folder = folder or Path(tempfile.mkdtemp(prefix="wakeword-recorder-demo-"))
    with tempfile.TemporaryDirectory() as scratch, _broker() as port:
        own = Path(scratch) / "config.toml"
        own.write_text(
            f'[device]\nid = "demo"\nstate_dir = "{scratch}/state"\n'
            f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\nprotocol = "3.1.1"\n',  # all that this broker speaks
            encoding="utf-8",
        )
        with _subscriber(own, folder) as subscriber:
            remark(f"the daemon hears {RECORDING.name}:", log_format)
            daemon = [*PROGRAM, "run", "--config", str(own), "--log-format", log_format]
            daemon += ["--input", str(RECORDING), "--pace", "fast"]
            status = subprocess.run(daemon, check=False).returncode
            if status != 0:
                subscriber.terminate()
                raise RecorderError(f"the daemon ended with status {status}", hint="its messages stand above")
            printed, problems = subscriber.communicate()
    _show(printed, problems)


@contextmanager
def _subscriber(config: Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start `receive` and wait until it is subscribed: MQTT 3.1.1 keeps nothing for a subscriber still to come."""
    command = [*PROGRAM, "receive", "--config", str(config), "--log-format", "json"]
    command += ["--save-to", str(folder), "--count", "1", "--timeout", str(LIMIT_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = process.stderr.readline() if process.stderr else ""
            if '"subscribed"' not in said:
                raise RecorderError(f"the subscriber did not start: {said.strip()}")
            yield process
        finally:
            process.terminate()


def _show(printed: str, problems: str) -> None:
    """Print what the subscriber got, readably."""
    if not printed.strip():
        raise RecorderError("no request arrived", hint=problems.strip() or "the messages above say why")
    received = json.loads(printed.splitlines()[-1])
    file = received.pop("file")
    click.echo(f"\nThe tag, as it stands inside the file:\n{json.dumps(received, indent=2)}\n\nThe request: {file}")


@contextmanager
def _broker() -> Iterator[int]:
    """Run an MQTT broker on a free loopback port, in a thread of its own that ends with the block."""
    try:
        from amqtt.broker import Broker
    except ImportError as error:
        raise RecorderError("demo needs a broker of its own", hint="pip install 'wakeword-recorder[demo]'") from error
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="demo-broker", daemon=True)
    thread.start()

    port = _free_port()

    async def start() -> Broker:
        logging.getLogger("amqtt").setLevel(logging.ERROR)
        broker = Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        await broker.start()
        return broker

    broker = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(broker.shutdown(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
