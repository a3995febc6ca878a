"""The first configuration file: the shipped one with a person's answers in it, written once and never over another."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import pwd
import re
import secrets
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from device.config import settings as config
from device.errors import RecorderError, UsageError
from device.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

TEMPLATE = Path(__file__).parents[1] / "resources" / "config.toml"
PASSWORD = "mqtt-password"  # noqa: S105 - the name of its file, beside the configuration
LOGINS = "broker-logins"  # of the broker on this device, which scripts/install makes where this file is
ROLES = ("assistant", "reviewer", "dashboard")  # config/mosquitto has what each may do
SERVICE_USER = "wakeword-recorder"
_ADDRESS = re.compile(
    r"(?:(?P<scheme>\w+)://)?(?:(?P<login>[^@/]*)@)?(?P<host>\[[^]@/]+\]|[^:@/\s]+)(?::(?P<port>\d+))?/?"
)


@dataclass(frozen=True, slots=True)
class BrokerAnswer:
    """Where the broker is and who we are there.

    Attributes:
        host: its name or address.
        port: None: the usual one.
        tls: encrypt.
        username: empty: no login.
        password: None: none.
        ca_file: the authority's certificate; empty: those that the system trusts.
        is_ours: it is still to be made, on this device; its logins are made with the configuration.
    """

    host: str = "localhost"
    port: int | None = None
    tls: bool = False
    username: str = ""
    password: str | None = None
    ca_file: str = ""
    is_ours: bool = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.host}:{self.port or (8883 if self.tls else 1883)})"

    @property
    def is_here(self) -> bool:
        """Whether this device itself is meant, at the usual port."""
        return self.host in ("localhost", "127.0.0.1", "::1") and self.port in (None, 1883) and not self.tls


@dataclass(frozen=True, slots=True)
class Answers:
    """What a person chose.

    Attributes:
        device_id: who the device is on MQTT.
        microphone: a name that means it; empty: the system's default.
        channel: which of its channels, from 1.
        words: wake words.
        broker: the broker.
    """

    device_id: str
    microphone: str
    channel: int
    words: tuple[str, ...]
    broker: BrokerAnswer


def parse_broker(text: str) -> BrokerAnswer:
    """Return the broker that an address means: ``[mqtt://|mqtts://][LOGIN@]HOST[:PORT]``.

    Raises:
        UsageError: it is none, with what would be right.
    """
    what = f"the broker {text!r}"
    right = "write its name or address, or mqtts://LOGIN@NAME:PORT for one with TLS and a login"
    with contextlib.suppress(ValueError):
        return BrokerAnswer(str(ipaddress.ip_address(text.strip("[]"))))
    found = _ADDRESS.fullmatch(text.strip())
    if not found:
        raise UsageError(f"{what} is no address", hint=right)
    scheme, login, port = found["scheme"] or "mqtt", found["login"] or "", found["port"]
    if scheme not in ("mqtt", "mqtts"):
        raise UsageError(f"{what}: {scheme}:// is not spoken here", hint=right)
    if ":" in login:
        # Not quoted: others would see it.
        raise UsageError("the broker's address holds a password", hint="hand it over by --password-file FILE")
    if port and not 0 < int(port) < 65_536:
        raise UsageError(f"{what}: there is no port {port}", hint="1883 is usual, 8883 with TLS")
    number = int(port) if port else None
    return BrokerAnswer(found["host"].strip("[]"), number, tls=scheme == "mqtts" or number == 8883, username=login)


def values(answers: Answers) -> dict[tuple[str, str], object]:
    """Return what the answers put into the file, by section and key; a key with its default is left out."""
    broker = answers.broker
    wanted: dict[tuple[str, str], tuple[object, object]] = {
        ("device", "id"): (answers.device_id, None),
        ("microphone", "name"): (answers.microphone, ""),
        ("microphone", "channel"): (answers.channel, 1),
        ("wake", "words"): (list(answers.words), []),
        ("mqtt", "host"): (broker.host, "localhost"),
        ("mqtt", "port"): (broker.port, None),
        ("mqtt", "tls"): (broker.tls, False),
        ("mqtt", "username"): (answers.device_id if broker.is_ours else broker.username, ""),
        ("mqtt", "password_file"): (PASSWORD if broker.is_ours or broker.password is not None else "", ""),
        ("mqtt", "ca_file"): (broker.ca_file, ""),
    }
    return {where: value for where, (value, default) in wanted.items() if value != default}


def filled(template: str, values: Mapping[tuple[str, str], object]) -> str:
    """Return a configuration file's text with other values for some keys; those commented out come to life.

    Args:
        template: the shipped file, in which each key has a line of its own.
        values: by section and key; strings, numbers, booleans and lists of strings.
    """
    lines, section, left = template.splitlines(), "", dict(values)
    for number, line in enumerate(lines):
        if head := re.fullmatch(r"\[(\w+)\]", line):
            section = head[1]
        elif (key := re.match(r"(?:# )?(\w+) = ", line)) and (section, key[1]) in left:
            lines[number] = f"{key[1]} = {_toml(left.pop((section, key[1])))}"
    assert not left, f"not in the template: {left}"  # noqa: S101 - a mistake of ours
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """Write a value as TOML, which for these kinds differs from JSON in one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def settings_of(answers: Answers, path: Path) -> config.Settings:
    """Return the settings that the file would mean, without any password's file, which is not there yet.

    Raises:
        ConfigurationError: with every problem, as `config.load` would find them.
    """
    chosen = {where: value for where, value in values(answers).items() if where != ("mqtt", "password_file")}
    return config.validate(tomllib.loads(filled(TEMPLATE.read_text(encoding="utf-8"), chosen)), path)


def write(answers: Answers, path: Path) -> None:
    """Write the file, whole or not at all, with the broker's password and a new broker's logins beside it.

    Args:
        answers: what to write.
        path: where; the service reads it if it is the system's.

    Raises:
        UsageError: there is one already.
        RecorderError: it cannot be written.
    """
    broker = answers.broker
    text = filled(TEMPLATE.read_text(encoding="utf-8"), values(answers))
    password = secrets.token_urlsafe(18) if broker.is_ours else broker.password
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if broker.is_ours:
            logins = {answers.device_id: password, **{role: secrets.token_urlsafe(18) for role in ROLES}}
            lines = "".join(f"{name}:{word}\n" for name, word in logins.items())
            write_whole(path.with_name(LOGINS), lines.encode())
        if password is not None:
            owner = _service_user() if path == config.SYSTEM_PATH else None
            write_whole(path.with_name(PASSWORD), f"{password}\n".encode(), owner=owner)
        write_whole(path, text.encode(), mode=0o644, replace=False)
    except FileExistsError as error:
        raise UsageError(f"there is {path} already", hint="it is never overwritten; edit it") from error
    except OSError as error:
        where = error.filename or path
        raise RecorderError(
            f"{where} cannot be written: {error.strerror}", hint="make room, or run this as root"
        ) from error


def _service_user() -> int | None:
    try:
        return pwd.getpwnam(SERVICE_USER).pw_uid if os.geteuid() == 0 else None
    except KeyError:
        return None  # there is no service here
