"""The addresses in [answer]: what is wrong with them, and their parts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from device.config.wording import NOT_SHOWN

if TYPE_CHECKING:
    from device.config.sections import AnswerSettings

_RIGHT = {
    "home_assistant": "expected its address, such as 'http://homeassistant.local:8123'",
    "wyoming": "expected a server's address, such as 'tcp://localhost:10300'",
}


def answer_faults(answer: AnswerSettings) -> list[str]:
    """Return what is wrong with the addresses, alone and together; files are looked at by who reads them.

    A recorder whose answers are set up wrongly in any other way still records.
    """
    problems = [
        f"[answer] {key} = {re.sub('//[^/]*@', f'//{NOT_SHOWN}@', value)!r}: {problem}; {_RIGHT[key]}"
        for key, value, problem in (
            ("home_assistant", answer.home_assistant, _url_problem(answer.home_assistant)),
            ("wyoming", answer.wyoming, _tcp_problem(answer.wyoming)),
        )
        if problem
    ]
    if answer.home_assistant and answer.wyoming:
        problems.append("[answer] home_assistant and wyoming: one of them answers; leave the other out")
    if answer.speaker and not answer.home_assistant:
        problems.append(f"[answer] speaker = {answer.speaker!r}: only Home Assistant has a voice; set home_assistant")
    if answer.password_file and not answer.username:
        problems.append(f"[answer] password_file = {answer.password_file!r}: a username is needed with it")
    return problems


def wyoming_address(url: str) -> tuple[str, int]:
    """Return host and port of an address that has no faults."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


def _url_problem(url: str) -> str:
    if not url:
        return ""
    if re.search(r"[\s\x00-\x1f]", url):
        return "spaces belong into no address"
    try:
        parts = _parts(url)
    except ValueError as error:
        return str(error)
    if "@" in parts.netloc:
        return "a login does not belong there"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "no http:// or https://"
    return "a question mark or # does not belong there" if parts.query or parts.fragment else ""


def _tcp_problem(url: str) -> str:
    if not url:
        return ""
    try:
        parts = _parts(url)
    except ValueError as error:
        return str(error)
    port = parts.port
    if parts.scheme != "tcp" or not parts.hostname or not re.fullmatch(r"[^\s@/]+", parts.netloc):
        return "no tcp:// and a host behind it"
    return "" if port and parts.path in ("", "/") else "the port is missing" if not port else "it ends with the port"


def _parts(url: str) -> SplitResult:
    """Split an address.

    Raises:
        ValueError: it is none, with the reason.
    """
    parts = urlsplit(url)
    try:
        (parts.hostname or "").encode("idna")
    except UnicodeError:
        raise ValueError("no host can have this name") from None
    if parts.port == 0:
        raise ValueError("there is no port 0")
    return parts
