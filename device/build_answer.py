"""Builds what answers requests from the configuration."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import os
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from device import build
from device.config import settings as config
from device.config.answer import wyoming_address
from device.config.words import word_names
from device.daemon.worker import Worker
from device.edges import control
from device.edges.answered import Answered
from device.edges.clock import SystemClock
from device.edges.lock import DaemonLock
from device.edges.mqtt import Interrupt, mqtt_password
from device.edges.mqtt.subscriber import MAX_PACKET_BYTES, Subscriber
from device.edges.store import become_owner_of
from device.errors import ConfigurationError, RecorderError
from device.events import Events
from device.message.discovery import identifier
from device.secret_file import Secret, read_secret
from device.tools.answerer import Answerer, Rules
from device.tools.asking import Asking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from device.answering.answer import Backend
    from device.config.settings import Settings
    from device.edges.mqtt import LinkSettings

SESSION_S = 3600  # the broker keeps requests so long while nobody is here; older ones are refused anyway
TOKEN = "home-assistant-token"  # noqa: S105 - a credential's name
PASSWORD = "answer-mqtt-password"  # noqa: S105
FOLDER = "answer"  # in the state folder: the ids of answered requests
LOCK_TIMEOUT_S = 5.0
SPEAKER_END_S = 3.0  # an output that does not return ends with the process
_MOST_TOKEN_BYTES = 4096

log = logging.getLogger("wakeword-recorder")


@contextmanager
def answering(settings: Settings) -> Iterator[Answerer]:
    """Put together what answers requests; run as root, the process acts as the state folder's owner from here on.

    Raises:
        ConfigurationError: nobody is named who answers, or a secret's file or a certificate cannot be used.
        RecorderError: another one runs with this state folder, or it cannot be used.
    """
    asked, reached = backend(settings), link(settings)  # before root's rights are given up: they read its files
    folder = build.state_dir(settings) / FOLDER
    become_owner_of(build.state_dir(settings))
    with ExitStack() as stack:
        answered = Answered(folder)
        stack.callback(answered.close)
        lock = DaemonLock(folder)
        lock.take(LOCK_TIMEOUT_S)
        stack.callback(lock.release)
        interrupt = Interrupt()
        stack.callback(interrupt.close)
        asking = Asking(interrupt.set)
        stack.callback(asking.close)
        rules = Rules(settings.mqtt.topic_prefix, settings.answer.max_age_s, settings.answer.arbitration_s)
        subscriber = Subscriber(reached, *topics(settings), interrupt=interrupt)
        told = [*hook(settings, stack), *_speaking(settings, stack, asking, asked)]
        yield Answerer(subscriber, interrupt, asking, asked, answered, SystemClock(), rules, told)


def hook(settings: Settings, stack: ExitStack) -> list[Callable[[bytes], None]]:
    """Return what has the user's program run at each answer, if there is one; it ends with the stack."""
    if not (commands := {hook: its for hook, its in settings.hooks.commands.items() if hook == "on_answer"}):
        return []
    hooks = build.start_hooks(settings, commands, Events(), mask=partial(_mask, build.state_dir(settings)))
    stack.callback(hooks.close)
    for worker in hooks.workers:
        worker.on_end = partial(_say_ended, worker)  # nothing can end it before the first answer
    return [partial(hooks.take, "answer")]


def _speaking(settings: Settings, stack: ExitStack, asking: Asking, asked: Backend) -> list[Callable[[bytes], None]]:
    """Return what says each answer aloud, if that is wanted; it ends with the stack."""
    if not settings.answer.speaker:
        return []
    from device.edges.home_assistant import HomeAssistant
    from device.edges.microphone.loudspeaker import Sound
    from device.tools.speaking import Speaking

    assert isinstance(asked, HomeAssistant), "the configuration has no speaker without it"  # noqa: S101
    speaking = Speaking(
        asking, asked.sound, Sound,
        speaker=settings.answer.speaker, words=word_names(settings.wake.words), state_dir=build.state_dir(settings),
    )  # fmt: skip
    worker = Worker("speaker", speaking.run)
    worker.on_end = partial(_say_ended, worker)
    worker.start()
    stack.callback(worker.join, SPEAKER_END_S)
    stack.callback(speaking.end)
    return [speaking.take]


def _mask(state_dir: Path, seconds: float) -> None:
    with suppress(RecorderError):  # no recorder runs here, and none hears what is played
        control.mask(state_dir, seconds)


def _say_ended(worker: Worker) -> None:
    if worker.failure is not None:
        log.error("the thread of %s has ended: %r; what it did is not done any more", worker.name, worker.failure)


def backend(settings: Settings) -> Backend:
    """Return who answers.

    Raises:
        ConfigurationError: nobody is named, or the token cannot be read.
        RecorderError: what it needs is not installed.
    """
    answer = settings.answer
    if answer.wyoming:
        from device.edges.wyoming import Wyoming

        return Wyoming(*wyoming_address(answer.wyoming), language=answer.language)
    if not answer.home_assistant:
        right = 'home_assistant = "http://homeassistant.local:8123", or wyoming = "tcp://localhost:10300"'
        raise config.wrong(settings.path, [f"[answer] names nobody who answers: {right}"])
    token = _secret(
        settings, answer.token_file, credential=TOKEN, key="[answer] token_file", noun="token", most=_MOST_TOKEN_BYTES
    )
    if importlib.util.find_spec("aiohttp") is None:
        raise RecorderError("Home Assistant needs the package aiohttp", hint="scripts/setup --extras answer")
    from device.edges.home_assistant import HomeAssistant

    own = identifier(settings.mqtt.topic_prefix, "{}")
    return HomeAssistant(answer.home_assistant, token, pipeline=answer.pipeline, identifier=own)


def link(settings: Settings) -> LinkSettings:
    """Say where the broker is and who we are there: always the same, so that it keeps what comes meanwhile.

    Raises:
        ConfigurationError: a password's file or a certificate cannot be used.
    """
    answer = settings.answer
    usual = build.link_settings(settings, role="answer")
    usual = dataclasses.replace(
        usual,
        client_id=f"{usual.base_topic.replace('/', '-')}-answer",
        max_packet_bytes=MAX_PACKET_BYTES,
        session_s=max(SESSION_S, int(answer.max_age_s)),
    )
    if not answer.username:
        return usual
    try:
        password = mqtt_password(
            answer.password_file, os.environ.get("CREDENTIALS_DIRECTORY"), credential=PASSWORD, section="answer"
        )
    except ConfigurationError as error:
        raise config.wrong(settings.path, list(error.problems)) from error
    _warn(password)
    return dataclasses.replace(usual, username=answer.username, password=password.value)


def topics(settings: Settings) -> list[str]:
    """Return which requests are subscribed to."""
    return [f"{settings.mqtt.topic_prefix}/{one}/request/+" for one in settings.answer.devices or ("+",)]


def _secret(settings: Settings, file: str, *, credential: str, key: str, noun: str, most: int) -> str:
    try:
        secret = read_secret(
            file, os.environ.get("CREDENTIALS_DIRECTORY"), credential=credential, key=key, noun=noun, most_bytes=most
        )
    except ConfigurationError as error:
        raise config.wrong(settings.path, list(error.problems)) from error
    if secret.value is None:
        raise config.wrong(settings.path, [f"{key} is missing: a file with the {noun} alone"])
    _warn(secret)
    return secret.value


def _warn(secret: Secret) -> None:
    if secret.warning:
        log.warning(secret.warning)
