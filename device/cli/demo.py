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
from typing import TYPE_CHECKING, Any

import click

from device.cli.common import common_options, remark
from device.config.paths import user_folder
from device.errors import RecorderError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDING = Path(__file__).parents[1] / "resources" / "demo.wav"
PROGRAM = [sys.executable, "-P", "-m", "device"]
LIMIT_S = 60
ENDING_S = 5.0
# The demo's broker speaks MQTT 3.1.1, of which the daemon warns; a broker in this process drops nothing unseen.
UNFOUNDED = "broker-cannot-tell"


@click.command("demo")
@click.option(
    "--save-to",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the WAV goes; else ~/.cache/wakeword-recorder/demo, in place of the last demo's.",
)
@common_options
def command(folder: Path | None, config: Path | None, log_format: str) -> None:
    """Run the real daemon on a bundled recording, with a broker and a subscriber of its own.

    Needs no microphone, no broker and no network. Ends by printing the tag and the path of the WAV.
    """
    if config is not None:
        raise UsageError("demo brings its own configuration", hint="use `run --input` to hear a recording with yours")
    with _broker() as port, tempfile.TemporaryDirectory(prefix="wakeword-recorder-demo-") as scratch:
        folder = folder or _own_folder()
        own = Path(scratch) / "config.toml"
        own.write_text(
            f'[device]\nid = "demo"\nstate_dir = "{scratch}/state"\n'
            f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\nprotocol = "3.1.1"\n',  # all that this broker speaks
            encoding="utf-8",
        )
        with _subscriber(own, folder) as subscriber:
            remark(f"requests are saved in {folder}", log_format)
            remark(f"the daemon hears {RECORDING.name}:", log_format)
            status = _hear(own)
            if status != 0:
                raise RecorderError(f"the daemon ended with status {status}", hint="its messages stand above")
            printed, problems = subscriber.communicate()
    _show(printed, problems)


def _own_folder() -> Path:
    """Return the demo's own folder, without what the last demo left; a temporary one where it cannot be used."""
    cache = user_folder("XDG_CACHE_HOME", ".cache")
    if cache is not None:
        folder = cache / "wakeword-recorder" / "demo"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for old in folder.glob("*.wav"):
                old.unlink()
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            pass  # no home that can be written to: one more temporary folder, and its path is printed
    return Path(tempfile.mkdtemp(prefix="wakeword-recorder-demo-"))


@contextmanager
def _process(*arguments: object, config: Path, stdout: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run a command of this program with its log as JSON; it ends with the block, in order.

    In a session of its own: Ctrl-C ends this process, which then ends the others.
    """
    name, *rest = map(str, arguments)
    command = [*PROGRAM, name, "--config", str(config), "--log-format", "json", *rest]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(ENDING_S)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def _subscriber(config: Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start `receive` and wait until it is subscribed: MQTT 3.1.1 keeps nothing for a subscriber still to come."""
    arguments = ("receive", "--save-to", folder, "--count", 1, "--timeout", LIMIT_S)
    with _process(*arguments, config=config, stdout=subprocess.PIPE) as process:
        said = _parsed(process.stderr.readline() if process.stderr else "")
        if said.get("event") != "subscribed":
            raise RecorderError(f"the subscriber did not start: {said['message']}")
        yield process


def _hear(config: Path) -> int:
    """Run the daemon on the recording, show what it says, and return its status."""
    log = logging.getLogger("wakeword-recorder")
    log.setLevel(logging.INFO)
    with _process("run", "--input", RECORDING, "--pace", "fast", config=config) as process:
        for line in process.stderr or ():
            said = _parsed(line)
            level = logging.getLevelNamesMapping()[said.pop("level").upper()]
            del said["time"]
            if said.get("event") != UNFOUNDED:
                log.log(level, "%s", said.pop("message"), extra={"fields": said})
        return process.wait()


def _parsed(line: str) -> dict[str, Any]:
    """Return the object that a line of a log holds; what is none becomes the message of an error."""
    try:
        said = json.loads(line)
    except ValueError:
        said = None
    return said if isinstance(said, dict) else {"time": "", "level": "error", "message": line.strip()}


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
        raise RecorderError("demo needs a broker of its own", hint="scripts/setup --extras demo brings it") from error
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
