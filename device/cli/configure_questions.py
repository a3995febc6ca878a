"""The three questions of ``configure``, each answered by a person, by an option, or as Enter would."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from device.cli.asking import ask
from device.cli.common import remark, warn
from device.cli.pick_microphone import loudest_channel, pick
from device.config import settings as configuration
from device.config.first import Answers, BrokerAnswer, parse_broker
from device.config.sections import WakeSettings
from device.errors import BrokerUnavailableError, ConfigurationError, MicrophoneUnavailableError, UsageError

if TYPE_CHECKING:
    from device.edges.microphone import Levels

LATER = "later"
KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Given:
    """What the options say; None or empty: nothing."""

    microphone: str | None
    words: tuple[str, ...]
    broker: str | None
    password: str | None
    ca_file: Path | None


class Questions:
    """Finds out what the configuration is to be.

    Args:
        given: what the options say.
        path: where the file is going to be.
        log_format: how what is no result is written.
        asks: whether a person is there to be asked.
    """

    def __init__(self, given: Given, path: Path, log_format: str, *, asks: bool) -> None:
        self._given = given
        self._path = path
        self._log_format = log_format
        self._asks = asks

    def ask(self) -> Answers:
        """Return the answers; the microphone was heard by then, and the broker tried.

        Raises:
            RecorderError: an answer cannot be, and nobody is there to give another.
        """
        self._refuse_unknown(self._given.words)
        broker = parse_broker(self._given.broker) if self._given.broker else None
        microphone, channel = self._microphone()
        answers = Answers(
            configuration.DeviceSettings().id, microphone, channel, self._given.words or self._words(), BrokerAnswer()
        )
        return self._with_broker(answers, broker)

    # --- the microphone ---

    def _microphone(self) -> tuple[str, int]:
        """Return the microphone's name and channel."""
        from device.edges.microphone import Levels

        if self._given.microphone is not None or not self._asks:
            return self._unasked_microphone()
        while True:
            with Levels() as levels:
                if levels.devices:
                    picked = pick(levels)
                    if picked is not None:
                        return levels.names[picked], loudest_channel(levels, picked)
                    continue
            click.echo("No microphone is here.")
            if ask(f"Plug one in and press Enter, or type {LATER!r} to go on without one", "") == LATER:
                return "", 1

    def _unasked_microphone(self) -> tuple[str, int]:
        from device.edges.microphone import Levels

        with Levels(self._given.microphone) as levels:
            if not levels.devices:
                raise MicrophoneUnavailableError("no microphone is here", hint="plug it in, and call this again")
            number = self._only(levels)
            if levels.problems[number]:
                raise MicrophoneUnavailableError(levels.problems[number], hint="does another program hold it?")
            return levels.names[number], loudest_channel(levels, number)

    def _only(self, levels: Levels) -> int:
        """Return the number of the one that is meant where nobody chooses."""
        cards = [number for number, device in enumerate(levels.devices) if device.is_card]
        if len(cards) > 1:
            names = ", ".join(f'"{levels.names[number]}"' for number in cards)
            raise UsageError(f"there are several microphones: {names}", hint="choose one by --microphone")
        defaults = [number for number, device in enumerate(levels.devices) if device.is_default]
        return (cards or defaults or [0])[0]

    # --- the wake word ---

    def _words(self) -> tuple[str, ...]:
        if not self._asks:
            return WakeSettings().words
        words = _known_words(self._path)
        usual = WakeSettings().words[0]
        click.echo("\nWhich wake word?")
        for number, word in enumerate(words, 1):
            click.echo(f"{number:3}  {word}")
        while True:
            answer = ask("Number or word", usual)
            if answer.isdecimal() and 1 <= int(answer) <= len(words):
                return (words[int(answer) - 1],)
            try:
                self._refuse_unknown((answer,))
            except ConfigurationError as error:
                click.echo(error.problems[0])
            else:
                return (answer,)

    def _refuse_unknown(self, words: tuple[str, ...]) -> None:
        """Refuse a word that the configuration could not hold.

        Raises:
            ConfigurationError: there is one.
        """
        configuration.validate({"wake": {"words": list(words)}} if words else {}, self._path)

    # --- the broker ---

    def _with_broker(self, answers: Answers, broker: BrokerAnswer | None) -> Answers:
        """Ask until a broker can be used, or is to be made here, or is kept as it is."""
        if broker is not None or not self._asks:
            broker = broker or BrokerAnswer()
            ca_file = str(self._given.ca_file.absolute()) if self._given.ca_file else ""
            tls = broker.tls or bool(ca_file)
            answers = replace(answers, broker=replace(broker, password=self._given.password, tls=tls, ca_file=ca_file))
            return self._tried(answers)
        click.echo("\nWhich MQTT broker? [mqtts://][LOGIN@]HOST[:PORT]; Enter: the one on this device, made if missing")
        answer = ask("Broker", "localhost")
        while True:
            try:
                if answer != KEEP:
                    answers = replace(answers, broker=self._login(parse_broker(answer)))
                return answers if answer == KEEP else self._tried(answers)
            except (UsageError, ConfigurationError) as error:
                click.echo(str(error))
                answer = ask("Broker", "localhost")
            except BrokerUnavailableError as error:
                click.echo(f"It cannot be used: {error}")
                answers, answer = self._after(error, answers, answer)

    def _after(self, error: BrokerUnavailableError, answers: Answers, last: str) -> tuple[Answers, str]:
        """Ask for what a broker that refused us wants; return the answers so far and the next address."""
        broker = answers.broker
        if "[mqtt] ca_file" in error.hint:
            ca_file = ask("Its authority's certificate, a PEM file; or Enter for another broker", "")
            if ca_file:
                self._given = replace(self._given, ca_file=_absolute(ca_file))
                return answers, last
        elif "[mqtt] username" in error.hint and not broker.username:
            name = ask("Its login; or Enter for another broker", "")
            if name:
                scheme = "mqtts" if broker.tls else "mqtt"
                port = f":{broker.port}" if broker.port else ""
                host = f"[{broker.host}]" if ":" in broker.host else broker.host
                return answers, f"{scheme}://{name}@{host}{port}"
        return answers, ask(f"Enter tries again; or another address; or {KEEP!r} to go on with it", last)

    def _login(self, broker: BrokerAnswer) -> BrokerAnswer:
        password = self._given.password
        if broker.username and password is None:
            password = ask(f"Password of {broker.username} (it is not shown)", "", hide=True)
        ca_file = str(self._given.ca_file) if self._given.ca_file else ""
        return replace(broker, password=password or None, ca_file=ca_file if broker.tls else "")

    def _tried(self, answers: Answers) -> Answers:
        """Return the answers with a broker that can be used, or one that is to be made here.

        Raises:
            BrokerUnavailableError: there is none.
        """
        from device.tools import broker_trial

        broker = answers.broker
        if broker.is_here and not broker.username and not broker_trial.answers_here(broker):
            broker_trial.refuse_missing(broker, self._path)
            remark("no broker is on this device yet: one is made, with logins of its own", self._log_format)
            return replace(answers, broker=replace(broker, is_ours=True))
        found = broker_trial.try_broker(answers, self._path)
        for part in found.split("; "):
            if part.startswith("warning: "):
                warn(part.removeprefix("warning: "), self._log_format)
        return answers


def _absolute(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _known_words(path: Path) -> list[str]:
    from device.config.words import MODELS, models_in
    from device.hearing.words import BUNDLED_WORDS

    models, _ = models_in(path.parent / MODELS)
    return [*BUNDLED_WORDS, *models]
