"""Headless Chromium, driven as a person would: by its DevTools protocol over a pipe, so that no port is open."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = shutil.which("chromium")
PATIENCE_S = 60.0
_OPTIONS = (
    "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-sync",
    "--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required", "--mute-audio",
)  # fmt: skip


class Browser:
    """One page of one browser, from ``with`` to its end.

    Attributes:
        events: what it told, by the protocol's names.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)
        self._folder = tempfile.mkdtemp(prefix="chromium-")
        self._rest = b""
        self._session: str | None = None

    def __enter__(self) -> Browser:
        assert PROGRAM, "chromium is not installed: apt-get install chromium"
        to_it, self._write = os.pipe()
        self._read, from_it = os.pipe()

        def hand_over() -> None:  # it reads from descriptor 3 and writes to 4
            reads, writes = os.dup(to_it), os.dup(from_it)
            os.dup2(reads, 3)
            os.dup2(writes, 4)

        self._process = subprocess.Popen(
            [PROGRAM, *_OPTIONS, f"--user-data-dir={self._folder}", "about:blank"],
            preexec_fn=hand_over,  # noqa: PLW1509
            close_fds=False,
            env=os.environ | {"HOME": self._folder},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_it)
        os.close(from_it)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
        shutil.rmtree(self._folder, ignore_errors=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        for answer in self._messages():
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
        raise AssertionError("the browser has ended")

    def _messages(self) -> Iterator[dict[str, Any]]:
        while True:
            while b"\0" in self._rest:
                one, _, self._rest = self._rest.partition(b"\0")
                message = json.loads(one)
                if "id" not in message:
                    self.events.append(message)
                yield message
            piece = os.read(self._read, 1 << 20)
            if not piece:
                return
            self._rest += piece

    def open(self, url: str) -> None:
        """Go to an address, and wait until the page is loaded."""
        with self.loading():
            self.call("Page.navigate", url=url)

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Wait, after the block, for the page that it leads to."""
        self.call("Runtime.evaluate", expression="window.before = true")
        yield
        self.until("!window.before && document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """Return what JavaScript finds; of a promise, what comes of it."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, expression: str) -> Any:
        """Return what JavaScript finds once it is true."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            # While a page gives way to the next one there is nothing to ask.
            with contextlib.suppress(AssertionError):
                if found := self.evaluate(expression):
                    return found
            assert time.monotonic() < deadline, f"never true: {expression}; {self.text()!r}"
            time.sleep(0.02)

    def text(self) -> str:
        """Return what is to be read."""
        return self.evaluate("document.body.innerText")

    def click(self, selector: str, *, nth: int = 0) -> None:
        """Click in the middle of an element, as a mouse does."""
        found = f"document.querySelectorAll({json.dumps(selector)})[{nth}]"
        self.evaluate(f"{found}.scrollIntoView({{block: 'center'}})")
        box = self.evaluate(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({found}.getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def key(self, name: str, code: int, text: str = "") -> None:
        """Press a key."""
        facts = {"key": name, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **facts)
        self.call("Input.dispatchKeyEvent", type="keyUp", **facts)

    def write(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def look(self, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Be a screen of this size, in light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def without_scripts(self) -> None:
        """Run no script of any page from here on."""
        self.call("Emulation.setScriptExecutionDisabled", value=True)

    def picture(self, path: Path) -> None:
        """Save the whole page as a PNG."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))
