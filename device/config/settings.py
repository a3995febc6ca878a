"""TOML to one frozen, validated settings object; every error at once, each with what would be right."""

from __future__ import annotations

import errno
import os
import re
import socket
import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from device.config.faults import faults
from device.config.paths import FILES, file_problem, is_folder, real_path, same_folder, user_folder
from device.config.sections import (
    ID_PATTERN,
    PATTERNS,
    AnswerSettings,
    CaptureSettings,
    HistorySettings,
    HomeAssistantSettings,
    HooksSettings,
    LogSettings,
    MicrophoneSettings,
    MqttSettings,
    OutboxSettings,
    ReviewSettings,
    VadSettings,
    WakeSettings,
    WebSettings,
)
from device.config.web import web_faults
from device.config.wording import bare, choice_problem, did_you_mean, explained, list_problem, shown
from device.config.words import MODELS, chosen, word_names
from device.errors import ConfigurationError

SYSTEM_PATH = Path("/etc/wakeword-recorder/config.toml")
SYSTEM_STATE = Path("/var/lib/wakeword-recorder")  # the unit's StateDirectory
SYSTEM_CACHE = Path("/var/cache/wakeword-recorder")  # its CacheDirectory
USE_SUDO = "this is the service's: use sudo"


def _default_id() -> str:
    """The host's name, with what a topic level cannot hold replaced."""
    return re.sub("[^a-z0-9_-]", "-", socket.gethostname().split(".")[0].lower())[:64] or "device"


def default_state_dir(path: Path | None = None) -> str:
    """Return the state folder where a configuration file names none; empty where nobody knows a home folder.

    For root's commands it is the service's, also before that ever ran, since systemd then gives the folder to the
    service's user, and also while the service's file is missing, since the service may run on.
    """
    service, root = os.environ.get("STATE_DIRECTORY"), os.geteuid() == 0
    if path == SYSTEM_PATH and (service or root or is_folder(SYSTEM_STATE)):
        return str(SYSTEM_STATE)
    if path is None and root and not service and is_folder(SYSTEM_STATE):
        return str(SYSTEM_STATE)
    user = user_folder("XDG_STATE_HOME", ".local/state")
    return service or (str(user / "wakeword-recorder") if user else "")


class DeviceSettings(Struct, frozen=True, kw_only=True):
    """Who this device is and where it keeps its state."""

    id: Annotated[str, Meta(pattern=ID_PATTERN)] = msgspec.field(default_factory=_default_id)
    state_dir: Annotated[str, Meta(min_length=1)] = msgspec.field(default_factory=default_state_dir)


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
    history: HistorySettings = HistorySettings()
    hooks: HooksSettings = HooksSettings()
    homeassistant: HomeAssistantSettings = HomeAssistantSettings()
    log: LogSettings = LogSettings()
    answer: AnswerSettings = AnswerSettings()
    web: WebSettings = WebSettings()
    path: Path | None = None


SECTIONS: dict[str, type[Struct]] = {
    field.name: field.type for field in msgspec.structs.fields(Settings) if field.name != "path"
}


def find(explicit: Path | None) -> Path | None:
    """Return the configuration file that counts: the one named, the system's, the user's, or None."""
    if explicit is not None:
        return explicit
    user = user_folder("XDG_CONFIG_HOME", ".config")
    for path in (SYSTEM_PATH, *([user / "wakeword-recorder" / "config.toml"] if user else [])):
        # One that cannot be seen counts: with the defaults in its place, a command would act on another state folder.
        if file_problem(str(path)) != "no such file":
            return path
    return None


def load(explicit: Path | None = None, *, any_words: bool = False) -> Settings:
    """Read and validate the configuration.

    Args:
        explicit: the file named on the command line.
        any_words: let pass wake words that nobody knows, as `validate` does.

    Raises:
        ConfigurationError: with every problem found, a line each.
    """
    path = find(explicit)
    return validate({} if path is None else _read(path), path, any_words=any_words)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))  # some editors put a byte order mark first
    except PermissionError as error:
        hint = USE_SUDO if path == SYSTEM_PATH else "run this as a user who may, or name another by --config"
        raise ConfigurationError([f"{path}: cannot be read: {error.strerror}; {hint}"]) from error
    except OSError as error:
        raise ConfigurationError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{path}: not UTF-8 text, at byte {error.start}; save it as UTF-8"]) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError([f"{path}: not valid TOML: {error}"]) from error


def validate(document: dict[str, Any], path: Path | None, *, any_words: bool = False) -> Settings:
    """Turn a parsed TOML document into settings; the paths in it become real ones, and so do models chosen by name.

    Args:
        document: what tomllib read.
        path: the file, named in every problem; relative paths count from its folder. None: the built-in defaults.
        any_words: let pass wake words that nobody knows, and a folder of models that is not there: for what looks at
            them or brings them. Such a word stays as it stands there.

    Raises:
        ConfigurationError: with every problem found, a line each.
    """
    problems: list[str] = []
    sections: dict[str, Struct] = {}
    folder = path.parent.absolute() if path else Path("/")
    for name, content in document.items():
        if name not in SECTIONS:
            where = f"[{bare(name)}]" if isinstance(content, dict) else bare(name)
            problems.append(f"{where} = {shown(name, content)}: unknown section{did_you_mean(name, SECTIONS)}")
        elif not isinstance(content, dict):
            problems.append(f"{name} = {shown(name, content)}: a section is expected: write [{name}]")
        else:
            sections[name] = _section(name, content, folder, problems)  # a wrong key has its default from here on
    settings = Settings(**sections, path=path)  # type: ignore[arg-type]
    named = "state_dir" in document["device"] if "device" in sections else False
    settings, problem = _with_the_services_state(settings, named=named)
    settings, words = _with_models(settings)
    problems += [*problem, *(() if any_words else words)]
    problems += faults(settings.wake, settings.capture, settings.mqtt, settings.hooks, settings.answer)
    problems += web_faults(settings.web)
    if problems:
        raise wrong(path, problems)
    return settings


def wrong(path: Path | None, problems: list[str]) -> ConfigurationError:
    """Return the error of a configuration with these problems.

    Args:
        path: the file.
        problems: without the file's name; where one is that a file of the service may not be read, sudo is named.
    """
    refused = os.strerror(errno.EACCES) if path == SYSTEM_PATH and os.geteuid() != 0 else None
    return ConfigurationError(
        [
            f"{path or 'the built-in defaults'}: {problem}"
            + (f"; {USE_SUDO}" if refused and refused in problem else "")
            for problem in problems
        ]
    )


def is_services(settings: Settings) -> bool:
    """Are these the service's: its file, or its state folder?"""
    return settings.path == SYSTEM_PATH or same_folder(settings.device.state_dir, str(SYSTEM_STATE))


def with_state_dir(settings: Settings, state_dir: str) -> Settings:
    """Return settings with another state folder."""
    device = msgspec.structs.replace(settings.device, state_dir=state_dir)
    return msgspec.structs.replace(settings, device=device)


def _with_the_services_state(settings: Settings, *, named: bool) -> tuple[Settings, list[str]]:
    """Have the service and the commands use one state folder, else an opt-out would succeed without any effect.

    The service has systemd's ``STATE_DIRECTORY``; a command run by hand has only the configuration file.
    """
    system, service = settings.path == SYSTEM_PATH, os.environ.get("STATE_DIRECTORY")
    if not named:
        settings = with_state_dir(settings, default_state_dir(settings.path))
    state_dir = settings.device.state_dir
    if not state_dir:
        return settings, ["[device] state_dir: nobody knows a home folder for its default; set HOME, or name a folder"]
    if not service or not (named or system) or same_folder(state_dir, service):
        return settings, []
    advice = "leave the key out" if service == str(SYSTEM_STATE) else f"write state_dir = {service!r}"
    problem = (
        f"[device] state_dir = {state_dir!r}{'' if named else ' by default'}: the service has systemd's folder, "
        f"STATE_DIRECTORY = {service!r}, so commands would act on another; {advice}, or drop StateDirectory= from the "
        f"unit by `systemctl edit wakeword-recorder`: [Service], StateDirectory=, ReadWritePaths={state_dir}"
    )
    return settings, [problem]


def folder_of(settings: Settings) -> str:
    """The folder of the configuration file, from which relative paths count; without a file the root folder."""
    return str(settings.path.absolute().parent) if settings.path else "/"


def models_dir(settings: Settings) -> Path | None:
    """The folder of the models that are chosen by name; None where nobody knows a home folder for its default."""
    if settings.wake.models_dir:
        return Path(settings.wake.models_dir)
    if settings.path:
        return settings.path.absolute().parent / MODELS
    user = user_folder("XDG_CONFIG_HOME", ".config")
    return user / "wakeword-recorder" / MODELS if user else None


def _with_models(settings: Settings) -> tuple[Settings, list[str]]:
    """Find the models that are chosen by name."""
    wake = settings.wake
    words, problems = chosen(wake.words, models_dir(settings), named=bool(wake.models_dir))
    return msgspec.structs.replace(settings, wake=msgspec.structs.replace(wake, words=words)), problems


def _section(name: str, content: dict[str, Any], folder: Path, problems: list[str]) -> Struct:
    """Validate one section key by key, so that one wrong key does not hide the next."""
    schema = SECTIONS[name]
    fields = {field.name: field for field in msgspec.structs.fields(schema)}
    values: dict[str, Any] = {}
    for key, value in content.items():
        where = f"[{name}] {bare(key)} = {shown(key, value)}"
        if key not in fields:
            problems.append(f"{where}: unknown key{did_you_mean(key, fields)}")
            continue
        try:
            values[key] = _with_real_paths(key, msgspec.convert(value, fields[key].type), folder)
        except msgspec.ValidationError as error:
            wrong_form = choice_problem(fields[key].type, value) or list_problem(error, value)
            problems.append(f"{where}: {wrong_form or explained(error, PATTERNS)}")
        except ValueError as error:
            problems.append(f"{where}: {error}")
    return schema(**values)


def _with_real_paths(key: str, value: Any, folder: Path) -> Any:
    """Expand what is a path, here and nowhere else; an empty one stays empty.

    Raises:
        ValueError: one of them cannot be expanded.
    """
    if key == "words":
        return tuple(real_path(word, folder) if word.endswith(".onnx") else word for word in value)
    if key.startswith("on_"):  # a hook's program: a name is looked for where programs are, anything else is a path
        return (real_path(value[0], folder), *value[1:]) if value and "/" in value[0] else value
    return real_path(value, folder) if value and key in (*FILES, "token_file", "state_dir", "models_dir") else value


def thresholds(wake: WakeSettings) -> tuple[float, ...]:
    """The threshold of each word, in the words' order; a word that the table leaves out has 0.5."""
    table = wake.threshold if isinstance(wake.threshold, dict) else {}
    usual = 0.5 if isinstance(wake.threshold, dict) else wake.threshold
    return tuple(table.get(name, usual) for name in word_names(wake.words))
