"""A password as it is stored: by scrypt, with the key that signs sessions, so that another password ends them all."""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

LEAST_CHARACTERS = 8
MOST_CHARACTERS = 1024
_Hex = Annotated[str, Meta(pattern="^[0-9a-f]{32,128}$")]


class Stored(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file holds: the hash and how it was made, and the key."""

    scheme: Literal["scrypt"] = "scrypt"
    n: Annotated[int, Meta(ge=2**14, le=2**17)] = 2**14  # 16 MB of memory for each try
    r: Annotated[int, Meta(ge=8, le=8)] = 8
    p: Annotated[int, Meta(ge=1, le=16)] = 5
    salt: _Hex
    hash: _Hex
    session_key: _Hex

    def __repr__(self) -> str:
        return "Stored(***)"

    @property
    def key(self) -> bytes:
        """What signs sessions."""
        return bytes.fromhex(self.session_key)


def store(password: str, *, salt: bytes, session_key: bytes) -> Stored:
    """Return what is stored of a password; takes about half a second, so that guessing is slow.

    Args:
        password: the password.
        salt: 16 bytes that nobody can know.
        session_key: 32 such bytes.
    """
    blank = Stored(salt=salt.hex(), hash="0" * 64, session_key=session_key.hex())
    return msgspec.structs.replace(blank, hash=_hash(blank, password))


def matches(stored: Stored, password: str) -> bool:
    """Return whether this is the password; takes as long as ``store``."""
    return len(password) <= MOST_CHARACTERS and hmac.compare_digest(stored.hash, _hash(stored, password))


def problem(password: str) -> str:
    """Return what is wrong with a new password; empty if nothing is."""
    if len(password) < LEAST_CHARACTERS:
        return f"it has {len(password)} characters; at least {LEAST_CHARACTERS} are needed, a few words are best"
    return f"it is longer than {MOST_CHARACTERS} characters" if len(password) > MOST_CHARACTERS else ""


def to_bytes(stored: Stored) -> bytes:
    """Return what the file holds."""
    return msgspec.json.encode(stored) + b"\n"


def from_bytes(content: bytes) -> Stored:
    """Return what a file holds.

    Raises:
        ValueError: it is no such file.
    """
    try:
        return msgspec.json.decode(content, type=Stored)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error


def _hash(stored: Stored, password: str) -> str:
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"), salt=bytes.fromhex(stored.salt), n=stored.n, r=stored.r, p=stored.p,
        maxmem=256 * stored.n * stored.r, dklen=32,
    ).hex()  # fmt: skip
