"""The privacy page as a browser without scripts sees it: the real process on a socket of ours, and forms sent to it."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from device.edges.web import PasswordFile
from support.broker import await_true
from support.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from support.daemon import Device

PASSWORD = "correct horse battery"  # noqa: S105
PATIENCE_S = 60
# As systemd does it: the sockets from descriptor 3 on, and the process for which they are.
HANDED_OVER = 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@" 3<&"$NUMBER"'


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def to(self) -> str:
        """Where it sends the browser."""
        return self.headers.get("location", "")

    def said(self) -> str:
        """What is to be read."""
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", self.text.partition("<body>")[2])).split())

    def hidden(self, action: str) -> dict[str, str]:
        """The fields of a form that nobody sees."""
        form = re.search(rf'action="{re.escape(action)}">(.*?)</form>', self.text, re.DOTALL)[1]
        return {name: unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', form)}


class Page:
    """The process, from ``with`` to its end; ended by systemd's socket it would be started again.

    Args:
        device: whose page.
        host: where it listens.
        settings: further lines of [web].
        password: what is set beforehand; None: nothing.
        tls: the authority of its certificate; empty: it has none.
        within: makes the command line that is run of the page's.
    """

    def __init__(
        self,
        device: Device,
        *settings: str,
        host: str = "127.0.0.1",
        password: str | None = PASSWORD,
        tls: str = "",
        within: Callable[[list[str]], list[str]] = list,
    ) -> None:
        self.device = device
        self.within = within
        self.host = host
        self.tls = tls
        self.socket = socket.create_server((host, 0))
        self.port = self.socket.getsockname()[1]
        lines = "\n".join(settings)
        device.config.write_text(device.config.read_text() + f"[web]\n{lines}\n")
        if password is not None:
            self.set_password(password)

    def set_password(self, password: str) -> None:
        """Do what the command does, sooner."""
        with open_store(state_of(self.device), default_opt_out=True):  # makes the folder
            PasswordFile(state_of(self.device) / "web-password").write(password, owner=None)

    def __enter__(self) -> Page:
        self.start()
        return self

    def start(self) -> None:
        """Start the process as systemd would at the first connection."""
        number = self.socket.fileno()
        self.process = subprocess.Popen(
            ["bash", "-c", HANDED_OVER, "bash", *self.within(self.device.command("web", "--log-format", "json"))],
            env=self.device.env | {"NUMBER": str(number)},
            pass_fds=[number],
            stderr=subprocess.PIPE,
            text=True,
        )

    def __exit__(self, *_: object) -> None:
        self.end()
        self.socket.close()

    def end(self) -> str:
        """End it and return what it said."""
        self.process.terminate()
        said = self.process.communicate(timeout=PATIENCE_S)[1]
        assert "Traceback" not in said, said
        return said

    def connection(self) -> http.client.HTTPConnection:
        if not self.tls:
            return http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE_S)
        context = ssl.create_default_context(cafile=self.tls)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Python 3.13's, which the tests' authority does not meet
        return http.client.HTTPSConnection(self.host, self.port, timeout=PATIENCE_S, context=context)

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """Send one request, with exactly these headers and a Host."""
        connection = self.connection()
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def raw(self, content: bytes) -> bytes:
        """Send bytes, and return what comes back until the other side ends it."""
        with socket.create_connection((self.host, self.port), timeout=PATIENCE_S) as sock:
            with contextlib.suppress(OSError):  # it may have heard enough
                sock.sendall(content)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := sock.recv(65_536):
                    answer += piece
            return answer

    @property
    def origin(self) -> str:
        return f"http{'s' if self.tls else ''}://{self.host}:{self.port}"


class Visitor:
    """A browser: it keeps the cookie, and says where its forms come from."""

    def __init__(self, page: Page, password: str | None = PASSWORD, *, cookie: str = "") -> None:
        self.page = page
        self.cookie = cookie
        if password is not None and not cookie:
            answer = self.send("/login", password=password)
            assert (answer.status, answer.to) == (303, "/"), answer.said()

    def get(self, path: str = "/", **headers: str) -> Answer:
        return self._kept(self.page.ask("GET", path, {"Cookie": self.cookie, **headers}))

    def send(self, path: str, headers: Mapping[str, str] | None = None, **fields: object) -> Answer:
        """Send a form with these fields."""
        usual = {
            "Cookie": self.cookie,
            "Content-Type": "application/x-www-form-urlencoded",
            "Origin": self.page.origin,
            "Sec-Fetch-Site": "same-origin",
        }
        chosen = {name: value for name, value in {**usual, **(headers or {})}.items() if value is not None}
        return self._kept(self.page.ask("POST", path, chosen, urlencode(fields).encode()))

    def press(self, action: str, shown: Answer | None = None) -> Answer:
        """Press the first button of a page that leads there, and return what is shown then."""
        answer = self.send(action, **(shown or self.get()).hidden(action))
        return self.get(answer.to) if answer.status == 303 else answer

    def _kept(self, answer: Answer) -> Answer:
        if "set-cookie" in answer.headers:
            self.cookie = answer.headers["set-cookie"].partition(";")[0]
        return answer


def end_of(process: subprocess.Popen[str], within_s: float) -> int:
    """Return the status of a process that ends by itself."""
    began = time.monotonic()
    await_true(lambda: process.poll() is not None, "it goes on", within_s)
    assert time.monotonic() - began < within_s
    return process.returncode


def state_of(device: Device) -> Path:
    """Return a device's state folder."""
    return device.folder / "state"
