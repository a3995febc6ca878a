"""A real mosquitto on a free loopback port, started and awaited, restarted on the same port, and what listens to it."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MOSQUITTO = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
PATIENCE_S = 15.0


def free_port() -> int:
    """Return a loopback port that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def await_true(condition: Callable[[], Any], what: object = "", timeout_s: float = PATIENCE_S) -> Any:
    """Return the condition's value once it is true; the wait between two looks is short and bounded.

    ``what`` is shown as it is when the time is over.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what or condition}"
        time.sleep(0.005)
    return value


class Certificates(NamedTuple):
    """Files of a test authority and of certificates it signed; made anew for every test session."""

    folder: Path

    @property
    def ca(self) -> str:
        return str(self.folder / "ca.crt")

    def certificate(self, name: str) -> str:
        return str(self.folder / f"{name}.crt")

    def key(self, name: str) -> str:
        return str(self.folder / f"{name}.key")


def make_certificates(folder: Path) -> Certificates:
    """Make an authority, and certificates for ``localhost``, for another name, an expired one and a client's.

    ``leaf`` is for ``localhost``, issued by ``intermediate``, which the authority issued; ``chain`` is both.
    """

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]

    def authority(name: str) -> None:
        subject = ["-subj", f"/CN={name}", "-days", "2"]
        openssl("req", "-x509", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.crt", *subject)

    def signed(name: str, names: str, days: int = 1, by: str = "ca") -> None:
        openssl("req", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        extension = f"subjectAltName={names}" if names else "basicConstraints=critical,CA:TRUE"
        (folder / f"{name}.ext").write_text(f"{extension}\n")
        authority = ["-CA", f"{by}.crt", "-CAkey", f"{by}.key", "-CAcreateserial"]
        names_and_days = ["-extfile", f"{name}.ext", "-days", str(days)]
        openssl("x509", "-req", "-in", f"{name}.csr", *authority, "-out", f"{name}.crt", *names_and_days)

    authority("ca")
    authority("stranger")
    signed("server", "DNS:localhost,IP:127.0.0.1")
    signed("elsewhere", "DNS:broker.example")
    signed("expired", "DNS:localhost,IP:127.0.0.1", days=-1)
    signed("client", "DNS:client")
    signed("intermediate", "")
    signed("leaf", "DNS:localhost,IP:127.0.0.1", by="intermediate")
    (folder / "chain.crt").write_text((folder / "leaf.crt").read_text() + (folder / "intermediate.crt").read_text())
    (folder / "chain.key").write_text((folder / "leaf.key").read_text())
    for file in folder.iterdir():
        file.chmod(0o644)  # mosquitto may run as another user
    return Certificates(folder)


class Broker:
    """One mosquitto; ``settings`` are lines of its configuration, ``listener`` lines of its only listener."""

    def __init__(
        self, folder: Path, *settings: str, anonymous: bool = True, host: str = "127.0.0.1", log_all: bool = True
    ) -> None:
        self.folder = folder
        self.host = host
        self.port = free_port()
        self.settings = list(settings)
        self.anonymous = anonymous
        self._log_type = "all" if log_all else "error"
        self._process: subprocess.Popen[bytes] | None = None
        self.log = folder / f"mosquitto-{self.port}.log"

    def password_file(self, **users: str) -> str:
        """Write a password file and return the configuration line for it."""
        path = self.folder / f"passwords-{self.port}"
        path.write_text("".join(f"{user}:{password}\n" for user, password in users.items()))
        path.chmod(0o644)
        subprocess.run(["mosquitto_passwd", "-U", path], check=True)
        path.chmod(0o644)
        return f"password_file {path}"

    def acl_file(self, text: str) -> str:
        """Write an access list and return the configuration line for it."""
        path = self.folder / f"acl-{self.port}"
        path.write_text(text)
        path.chmod(0o644)
        return f"acl_file {path}"

    def start(self) -> Broker:
        """Start it and wait until it accepts connections."""
        assert MOSQUITTO, "mosquitto is not installed: apt-get install mosquitto"
        configuration = self.folder / f"mosquitto-{self.port}.conf"
        user = ["user root"] if os.geteuid() == 0 else []
        anonymous = f"allow_anonymous {str(self.anonymous).lower()}"
        lines = [*user, f"log_type {self._log_type}", f"listener {self.port} {self.host}", anonymous, *self.settings]
        configuration.write_text("\n".join(lines) + "\n")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([MOSQUITTO, "-c", configuration], stdout=log, stderr=log)
        await_true(self._listens, f"mosquitto listens; {self.log.read_text()[-500:]}")
        return self

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-2000:]
        with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=1):
            return True
        return False

    @property
    def pid(self) -> int:
        """The process's number, while it runs."""
        assert self._process is not None
        return self._process.pid

    def stop(self, *, how: signal.Signals = signal.SIGTERM) -> None:
        """End it: SIGTERM in order, SIGKILL without a word."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(how)
            self._process.wait(PATIENCE_S)
            self._process = None

    def signal(self, what: signal.Signals) -> None:
        """SIGHUP reloads access list and passwords, SIGSTOP makes it deaf, SIGCONT ends that."""
        assert self._process is not None
        self._process.send_signal(what)

    def restart(self) -> None:
        """End it and start it on the same port."""
        self.stop()
        self.start()

    def __enter__(self) -> Broker:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class Heard(NamedTuple):
    """A message that a listener got."""

    topic: str
    payload: bytes
    retain: bool
    properties: dict[str, Any]


class Listener:
    """A subscriber of nobody's making but paho's, for looking at what a broker hands out; also publishes."""

    def __init__(
        self, port: int, *topics: str, host: str = "127.0.0.1", username: str = "", password: str = ""
    ) -> None:
        self._queue: queue.Queue[Heard] = queue.Queue()
        self._subscribed: queue.Queue[list[Any]] = queue.Queue()
        self.denied: list[str] = []
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        if username:
            client.username_pw_set(username, password)
        client.on_connect = lambda client, *_: topics and client.subscribe([(topic, 1) for topic in topics])
        client.on_subscribe = lambda _client, _data, _mid, reasons, _properties: self._subscribed.put(reasons)
        client.on_message = self._on_message
        client.connect("127.0.0.1", port)
        client.loop_start()
        self.client = client
        if topics:
            reasons = self._subscribed.get(timeout=PATIENCE_S)
            self.denied = [topic for topic, reason in zip(topics, reasons, strict=True) if reason.is_failure]
        else:
            await_true(client.is_connected)

    def _on_message(self, _client: object, _data: object, message: Any) -> None:
        properties = message.properties.json() if message.properties is not None else {}
        self._queue.put(Heard(message.topic, bytes(message.payload), bool(message.retain), properties))

    def next(self, topic: str = "", timeout_s: float = PATIENCE_S) -> Heard:
        """Return the next message, of those whose topic ends in ``topic``."""
        deadline = time.monotonic() + timeout_s
        while True:
            heard = self._queue.get(timeout=max(0.001, deadline - time.monotonic()))
            if heard.topic.endswith(topic):
                return heard

    def until_barrier(self, publish: Callable[[], None], topic: str) -> list[Heard]:
        """Return all that came before what ``publish`` puts on ``topic``."""
        publish()
        heard = []
        while (message := self._queue.get(timeout=PATIENCE_S)).topic != topic:
            heard.append(message)
        return heard

    def pending(self) -> list[Heard]:
        """Return what came and was not asked for yet."""
        heard = []
        with contextlib.suppress(queue.Empty):
            while True:
                heard.append(self._queue.get_nowait())
        return heard

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Publish with QoS 1 and return the reason the broker answered with."""
        answers: queue.Queue[tuple[int, int]] = queue.Queue()
        self.client.on_publish = lambda _client, _data, mid, reason, _properties: answers.put((mid, reason.value))
        info = self.client.publish(topic, payload, qos=1, retain=retain)
        while True:
            mid, reason = answers.get(timeout=PATIENCE_S)
            if mid == info.mid:
                return reason

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def listening(port: int, *topics: str, **login: str) -> Iterator[Listener]:
    """A listener for the length of a block."""
    with Listener(port, *topics, **login) as listener:
        yield listener
