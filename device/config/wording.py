"""How the configuration's errors are put: keys and values as the file has them, and what would be right."""

from __future__ import annotations

import difflib
import re
import shlex
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NOT_SHOWN = "(not shown)"
_CLOSE = 0.6  # how alike two names are, of 1, for one to be taken for the other

# A password typed under a wrong key, or into a wrong section, must not reach the log either.
_SECRET = re.compile("pass|pwd|secret|token|credential", re.IGNORECASE)
_TYPES = {
    "int": "whole number",
    "float": "number",
    "str": "text",
    "bool": "true or false",
    "array": "list",
    "object": "table",
}


def bare(key: str) -> str:
    """Return a key as TOML has it: bare where it may be, else quoted and in one line."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else msgspec.json.encode(key).decode()


def shown(key: str, value: object, *, most: int = 80) -> str:
    """Return a value in one line of so many characters at most; what may be a secret by its key is not shown."""
    value = _without_secrets(key, value)
    if value is NOT_SHOWN:
        return NOT_SHOWN
    text = repr(value) if isinstance(value, str | float) else msgspec.json.encode(value, enc_hook=str).decode()
    return text if len(text) <= most else text[: most - 3] + "..."


def _without_secrets(key: str, value: object) -> object:
    if isinstance(value, dict):
        return {inner: _without_secrets(inner, content) for inner, content in value.items()}
    if isinstance(value, list):
        return [_without_secrets(key, content) for content in value]
    return NOT_SHOWN if _SECRET.search(key) and not key.endswith("_file") else value


def explained(error: msgspec.ValidationError, patterns: Mapping[str, str]) -> str:
    """Return a schema error in the words of somebody who edits a file.

    Args:
        error: the schema's.
        patterns: for each regular expression of the schema, what it asks for.
    """
    text = str(error)
    for pattern, words in patterns.items():
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


def choice_problem(expected: Any, value: object) -> str:
    """Return what is wrong with the value of a choice; empty where the key is none."""
    if getattr(expected, "__origin__", None) is not Literal:
        return ""
    close = difflib.get_close_matches(str(value), expected.__args__, n=1, cutoff=_CLOSE)
    meant = f", did you mean {close[0]!r}?" if close else ""
    return f"expected one of {', '.join(map(repr, expected.__args__))}{meant}"


def list_problem(error: msgspec.ValidationError, value: object) -> str:
    """Return what is wrong where one text stands in the place of a list of them; empty where that is not it."""
    if not isinstance(value, str) or not str(error).startswith("Expected `array`"):
        return ""
    try:
        parts = shlex.split(value)
    except ValueError:
        parts = [value]
    return f"expected a list of texts: {msgspec.json.encode(parts).decode()}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the known name that is meant, or all of them, to follow an error."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=_CLOSE)
    return f", did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
