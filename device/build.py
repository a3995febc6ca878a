"""Builds the program's parts from the configuration; the one place where settings and parts meet."""

from __future__ import annotations

import logging
import math
import os
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from device import __version__
from device.config import settings as config
from device.config.paths import user_folder
from device.config.words import word_names
from device.edges.clock import SystemClock
from device.edges.mqtt import LinkSettings, mqtt_password, tls_context
from device.edges.second_model import CONFIRMED_WORDS, MicroModels
from device.edges.store import Store, become_owner_of, log_event, owner_of
from device.edges.vad import WebrtcVad
from device.edges.wakeword import load_scorer
from device.errors import ConfigurationError, ModelError, RecorderError, StateFolderError
from device.hearing.capture import Capture
from device.hearing.confirm import FIRST_SHARE, Confirmer
from device.hearing.cut import CutRules
from device.hearing.frames import samples_of
from device.hearing.gate import Gate
from device.hearing.pipeline import Pipeline
from device.hearing.tuning import UNCHANGED, Tuning, counting, listens_for
from device.hearing.wake import Detector
from device.message import envelope, signature
from device.secret_file import Secret
from device.sending.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from device.config.settings import Settings
    from device.daemon.hooks import Hooks
    from device.edges.signing import Signer
    from device.events import Events
    from device.hearing.pipeline import Finding
    from device.hearing.wake import WakeScorer
    from device.message.discovery import Recorder
    from device.message.envelope import Message
    from device.message.tag import Tag
from device.edges.store import StoreEvent

GATE_AGGRESSIVENESS = 2
SURE = (0.25, 0.35, 0.45, 0.65)  # by [vad] aggressiveness: the chance from which on a frame is the request's

log = logging.getLogger("wakeword-recorder")


def state_dir(settings: Settings) -> Path:
    """The state folder that counts; the configuration has made sure that it is systemd's where that gives one."""
    return Path(settings.device.state_dir)


def cache_dir() -> Path | None:
    """Where what can be made again is kept: systemd's cache folder, else the user's; None where nobody has a home.

    A command of root's that acts as the service's user has root's home, which that user must not enter: it uses the
    service's own folder.
    """
    given, user = os.environ.get("CACHE_DIRECTORY"), user_folder("XDG_CACHE_HOME", ".cache")
    if not given and owner_of(config.SYSTEM_CACHE) == os.geteuid():
        return config.SYSTEM_CACHE
    return Path(given) if given else user and user / "wakeword-recorder"


def open_store(
    settings: Settings, *, report: Callable[[StoreEvent], None] = log_event, keep_trying: bool = False
) -> Store:
    """Open the database; run as root, the process acts as the state folder's owner from here on.

    Args:
        settings: the configuration.
        report: takes events, see `Store`.
        keep_trying: where the disk gives read errors.

    Raises:
        StateFolderError: it cannot be used; where it is somebody else's, the error says how to act as that one.
    """
    folder = state_dir(settings)
    become_owner_of(folder)
    try:
        return Store(
            folder,
            default_opt_out=settings.review.default == "opted-out",
            max_bytes=int(settings.outbox.max_mb * 1_000_000),
            max_age_s=settings.outbox.max_age_days * 86_400,
            history_days=settings.history.days,
            keep_wake_sound=settings.wake.keep_sound,
            clock=SystemClock(),
            report=report,
            keep_trying=keep_trying,
        )
    except StateFolderError as error:
        if config.is_services(settings) and owner_of(folder) != os.geteuid() != 0:
            raise StateFolderError(error.message, hint=config.USE_SUDO) from error
        raise


def start_hooks(
    settings: Settings, commands: Mapping[str, Sequence[str]], events: Events, *, mask: Callable[[float], None]
) -> Hooks:
    """Start the threads in which the user's programs run, to be closed at the end.

    Args:
        settings: the configuration.
        commands: the programs that this process runs, by hook.
        events: says, once, what goes wrong with one.
        mask: called with the seconds for which the microphone is not to heed what a program plays, as one starts.
    """
    from device.daemon.hooks import Hooks, say_problem  # most devices have none

    return Hooks(
        commands,
        folder=config.folder_of(settings),
        timeout_s=settings.hooks.timeout_s,
        on_problem=partial(say_problem, events, Repeats()),
        on_start=partial(mask, settings.hooks.mask_s) if settings.hooks.mask_s else lambda: None,
    )


def build_scorer(settings: Settings) -> WakeScorer:
    """Load the wake words' models.

    Raises:
        ModelError: one of them cannot be used; it names the configuration's key.
    """
    try:
        return load_scorer(settings.wake.words, engine=settings.wake.engine, cache_dir=cache_dir())
    except ModelError as error:
        where = f"{settings.path or 'the defaults'}: [wake] words"
        raise ModelError(f"{where}: {error.message}", hint=error.hint) from error


def build_gate() -> Gate:
    """Make a gate with a classifier of its own."""
    return Gate(WebrtcVad(GATE_AGGRESSIVENESS))


def build_pipeline(settings: Settings, scorer: WakeScorer, gate: Gate | None) -> Pipeline:
    """Put one stream's way from samples to requests together; without a gate every frame is scored."""
    detector = _detector(settings, UNCHANGED)
    rules = CutRules(sure=SURE[settings.vad.aggressiveness])
    capture = Capture(settings.capture, scorer.segmenter, rules)
    confirmer = Confirmer(MicroModels(_confirmed(settings)), configured_thresholds(settings))
    return Pipeline(scorer, detector, capture, gate, confirmer)


def retuning(settings: Settings, tuning: Tuning) -> Callable[[Pipeline], Iterator[Finding]]:
    """Return what has a pipeline go by a tuning, from where its stream has come to."""
    detector, thresholds = _detector(settings, tuning), configured_thresholds(settings) | tuning.thresholds
    return lambda pipeline: pipeline.retune(detector, thresholds)


def _detector(settings: Settings, tuning: Tuning) -> Callable[[], Detector]:
    """Return what makes a fresh detector."""
    wake = settings.wake
    return partial(
        Detector,
        word_names(wake.words),
        first_thresholds(settings, tuning),
        patience=wake.patience,
        refractory_samples=samples_of(wake.refractory_s),
    )


def configured_thresholds(settings: Settings) -> dict[str, float]:
    """From which score on each word counts, by its name, in the words' order."""
    return dict(zip(word_names(settings.wake.words), config.thresholds(settings.wake), strict=True))


def tuning_that_counts(settings: Settings, store: Store) -> Tuning:
    """Return what was changed over MQTT of the wake words, as far as the configuration lets it count.

    Raises:
        StoreError: it cannot be read.
    """
    if not settings.wake.allow_remote_changes:
        return UNCHANGED
    return counting(store.tunings.read(), configured_thresholds(settings))


def first_thresholds(settings: Settings, tuning: Tuning = UNCHANGED) -> tuple[float, ...]:
    """From which score on each word counts, in the words' order, or goes to the second model where it has one.

    One that is not listened for has an infinite one.
    """
    confirmed = _confirmed(settings)
    thresholds = configured_thresholds(settings) | tuning.thresholds
    return tuple(
        (thresholds[name] if listens_for(tuning, name) else math.inf) * (FIRST_SHARE if word in confirmed else 1)
        for word, name in zip(settings.wake.words, word_names(settings.wake.words), strict=True)
    )


def _confirmed(settings: Settings) -> frozenset[str]:
    """The words of which a second model must agree: bundled ones, whatever a model of one's own is named."""
    return frozenset(CONFIRMED_WORDS).intersection(settings.wake.words if settings.wake.confirm else ())


def link_settings(settings: Settings, *, role: str = "") -> LinkSettings:
    """Say where the broker is and who we are there.

    Args:
        settings: the configuration.
        role: empty for the daemon; a command's name gives it a client id of its own, and it announces nothing.

    Raises:
        ConfigurationError: the password's file or a certificate cannot be used; it names the configuration file.
    """
    mqtt = settings.mqtt
    problems: list[str] = []
    password = Secret(None)
    with _collecting(problems):
        password = mqtt_password(mqtt.password_file, os.environ.get("CREDENTIALS_DIRECTORY"))
    link = _link(settings, role, password.value)
    if link.tls:
        with _collecting(problems):
            tls_context(link)  # each connection makes its own: now is when a person looks at what cannot be used
    if problems:
        raise config.wrong(settings.path, problems)
    if password.warning:
        log.warning(password.warning)
    return link


@contextmanager
def _collecting(problems: list[str]) -> Iterator[None]:
    """Add what is wrong to a list, for all of it to be shown at once."""
    try:
        yield
    except ConfigurationError as error:
        problems += error.problems


def _link(settings: Settings, role: str, password: str | None) -> LinkSettings:
    mqtt = settings.mqtt
    client_id = f"{mqtt.topic_prefix.replace('/', '-')}-{settings.device.id}"
    return LinkSettings(
        host=mqtt.host,
        port=mqtt.broker_port,
        base_topic=f"{mqtt.topic_prefix}/{settings.device.id}",
        client_id=f"{client_id}-{role}-{os.getpid()}" if role else client_id,
        username=mqtt.username,
        password=password,
        tls=mqtt.tls,
        ca_file=mqtt.ca_file,
        cert_file=mqtt.cert_file,
        key_file=mqtt.key_file,
        protocol=mqtt.protocol,
        expiry_s=mqtt.expiry_s,
        no_subscriber=mqtt.no_subscriber,
        ack_timeout_s=mqtt.ack_timeout_s,
        announce=not role,
        allow_remote_opt_in=settings.review.allow_remote_opt_in,
        birth_topic=f"{settings.homeassistant.prefix}/status" if settings.homeassistant.discovery else "",
        wake_words=word_names(settings.wake.words) if settings.wake.allow_remote_changes else (),
    )


def recorder(settings: Settings) -> Recorder:
    """Return what Home Assistant is told of this device."""
    from device.message.discovery import Recorder

    return Recorder(
        topic_prefix=settings.mqtt.topic_prefix,
        id=settings.device.id,
        version=__version__,
        words=word_names(settings.wake.words),
        allow_remote_opt_in=settings.review.allow_remote_opt_in,
        thresholds=config.thresholds(settings.wake) if settings.wake.allow_remote_changes else (),
    )


def load_signer(settings: Settings) -> Signer | None:
    """Return the key that signs this device's tags, made the first time; None if they are not signed.

    Raises:
        ConfigurationError: what signs is not installed.
        StateFolderError: the key cannot be read or written, or is damaged.
    """
    if not settings.review.sign:
        return None
    from device.edges import signing  # with PyNaCl, 4 MB

    try:
        return signing.load_or_make(state_dir(settings))
    except StateFolderError:
        raise
    except RecorderError as error:
        raise config.wrong(settings.path, [f"[review] sign = true: {error}"]) from error


def public_key(settings: Settings) -> bytes | None:
    """Return what a device publishes of its key, a line of JSON; None if it does not sign.

    Raises:
        ConfigurationError, StateFolderError: as ``load_signer``.
    """
    signer = load_signer(settings)
    if signer is None:
        return None
    return msgspec.json.encode(signature.PublicKey(device=settings.device.id, key=signer.public))


def build_envelope(settings: Settings) -> Callable[[Tag, bytes], Message]:
    """Return what makes a message of a tag and its PCM, signed where the configuration says so.

    Raises:
        ConfigurationError, StateFolderError: as ``load_signer``.
    """
    encode = partial(envelope.wav, version=__version__)
    if settings.mqtt.format == "flac":
        from device.edges.flac import flac

        encode = partial(flac, version=__version__)
    make = partial(envelope.message, prefix=settings.mqtt.topic_prefix, encode=encode)
    signer = load_signer(settings)
    return make if signer is None else lambda tag, pcm: make(signature.signed(tag, signer.sign), pcm)
