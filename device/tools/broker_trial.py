"""Whether a broker that somebody names can be used, before a configuration file says so."""

from __future__ import annotations

import re
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from device.config.first import PASSWORD, settings_of
from device.config.settings import SYSTEM_PATH
from device.errors import BrokerUnavailableError
from device.tools.check_broker import check_broker

if TYPE_CHECKING:
    from device.config.first import Answers, BrokerAnswer

MOSQUITTO = Path("/etc/mosquitto")
OURS = "wakeword.conf"  # what scripts/install puts into conf.d
LOOK_S = 2.0


def answers_here(broker: BrokerAnswer) -> bool:
    """Return whether anything listens at a broker's place on this device."""
    try:
        socket.create_connection((broker.host, broker.port or 1883), LOOK_S).close()
    except OSError:
        return False
    return True


def own_obstacle(folder: Path = MOSQUITTO) -> str:
    """Return why no broker of our own can be made on this device; empty if one can.

    Args:
        folder: mosquitto's configuration. One that somebody wrote is left alone: ours would change who may do what.
    """
    for file in [folder / "mosquitto.conf", *sorted((folder / "conf.d").glob("*.conf"))]:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if file.name != OURS and re.search(r"^\s*(listener|port|allow_anonymous|acl_file)\s", text, re.MULTILINE):
            return f"mosquitto has a configuration of its own here ({file}), which is left alone"
    return ""


def try_broker(answers: Answers, path: Path) -> str:
    """Connect to the broker that was chosen, publish an event, and return what was found.

    Args:
        answers: what was chosen.
        path: where the configuration is going to be.

    Raises:
        BrokerUnavailableError: requests cannot be sent there; the hint says what to change.
        ConfigurationError: something in the answers cannot be.
    """
    settings = settings_of(answers, path)
    with tempfile.TemporaryDirectory(prefix="wakeword-recorder-") as folder:
        if answers.broker.password is not None:
            file = Path(folder) / PASSWORD
            file.touch(mode=0o600)
            file.write_text(answers.broker.password, encoding="utf-8")
            mqtt = msgspec.structs.replace(settings.mqtt, password_file=str(file))
            settings = msgspec.structs.replace(settings, mqtt=mqtt)
        return check_broker(settings, running=False)


def refuse_missing(broker: BrokerAnswer, path: Path) -> None:
    """Refuse a broker on this device that is neither there nor can be made.

    Args:
        broker: the one that does not answer.
        path: where the configuration is going to be.

    Raises:
        BrokerUnavailableError: with the reason.
    """
    where = f"nothing listens at {broker.host}:1883"
    if path != SYSTEM_PATH:
        raise BrokerUnavailableError(
            where, hint="is the broker running? [mqtt] host and port; scripts/install makes one"
        )
    if obstacle := own_obstacle():
        hint = "start it (sudo systemctl start mosquitto), or name another broker"
        raise BrokerUnavailableError(f"{where}, and {obstacle}", hint=hint)
