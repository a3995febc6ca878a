"""A real Home Assistant in an environment of its own, set up by its REST API as a person does; for long tests.

Its release is the last one for Python 3.13, of which it asks for 3.13.2: where an older 3.13 is what there is, that
check is passed by. Making the environment takes some minutes and the network, once.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import aiohttp

from support.broker import PATIENCE_S, await_true, free_port

VERSION = "2026.2.3"
MADE = Path(f"/var/tmp/wakeword-recorder-tests/home-assistant-{VERSION}")  # noqa: S108 - only root may write there
# What the integrations below ask for; Home Assistant would fetch it while it starts.
PARTS = (
    "hassil==3.5.0", "home-assistant-intents==2026.1.28", "pymicro-vad==1.0.1", "pyspeex-noise==1.0.2",
    "mutagen==1.47.0", "wyoming==1.7.2", "ha-ffmpeg==3.2.2", "paho-mqtt==2.1.0", "home-assistant-frontend==20260128.6",
)  # fmt: skip
START = """
import sys
import homeassistant.const as constants
constants.REQUIRED_PYTHON_VER = min(constants.REQUIRED_PYTHON_VER, sys.version_info[:3])
from homeassistant import __main__ as program
program.REQUIRED_PYTHON_VER = constants.REQUIRED_PYTHON_VER
sys.exit(program.main())
"""
CONFIGURATION = """
homeassistant:
  name: Test
  unit_system: metric
  time_zone: UTC
http:
  server_host: 127.0.0.1
  server_port: {port}
api:
config:
websocket_api:
assist_pipeline:
conversation:
tts:
input_boolean:
  lamp:
    name: Lamp
template:
  - light:
      - name: Light
        unique_id: light
        state: "{{{{ is_state('input_boolean.lamp', 'on') }}}}"
        turn_on:
          - action: input_boolean.turn_on
            target: {{entity_id: input_boolean.lamp}}
        turn_off:
          - action: input_boolean.turn_off
            target: {{entity_id: input_boolean.lamp}}
logger:
  default: warning
"""
CLIENT = "http://127.0.0.1/"
START_S = 180.0


def obstacle() -> str:
    """Return why it cannot be run here; empty if it can."""
    return "" if MADE.exists() or _python() else "Home Assistant 2026.2.3 needs Python 3.13"


def _python() -> str | None:
    candidates = [shutil.which("python3.13"), *map(str, Path.home().glob(".pyenv/versions/3.13.*/bin/python3.13"))]
    for candidate in filter(None, candidates):
        if (
            subprocess.run([candidate, "-c", "import venv, ensurepip"], check=False, capture_output=True).returncode
            == 0
        ):
            return candidate
    return None


def _make() -> None:
    python = _python()
    assert python, obstacle()
    half = MADE.with_name(f"{MADE.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    subprocess.run([python, "-m", "venv", half], check=True)
    pip = [half / "bin" / "python", "-m", "pip", "install", "--quiet", "--prefer-binary"]
    subprocess.run([*pip, "--ignore-requires-python", f"homeassistant=={VERSION}"], check=True)
    subprocess.run([*pip, *PARTS], check=True)
    half.rename(MADE)


def _made() -> Path:
    """Return the environment's interpreter; the first time it is made."""
    MADE.parent.mkdir(mode=0o755, exist_ok=True)
    with MADE.with_name(f"{MADE.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several test runs one makes it, and the others wait
        if not MADE.exists():
            _make()
    return MADE / "bin" / "python"


class HomeAssistant:
    """One Home Assistant with a light; started, stopped and started again on the same port.

    Args:
        folder: for its configuration.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "home-assistant"
        self.folder.mkdir()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = ""
        (self.folder / "configuration.yaml").write_text(CONFIGURATION.format(port=self.port))
        self._process: subprocess.Popen[bytes] | None = None
        self.log = folder / "home-assistant.log"

    def start(self) -> None:
        """Start it, and wait until it says that it runs; the first time a person is made."""
        python = _made()
        with self.log.open("ab") as log:
            command = [python, "-c", START, "--config", self.folder, "--skip-pip"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        await_true(self._listens, "Home Assistant listens", START_S)
        if not self.token:
            self._onboard()
        await_true(lambda: self.call("/api/config")["state"] == "RUNNING", "Home Assistant runs", START_S)

    def stop(self) -> None:
        """Stop it in order."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-3000:]
        try:
            urllib.request.urlopen(f"{self.url}/api/onboarding", timeout=2).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def _onboard(self) -> None:
        """Make the first user and a long-lived token, as a person does in the browser."""
        person = {"name": "Kim", "username": "kim", "password": "a password", "client_id": CLIENT, "language": "en"}
        code = self.call("/api/onboarding/users", person)["auth_code"]
        form = urllib.parse.urlencode({"client_id": CLIENT, "grant_type": "authorization_code", "code": code})
        with urllib.request.urlopen(f"{self.url}/auth/token", form.encode(), timeout=PATIENCE_S) as answer:
            self.token = json.load(answer)["access_token"]
        for step in ("core_config", "analytics"):
            self.call(f"/api/onboarding/{step}", {})
        self.call("/api/onboarding/integration", {"client_id": CLIENT, "redirect_uri": f"{CLIENT}?auth_callback=1"})
        self.token = self.command("auth/long_lived_access_token", client_name="recorder", lifespan=3650)

    def call(self, path: str, content: object = None) -> Any:
        """Call its REST API."""
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {self.token}"} if self.token else {}
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"{self.url}{path}", body, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def command(self, kind: str, **arguments: object) -> Any:
        """Send one command by its websocket API and return the result."""

        async def exchange() -> Any:
            async with aiohttp.ClientSession() as client, client.ws_connect(f"{self.url}/api/websocket") as socket:
                await socket.receive_json()
                await socket.send_json({"type": "auth", "access_token": self.token})
                assert (await socket.receive_json())["type"] == "auth_ok"
                await socket.send_json({"id": 1, "type": kind, **arguments})
                answer = await socket.receive_json()
                assert answer["success"], answer
                return answer["result"]

        return asyncio.run(exchange())

    def add(self, integration: str, **answers: object) -> dict[str, Any]:
        """Add an integration by its dialogue of one step; return what it says at the end."""
        begun = self.call("/api/config/config_entries/flow", {"handler": integration})
        return self.call(f"/api/config/config_entries/flow/{begun['flow_id']}", answers)

    def prefer(self, **changes: object) -> None:
        """Change the preferred voice assistant."""
        listed = self.command("assist_pipeline/pipeline/list")
        one = next(one for one in listed["pipelines"] if one["id"] == listed["preferred_pipeline"])
        number = one.pop("id")
        self.command("assist_pipeline/pipeline/update", pipeline_id=number, **(one | changes))

    def state(self, entity: str) -> str:
        """Return an entity's state."""
        return self.call(f"/api/states/{entity}")["state"]

    def __enter__(self) -> HomeAssistant:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
