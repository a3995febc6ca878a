"""TOML to one frozen, validated settings object; every error at once, each with what would be right."""

from __future__ import annotations

import difflib
import os
import re
import socket
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from device.errors import ConfigurationError

SYSTEM_PATH = Path("/etc/wakeword-recorder/config.toml")
SYSTEM_STATE = Path("/var/lib/wakeword-recorder")  # the unit's StateDirectory
BUNDLED_WORDS = ("alexa", "hey_jarvis", "hey_marvin", "hey_mycroft")

ID_PATTERN = r"^[a-z0-9_-]{1,64}\Z"  # \Z: a $ would let a newline through
TOPIC_PATTERN = r"^[^/+#\x00-\x1f\s]+(/[^/+#\x00-\x1f\s]+)*\Z"

Fraction = Annotated[float, Meta(gt=0, le=1)]
Seconds = Annotated[float, Meta(ge=0, le=60)]
Topic = Annotated[str, Meta(pattern=TOPIC_PATTERN, max_length=128)]


def _default_id() -> str:
    """The host's name, with what a topic level cannot hold replaced."""
    return re.sub("[^a-z0-9_-]", "-", socket.gethostname().split(".")[0].lower())[:64] or "device"


def _default_state_dir() -> str:
    base = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return str(Path(base) / "wakeword-recorder")


class DeviceSettings(Struct, frozen=True, kw_only=True):
    """Who this device is and where it keeps its state."""

    id: Annotated[str, Meta(pattern=ID_PATTERN)] = msgspec.field(default_factory=_default_id)
    state_dir: Annotated[str, Meta(min_length=1)] = msgspec.field(default_factory=_default_state_dir)


class MicrophoneSettings(Struct, frozen=True, kw_only=True):
    """Which input device and which of its channels, counted from 1."""

    name: str = ""
    channel: Annotated[int, Meta(ge=1, le=64)] = 1


class WakeSettings(Struct, frozen=True, kw_only=True):
    """Wake words and when a score counts."""

    words: Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(min_length=1)] = ("hey_jarvis",)
    threshold: Fraction | dict[str, Fraction] = 0.5
    patience: Annotated[int, Meta(ge=1, le=25)] = 1
    refractory_s: Seconds = 1.0
    engine: Literal["streaming", "reference"] = "streaming"
    gate: bool = True


class CaptureSettings(Struct, frozen=True, kw_only=True):
    """Where a request begins and ends."""

    pre_roll_s: Annotated[float, Meta(ge=0, le=5)] = 0.5
    silence_s: Annotated[float, Meta(ge=0.2, le=10)] = 0.8
    no_speech_s: Annotated[float, Meta(ge=0.5, le=60)] = 4.0
    max_s: Annotated[float, Meta(ge=1, le=300)] = 15.0
    padding_s: Annotated[float, Meta(ge=0, le=2)] = 0.15


class VadSettings(Struct, frozen=True, kw_only=True):
    """The voice activity detection: webrtcvad's mode, 0 (hears everything) to 3 (strict)."""

    aggressiveness: Annotated[int, Meta(ge=0, le=3)] = 2


class ReviewSettings(Struct, frozen=True, kw_only=True):
    """What counts until the user chooses, and whether MQTT may loosen it."""

    default: Literal["opted-out", "opted-in"] = "opted-out"
    allow_remote_opt_in: bool = False


class MqttSettings(Struct, frozen=True, kw_only=True):
    """The broker, and how requests are published."""

    host: Annotated[str, Meta(min_length=1)] = "localhost"
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    username: str = ""
    password_file: str = ""
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    topic_prefix: Topic = "wakeword"
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    format: Literal["wav", "flac"] = "wav"
    expiry_s: Annotated[int, Meta(ge=0, le=4_294_967_295)] = 0
    no_subscriber: Literal["keep", "drop"] = "keep"
    ack_timeout_s: Annotated[float, Meta(ge=0.5, le=600)] = 10.0

    @property
    def broker_port(self) -> int:
        """The port set, else the usual one: 8883 with TLS, 1883 without."""
        return self.port or (8883 if self.tls else 1883)


class OutboxSettings(Struct, frozen=True, kw_only=True):
    """How much may wait for the broker, and how long."""

    max_mb: Annotated[float, Meta(gt=0, le=1_000_000)] = 256
    max_age_days: Annotated[float, Meta(gt=0, le=3650)] = 7


class LogSettings(Struct, frozen=True, kw_only=True):
    """What is logged."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Struct, frozen=True, kw_only=True):
    """The whole configuration; ``path`` is the file it came from, None for the built-in defaults."""

    device: DeviceSettings = msgspec.field(default_factory=DeviceSettings)
    microphone: MicrophoneSettings = MicrophoneSettings()
    wake: WakeSettings = WakeSettings()
    capture: CaptureSettings = CaptureSettings()
    vad: VadSettings = VadSettings()
    review: ReviewSettings = ReviewSettings()
    mqtt: MqttSettings = MqttSettings()
    outbox: OutboxSettings = OutboxSettings()
    log: LogSettings = LogSettings()
    path: Path | None = None


SECTIONS: dict[str, type[Struct]] = {
    "device": DeviceSettings,
    "microphone": MicrophoneSettings,
    "wake": WakeSettings,
    "capture": CaptureSettings,
    "vad": VadSettings,
    "review": ReviewSettings,
    "mqtt": MqttSettings,
    "outbox": OutboxSettings,
    "log": LogSettings,
}


def find(explicit: Path | None) -> Path | None:
    """Return the configuration file that counts: the one named, the system's, the user's, or None."""
    if explicit is not None:
        return explicit
    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser())
    for path in (SYSTEM_PATH, user / "wakeword-recorder" / "config.toml"):
        if path.exists():
            return path
    return None


def load(explicit: Path | None = None) -> Settings:
    """Read and validate the configuration.

    Args:
        explicit: the file named on the command line.

    Raises:
        ConfigurationError: with every problem found, a line each.
    """
    path = find(explicit)
    if path is None:
        return Settings()
    try:
        text = path.read_bytes().decode()
        document = tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{path}: not UTF-8 text, at byte {error.start}; save it as UTF-8"]) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError([f"{path}: not valid TOML: {error}"]) from error
    settings = validate(document, path)
    if path == SYSTEM_PATH and "state_dir" not in document.get("device", {}) and SYSTEM_STATE.is_dir():
        # Else `sudo wakeword-recorder review opt-out` would choose for root's own folder, not for the service.
        device = msgspec.structs.replace(settings.device, state_dir=str(SYSTEM_STATE))
        return msgspec.structs.replace(settings, device=device)
    return settings


def validate(document: dict[str, Any], path: Path) -> Settings:
    """Turn a parsed TOML document into settings.

    Args:
        document: what tomllib read.
        path: the file, named in every problem.

    Raises:
        ConfigurationError: with every problem found, a line each.
    """
    problems: list[str] = []
    sections: dict[str, Struct] = {}
    for name, content in document.items():
        if name not in SECTIONS:
            problems.append(f"{path}: unknown section [{_bare(name)}]{_did_you_mean(name, SECTIONS)}")
        elif not isinstance(content, dict):
            problems.append(f"{path}: {name} = {_shown(name, content)}: a section is expected: write [{name}]")
        else:
            sections[name] = _section(name, content, path, problems)  # a wrong key has its default from here on
    settings = Settings(**sections, path=path)  # type: ignore[arg-type]
    problems += [f"{path}: {problem}" for problem in _contradictions(settings)]
    if problems:
        raise ConfigurationError(problems)
    return settings


def _section(name: str, content: dict[str, Any], path: Path, problems: list[str]) -> Struct:
    """Validate one section key by key, so that one wrong key does not hide the next."""
    schema = SECTIONS[name]
    fields = {field.name: field for field in msgspec.structs.fields(schema)}
    values: dict[str, Any] = {}
    for key, value in content.items():
        where = f"{path}: [{name}] {_bare(key)}"
        if key not in fields:
            problems.append(f"{where}: unknown key{_did_you_mean(key, fields)}")
            continue
        try:
            values[key] = msgspec.convert(value, fields[key].type)
        except msgspec.ValidationError as error:
            problems.append(
                f"{where} = {_shown(key, value)}: {_explained(error)}{_close_value(fields[key].type, value)}"
            )
    return schema(**values)


def _bare(key: str) -> str:
    """A key as TOML has it: bare where it may be, else quoted and in one line."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else msgspec.json.encode(key).decode()


def _shown(key: str, value: object) -> str:
    if "password" in key and not key.endswith("_file"):
        return "(not shown)"
    text = repr(value) if isinstance(value, str | float) else msgspec.json.encode(value, enc_hook=str).decode()
    return text if len(text) <= 80 else text[:77] + "..."


def _explained(error: msgspec.ValidationError) -> str:
    """A schema error in the words of somebody who edits a file."""
    text = str(error)
    for pattern, words in _PATTERNS.items():
        if f"matching regex '{pattern}'" in text or f"matching regex {pattern!r}" in text:
            return words
    text = re.sub(
        r"`(\w+)( \| \w+)*`",
        lambda match: " or ".join(
            _TYPES.get(part, part) for part in match.group(0).strip("`").split(" | ") if part != "null"
        ),
        text,
    )
    text = text.split(" - at `")[0]
    return text[0].lower() + text[1:]


_TYPES = {
    "int": "whole number",
    "float": "number",
    "str": "text",
    "bool": "true or false",
    "array": "list",
    "object": "table",
}
_PATTERNS = {
    ID_PATTERN: "expected 1 to 64 of a-z, 0-9, _ and -, because it is a topic level",
    TOPIC_PATTERN: "expected topic levels without +, # or spaces, and no / at either end",
}


def _close_value(expected: Any, value: object) -> str:
    """Name the allowed values of a choice, and the nearest one."""
    choices = getattr(expected, "__args__", ())
    if getattr(expected, "__origin__", None) is not Literal:
        return ""
    return f", one of {', '.join(map(repr, choices))}{_did_you_mean(str(value), choices)}"


def _did_you_mean(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f", did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


def _contradictions(settings: Settings) -> list[str]:
    """Find values that are right alone and wrong together."""
    problems = []
    mqtt, wake, capture = settings.mqtt, settings.wake, settings.capture
    if bool(mqtt.cert_file) != bool(mqtt.key_file):
        problems.append("[mqtt] cert_file and key_file: a client certificate needs both")
    problems += [
        f"[mqtt] {key} = {getattr(mqtt, key)!r}: only used with tls = true"
        for key in ("ca_file", "cert_file", "key_file")
        if getattr(mqtt, key) and not mqtt.tls
    ]
    if mqtt.password_file and not mqtt.username:
        problems.append(f"[mqtt] password_file = {mqtt.password_file!r}: a username is needed with it")
    for key in ("password_file", "ca_file", "cert_file", "key_file"):
        value = getattr(mqtt, key)
        if value and not Path(value).is_file():
            problems.append(f"[mqtt] {key} = {value!r}: no such file")
    names = word_names(wake.words)
    problems += [
        f"[wake] words = {word!r}: no such bundled word{_did_you_mean(word, BUNDLED_WORDS)}; or a path ending in .onnx"
        for word in wake.words
        if not word.endswith(".onnx") and word not in BUNDLED_WORDS
    ]
    if len(set(names)) < len(names):
        problems.append(f"[wake] words = {list(wake.words)}: a word stands there twice")
    if isinstance(wake.threshold, dict):
        problems += [
            f"[wake] threshold.{_bare(word)}: not among words{_did_you_mean(word, names)}"
            for word in wake.threshold
            if word not in names
        ]
    if capture.silence_s >= capture.max_s:
        problems.append(f"[capture] silence_s = {capture.silence_s}: must be less than max_s = {capture.max_s}")
    return problems


def word_names(words: tuple[str, ...]) -> tuple[str, ...]:
    """The wake words' names: a bundled one's own, a model file's stem."""
    return tuple(Path(word).stem if word.endswith(".onnx") else word for word in words)


def thresholds(wake: WakeSettings) -> tuple[float, ...]:
    """The threshold of each word, in the words' order; a word that the table leaves out has 0.5."""
    if isinstance(wake.threshold, dict):
        return tuple(wake.threshold.get(name, 0.5) for name in word_names(wake.words))
    return (wake.threshold,) * len(wake.words)
