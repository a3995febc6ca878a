"""What is listened with: the bench's options, and the configuration that they make of the one under test."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from device.config import settings as config
from device.config.sections import MqttSettings
from device.config.words import word_names
from device.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from device.config.settings import Settings

REPLACE = msgspec.structs.replace


@dataclass(frozen=True, slots=True)
class Format:
    """A virtual pair's rate and number of channels, of which the last one is listened to."""

    rate_hz: int
    channels: int

    def __str__(self) -> str:
        return f"{self.rate_hz}x{self.channels}"


FORMATS = (Format(16_000, 1), Format(48_000, 2))


@dataclass(frozen=True, slots=True)
class Setup:
    """What a bench is made of.

    Attributes:
        settings: the configuration under test.
        microphone: a part of the microphone's name; None: the configured one.
        speaker: a part of the loudspeaker's name; empty: the system's default.
        broker: host and port; None: a mosquitto of the bench's own.
        virtual: PulseAudio's pair in place of both; None: real ones.
    """

    settings: Settings
    microphone: str | None = None
    speaker: str = ""
    broker: tuple[str, int] | None = None
    virtual: Format | None = None

    @property
    def name(self) -> str:
        """What tells it apart from another of the same run; empty where there is but one."""
        return str(self.virtual) if self.virtual else ""


def read_format(text: str) -> Format:
    """Read ``RATExCHANNELS``, such as ``48000x2``.

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"(\d{4,6})x(\d)", text)
    if not found or not 8_000 <= int(found[1]) <= 192_000 or not 1 <= int(found[2]) <= 8:
        raise UsageError(
            f"{text!r} is no format of a virtual pair", hint="RATExCHANNELS is, such as 16000x1 or 48000x2"
        )
    return Format(int(found[1]), int(found[2]))


def read_broker(text: str) -> tuple[str, int]:
    """Read ``HOST`` or ``HOST:PORT``; an IPv6 address stands in brackets.

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\s/\[\]]+))(?::(\d{1,5}))?", text)
    if not found or not 1 <= int(found[3] or 1883) <= 65_535:
        raise UsageError(f"{text!r} is no broker", hint="HOST or HOST:PORT is, such as 192.0.2.7:1883")
    return found[1] or found[2], int(found[3] or 1883)


def under_test(setup: Setup, words: Iterable[str], folder: Path, port: int | None) -> Settings:
    """Return the configuration that the bench's daemon gets: the given one, with what keeps it apart from a service.

    Args:
        setup: the bench.
        words: the wake words to listen for, bundled ones or files.
        folder: for its state.
        port: of the bench's own broker; None: another is used.
    """
    given = setup.settings
    words = tuple(words)
    wake = REPLACE(given.wake, words=words, threshold=_thresholds(given.wake.threshold, words))
    microphone = given.microphone
    if setup.virtual:
        microphone = REPLACE(microphone, name="Virtual Microphone", channel=setup.virtual.channels)
    elif setup.microphone is not None:
        microphone = REPLACE(microphone, name=setup.microphone)
    mqtt = given.mqtt
    if port is not None:
        mqtt = MqttSettings(host="127.0.0.1", port=port, format=mqtt.format)
    elif setup.broker:
        mqtt = REPLACE(mqtt, host=setup.broker[0], port=setup.broker[1])
    device = config.DeviceSettings(id=f"hil-{os.getpid()}", state_dir=str(folder / "state"))
    return REPLACE(given, device=device, wake=wake, microphone=microphone, mqtt=mqtt, path=folder / "config.toml")


def _thresholds(given: float | dict[str, float], words: tuple[str, ...]) -> float | dict[str, float]:
    """Leave out what is for words that are not listened for, which the configuration refuses."""
    if not isinstance(given, dict):
        return given
    return {word: value for word, value in given.items() if word in word_names(words)}


def write(settings: Settings) -> Path:
    """Write a configuration to its ``path``, every key of it, and return the path."""
    lines = []
    for name in config.SECTIONS:
        section = getattr(settings, name)
        lines.append(f"[{name}]")
        values = ((key, getattr(section, key)) for key in section.__struct_fields__)
        lines += [f"{key} = {_toml(value)}" for key, value in values if value is not None]
    assert settings.path is not None  # noqa: S101
    settings.path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return settings.path


def _toml(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case Path():
            return json.dumps(str(value))
    return json.dumps(value, ensure_ascii=False)
