"""What each section of the configuration may hold: its keys, their types, bounds and defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

ID_PATTERN = r"^[a-z0-9_-]{1,64}\Z"  # \Z: a $ would let a newline through
# What a broker may refuse a whole message for: control characters, and those that never are any.
_REFUSED = r"\x00-\x1f\x7f-\x9f\ufdd0-\ufdef" + "".join(
    f"{chr(end)}{chr(end + 1)}" for end in range(0xFFFE, 0x110000, 0x10000)
)
TEXT_PATTERN = rf"^[^{_REFUSED}]*\Z"
TOPIC_PATTERN = rf"^[^/+#\s{_REFUSED}]+(/[^/+#\s{_REFUSED}]+)*\Z"
ARGUMENT_PATTERN = r"^[^\x00]*\Z"
LANGUAGE_PATTERN = r"^([a-zA-Z]{2,3}([-_][a-zA-Z0-9]+)*)?\Z"
HOST_PATTERN = r"^[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?\Z"
PATTERNS = {
    ID_PATTERN: "expected 1 to 64 of a-z, 0-9, _ and -, because it is a topic level",
    TEXT_PATTERN: "expected text without control characters, which brokers refuse",
    ARGUMENT_PATTERN: "expected arguments without a NUL character, which no program can be given",
    TOPIC_PATTERN: "expected topic levels without +, # or spaces, and no / at either end",
    HOST_PATTERN: "expected a name alone, in small letters, such as 'kitchen.lan'",
    LANGUAGE_PATTERN: "expected a language, such as 'en' or 'de-CH'",
}

Fraction = Annotated[float, Meta(gt=0, le=1)]
Seconds = Annotated[float, Meta(ge=0, le=60)]
Topic = Annotated[str, Meta(pattern=TOPIC_PATTERN, max_length=128)]
Command = tuple[Annotated[str, Meta(pattern=ARGUMENT_PATTERN)], ...]  # a program and its arguments; empty: none


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
    confirm: bool = True
    keep_sound: bool = False
    models_dir: str = ""
    allow_remote_changes: bool = False


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
    """What counts until the user chooses, whether MQTT may loosen it, and whether tags are signed."""

    default: Literal["opted-out", "opted-in"] = "opted-out"
    allow_remote_opt_in: bool = False
    sign: bool = False


class MqttSettings(Struct, frozen=True, kw_only=True):
    """The broker, and how requests are published."""

    host: Annotated[str, Meta(min_length=1)] = "localhost"
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    username: Annotated[str, Meta(pattern=TEXT_PATTERN)] = ""
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


class HistorySettings(Struct, frozen=True, kw_only=True):
    """How long what was sent is remembered, without its sound; 0: not at all."""

    days: Annotated[float, Meta(ge=0, le=3650)] = 30


class HooksSettings(Struct, frozen=True, kw_only=True):
    """Programs that run when something happens."""

    on_wake: Command = ()
    on_stored: Command = ()
    on_sent: Command = ()
    on_no_speech: Command = ()
    on_mic_lost: Command = ()
    on_answer: Command = ()
    timeout_s: Annotated[float, Meta(ge=0.1, le=300)] = 5.0
    mask_s: Annotated[float, Meta(ge=0, le=300)] = 0.0

    @property
    def commands(self) -> dict[str, Command]:
        """The programs that are set, by their hook's name."""
        hooks = [name for name in self.__struct_fields__ if name.startswith("on_")]
        return {name: command for name in hooks if (command := getattr(self, name))}


class HomeAssistantSettings(Struct, frozen=True, kw_only=True):
    """Whether Home Assistant is told of this device over MQTT, and what its topics there begin with."""

    discovery: bool = False
    prefix: Topic = "homeassistant"


class LogSettings(Struct, frozen=True, kw_only=True):
    """What is logged."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class AnswerSettings(Struct, frozen=True, kw_only=True):
    """Who answers requests, and which."""

    home_assistant: str = ""
    token_file: str = ""
    pipeline: str = ""
    wyoming: str = ""
    language: Annotated[str, Meta(pattern=LANGUAGE_PATTERN)] = ""
    speaker: str = ""
    devices: tuple[Annotated[str, Meta(pattern=ID_PATTERN)], ...] = ()
    max_age_s: Annotated[float, Meta(gt=0, le=86_400)] = 20.0
    arbitration_s: Annotated[float, Meta(ge=0, le=10)] = 0.5
    username: Annotated[str, Meta(pattern=TEXT_PATTERN)] = ""
    password_file: str = ""


class WebSettings(Struct, frozen=True, kw_only=True):
    """Where the privacy page is, and how it is closed to others."""

    listen: str = "127.0.0.1:8060"
    hosts: tuple[Annotated[str, Meta(pattern=HOST_PATTERN)], ...] = ()
    password_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    behind_proxy: bool = False
    idle_s: Annotated[float, Meta(ge=1, le=86_400)] = 300.0
