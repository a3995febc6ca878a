"""Builds the privacy page from the configuration."""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import ssl
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from device import __version__, build
from device.config import settings as config
from device.config.web import listen_address
from device.edges import systemd
from device.edges.store import become_owner_of, owner_of
from device.edges.web import PasswordFile, Server, make_app, open_socket
from device.edges.web.guard import Guard
from device.page.facts import Place
from device.page.frame import Look
from device.tools.privacy import Privacy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from starlette.types import ASGIApp

    from device.config.settings import Settings

PASSWORD = "web-password"  # noqa: S105 - its file in the state folder
_FILES = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
_RESOURCES = Path(__file__).parent / "resources"


class Page:
    """The page, ready to be served.

    Attributes:
        addresses: where it is, for people.
        stop: ends it; may be called by any thread.
    """

    def __init__(self, settings: Settings, server: Server, app: ASGIApp, sockets: Sequence[socket.socket]) -> None:
        self._web = settings.web
        self._server = server
        self._app = app
        scheme = "https" if settings.web.cert_file else "http"
        self.addresses = [f"{scheme}://{_shown(one)}/" for one in sockets]
        self.stop = server.stop

    def serve(self) -> None:
        """Serve until it is stopped, or as a service until nobody uses it."""
        self._server.run(self._app, cert_file=self._web.cert_file, key_file=self._web.key_file)


@contextmanager
def page(settings: Settings) -> Iterator[Page]:
    """Put the page together; run as root, the process acts as the state folder's owner from here on.

    Raises:
        ConfigurationError: it would be open to others, or a certificate cannot be used.
        RecorderError: nobody can listen there.
    """
    web = settings.web
    _try_certificate(settings)
    with ExitStack() as stack:
        given = systemd.listening_sockets()
        sockets = given or [open_socket(*listen_address(web.listen))]
        for one in sockets:
            stack.callback(one.close)
        _refuse_open_ways(settings, sockets)
        become_owner_of(build.state_dir(settings))
        privacy = Privacy(lambda: build.open_store(settings), build.state_dir(settings), _place(settings))
        stack.callback(privacy.close)
        server = Server(sockets, web.idle_s if given else None, _ticker())
        secure = bool(web.cert_file) or web.behind_proxy
        files = {name: (kind, (_RESOURCES / name).read_bytes()) for name, kind in _FILES.items()}
        look = Look(
            settings.device.id, hashlib.sha256(b"".join(content for _, content in files.values())).hexdigest()[:12]
        )
        app = make_app(privacy, look, password_file(settings), files, secure=secure, behind_proxy=web.behind_proxy)
        yield Page(settings, server, Guard(app, _names(settings), secure=secure, touch=server.touch), sockets)


def password_file(settings: Settings) -> PasswordFile:
    """Return where the password is stored."""
    return PasswordFile(Path(settings.web.password_file or build.state_dir(settings) / PASSWORD))


def set_password(settings: Settings, password: str) -> Path:
    """Store the page's password for the state folder's owner; return where.

    Raises:
        RecorderError: it cannot be written.
    """
    folder = build.state_dir(settings)
    if not settings.web.password_file:
        build.open_store(settings).close()  # makes the folder, with its mode, if it is not there
    file = password_file(settings)
    file.write(password, owner=owner_of(folder))
    return file.path


def _refuse_open_ways(settings: Settings, sockets: Sequence[socket.socket]) -> None:
    """Refuse to send the password and what was said over a network as everybody there can read it.

    Raises:
        ConfigurationError: a socket is open to others without TLS.
    """
    if settings.web.cert_file or settings.web.behind_proxy:
        return
    for one in sockets:
        if not ipaddress.ip_address(one.getsockname()[0].partition("%")[0]).is_loopback:
            problem = (
                f"[web] listens at {_shown(one)}, beyond this device, without TLS, so that others could read along; "
                "set cert_file and key_file, or behind_proxy = true where a proxy encrypts"
            )
            raise config.wrong(settings.path, [problem])


def _try_certificate(settings: Settings) -> None:
    """Read the certificate while root may.

    Raises:
        ConfigurationError: it cannot be used.
    """
    web = settings.web
    if not web.cert_file:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(web.cert_file, web.key_file)
    except (OSError, ssl.SSLError) as error:
        problem = f"[web] cert_file = {web.cert_file!r}, key_file = {web.key_file!r}: {error.strerror or error}"
        raise config.wrong(settings.path, [f"{problem}; expected two PEM files that belong together"]) from error


def _names(settings: Settings) -> frozenset[str]:
    host = socket.gethostname().lower()
    return frozenset({host, host.partition(".")[0], f"{host.partition('.')[0]}.local", *settings.web.hosts})


def _place(settings: Settings) -> Place:
    mqtt = settings.mqtt
    return Place(
        device=settings.device.id,
        base_topic=f"{mqtt.topic_prefix}/{settings.device.id}",
        broker=f"{mqtt.host}:{mqtt.broker_port}",
        tls=mqtt.tls,
        format=mqtt.format,
        asked=settings.answer.home_assistant or settings.answer.wyoming,
        version=__version__,
        history_days=settings.history.days,
        keeps_wake_sound=settings.wake.keep_sound,
    )


def _shown(one: socket.socket) -> str:
    host, port, *_ = one.getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _ticker() -> Callable[[], None]:
    """Return what tells systemd that the page is there, and goes on."""
    interval_s = systemd.watchdog_interval_s()
    told_s: list[float] = []

    def tick() -> None:
        now_s = time.monotonic()
        if not told_s:
            systemd.notify("READY=1")
        elif not interval_s or now_s - told_s[-1] < interval_s / 4:
            return
        told_s[:] = [now_s]
        systemd.notify("WATCHDOG=1")

    return tick
