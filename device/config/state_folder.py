"""Where the state may lie when the configuration cannot be used: what tightens needs nothing else of it."""

from __future__ import annotations

import codecs
import difflib
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from device.config import settings as config
from device.config.paths import is_folder, real_path, same_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEY = "state_dir"
_CLOSE = 0.6  # how alike two names are, of 1, for one to be taken for the other
_WORD = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class StateFolders:
    """Where the state may lie.

    Attributes:
        folders: the likeliest first; empty where nobody knows any.
        certain: there is one, and it is the one, whatever else is wrong with the configuration.
    """

    folders: tuple[Path, ...]
    certain: bool


def state_folders(explicit: Path | None) -> StateFolders:
    """Find the state folder in a configuration that ``config.load`` refuses.

    Where the file does not say for certain which one it is, whatever it may mean counts, with the folders that are used
    where none is named.

    Args:
        explicit: the file named on the command line.
    """
    path = config.find(explicit)
    try:
        content = b"" if path is None else path.read_bytes()
    except FileNotFoundError:
        # A mistyped name: nobody knows what was meant. That of the service's file is no mistake.
        return _thinkable(path, []) if path == config.SYSTEM_PATH else StateFolders((), certain=False)
    except OSError:
        return _thinkable(path, [])
    text, readable = _decoded(content)
    named, certain = _named(text)
    real = [folder for folder in (_real(value, path) for value in named) if folder]
    service = os.environ.get("STATE_DIRECTORY")
    contradicted = bool(service and real and not same_folder(real[0], service))
    if not readable or not certain or len(real) < len(named) or contradicted:
        return _thinkable(path, real)
    folder = real[0] if real else config.default_state_dir(path)
    return StateFolders((Path(folder),), certain=True) if folder else StateFolders((), certain=False)


def settings_for(folder: Path, explicit: Path | None) -> config.Settings:
    """Return the strictest settings for one of these folders."""
    return config.with_state_dir(config.Settings(path=config.find(explicit)), str(folder))


def _decoded(content: bytes) -> tuple[str, bool]:
    """Return a file's text, and whether all of it is text."""
    encoding = "utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        return content.decode("utf-8", "surrogateescape"), False
    return text, "\0" not in text


def _named(text: str) -> tuple[list[str], bool]:
    """Return the folders that a text seems to name; and whether that is certain: by exactly the right key, or none."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        entries = list(_lines(text))
    else:
        entries = list(_entries(document))
    found = [(section, key, value) for section, key, value in entries if _is_key(key)]
    named = [value for _, _, value in found if isinstance(value, str) and value]
    exact = [(section, key) for section, key, _ in found] in ([], [("device", _KEY)])
    whole = all(isinstance(value, dict) for section, key, value in entries if (section, key) == ("", "device"))
    return named, exact and whole and len(named) == len(found)


def _entries(document: dict[str, object]) -> Iterator[tuple[str, str, object]]:
    """Yield section, key and value of every key, those outside any section too."""
    for name, content in document.items():
        yield "", name, content
        if isinstance(content, dict):
            yield from ((name, key, value) for key, value in content.items())


def _lines(text: str) -> Iterator[tuple[str, str, object]]:
    """Yield the same of a text that is no TOML, from each line that is; of another line what it may mean."""
    section = ""
    for line in text.splitlines():
        try:
            document = tomllib.loads(line)
        except (tomllib.TOMLDecodeError, RecursionError):
            word = next((word for word in _WORD.finditer(line.split("#")[0]) if _is_key(word[0])), None)
            if word:
                value = re.split(r"[\"'#]", line[word.end() :].lstrip(" \t=:\"'"), maxsplit=1)[0].strip()
                yield "a broken line", word[0], value
            continue
        if line.lstrip().startswith("["):
            section = next(iter(document), "")
        else:
            yield from ((inner or section, key, value) for inner, key, value in _entries(document))


def _is_key(key: str) -> bool:
    return bool(difflib.get_close_matches(key.lower(), [_KEY], cutoff=_CLOSE))


def _real(value: str, path: Path | None) -> str:
    try:
        return real_path(value, path.parent.absolute() if path else Path("/"))
    except ValueError:
        return ""


def _thinkable(path: Path | None, named: list[str]) -> StateFolders:
    """Return what is named, systemd's folder, the default, and the service's."""
    service = str(config.SYSTEM_STATE) if is_folder(config.SYSTEM_STATE) and os.geteuid() == 0 else ""
    thinkable = [*named, os.environ.get("STATE_DIRECTORY", ""), config.default_state_dir(path), service]
    different: list[str] = []
    for folder in filter(None, thinkable):
        if not any(same_folder(folder, other) for other in different):
            different.append(folder)
    return StateFolders(tuple(map(Path, different)), certain=False)
