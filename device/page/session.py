"""Who has logged in, by a signed cookie: the process ends when nobody uses the page, so it remembers nobody itself."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass

LASTS_S = 12 * 3600
_AHEAD_S = 60  # a session from further in the future is of a clock that was wrong
_COOKIE = re.compile(r"([0-9]{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Session:
    """One login.

    Attributes:
        began_s: when, in seconds since 1970.
        nonce: what tells it from every other, 32 hexadecimal digits.
    """

    began_s: int
    nonce: str


def cookie(session: Session, key: bytes) -> str:
    """Return what the browser keeps of a session.

    Args:
        session: the session.
        key: what signs it; another password has another.
    """
    return f"{session.began_s}.{session.nonce}.{_signed(session, key, 'session')}"


def read_cookie(value: str, key: bytes, now_s: float) -> Session | None:
    """Return the session that a cookie is of; None if we never signed it, or it is over.

    Args:
        value: what a browser says.
        key: what signs it.
        now_s: the wall clock; one that jumped far in either direction ends sessions.
    """
    found = _COOKIE.fullmatch(value)
    if not found:
        return None
    session = Session(int(found[1]), found[2])
    if not hmac.compare_digest(found[3], _signed(session, key, "session")):
        return None
    return session if -_AHEAD_S <= now_s - session.began_s < LASTS_S else None


def form_token(session: Session, key: bytes) -> str:
    """Return what each form of a session carries, which no other site can know."""
    return _signed(session, key, "form")


def is_form_of(token: str, session: Session, key: bytes) -> bool:
    """Return whether a form is of this session."""
    return hmac.compare_digest(token.encode(), form_token(session, key).encode())


def _signed(session: Session, key: bytes, purpose: str) -> str:
    return hmac.new(key, f"{purpose}.{session.began_s}.{session.nonce}".encode(), "sha256").hexdigest()
