"""``configure``: three questions, and the first configuration file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from device.cli.common import common_options
from device.config import settings as configuration
from device.config.paths import user_folder
from device.config.words import word_names
from device.errors import UsageError

if TYPE_CHECKING:
    from device.config.settings import Settings


@click.command("configure")
@click.option("--microphone", metavar="NAME", help="A part of its name, or its port; empty: the system's default.")
@click.option("--wake-word", "words", metavar="WORD", multiple=True, help="May be given several times.")
@click.option("--broker", metavar="ADDRESS", help="[mqtts://][LOGIN@]HOST[:PORT]")
@click.option("--password-file", metavar="FILE", type=click.Path(path_type=Path), help="The login's password alone.")
@click.option("--ca-file", metavar="FILE", type=click.Path(path_type=Path), help="The broker's authority, with TLS.")
@click.option("--yes", is_flag=True, help="Ask nothing: what no option says is decided as Enter would.")
@common_options
def command(
    microphone: str | None,
    words: tuple[str, ...],
    broker: str | None,
    password_file: Path | None,
    ca_file: Path | None,
    *,
    yes: bool,
    config: Path | None,
    log_format: str,
) -> int:
    """Ask for the microphone, the wake word and the broker, and write the configuration file.

    An option answers its question beforehand. The microphone is heard and the broker tried before anything is written.
    A file that is there already is never changed: it is checked and described. Without --config it is
    /etc/wakeword-recorder/config.toml for root, else the user's.
    """
    path = _place(config)
    if os.path.lexists(path):
        _describe(configuration.load(path), "kept")
        return 0
    from device.cli.configure_questions import Given, Questions
    from device.config import first as first_configuration

    asks = not yes and sys.stdin is not None and sys.stdin.isatty()
    missing = [
        name for name, value in (("microphone", microphone), ("wake-word", words), ("broker", broker)) if not value
    ]
    if not asks and not yes and missing:
        raise UsageError(
            f"nobody can be asked here: standard input is no terminal, and --{missing[0]} is not given",
            hint="--yes takes what Enter would",
        )
    given = Given(microphone, words, broker, _password(password_file), ca_file)
    answers = Questions(given, path, log_format, asks=asks).ask()
    first_configuration.write(answers, path)
    _describe(configuration.load(path, any_words=True), "written")
    return 0


def _place(explicit: Path | None) -> Path:
    if explicit is not None:
        return explicit.absolute()
    found = configuration.find(None)
    if found is not None or os.geteuid() == 0:
        return found or configuration.SYSTEM_PATH
    user = user_folder("XDG_CONFIG_HOME", ".config")
    if user is None:
        raise UsageError("nobody knows a home folder for the file", hint="name one by --config FILE")
    return user / "wakeword-recorder" / "config.toml"


def _password(file: Path | None) -> str | None:
    if file is None:
        return None
    from device.edges.mqtt import mqtt_password

    return mqtt_password(str(file.absolute()), None).value


def _describe(settings: Settings, what: str) -> None:
    mqtt, wanted = settings.mqtt, settings.microphone
    words = ", ".join(word_names(settings.wake.words))
    click.echo(f"{what}: {settings.path}")
    click.echo(f"  device      {settings.device.id}")
    click.echo(f"  microphone  {wanted.name or 'the system default'}, channel {wanted.channel}")
    click.echo(f"  wake word   {words}")
    login = f", as {mqtt.username}" if mqtt.username else ""
    click.echo(f"  broker      {mqtt.host}:{mqtt.broker_port}{' with TLS' * mqtt.tls}{login}")
