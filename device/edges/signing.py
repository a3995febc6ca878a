"""Ed25519 by PyNaCl: the device's own key, made once and kept in its state folder, and the check of a signature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device.errors import RecorderError, StateFolderError
from device.whole_file import write_whole

if TYPE_CHECKING:
    from pathlib import Path

KEY_FILE = "signing-key"
_SEED_BYTES = 32


class Signer:
    """A key that signs.

    Args:
        seed: the 32 bytes that the key is.
    """

    def __init__(self, seed: bytes) -> None:
        from nacl.signing import SigningKey

        self._key = SigningKey(seed)

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 bytes."""
        return self._key.sign(message).signature

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return bytes(self._key.verify_key)


def need_library() -> None:
    """See to it that there is something to sign with.

    Raises:
        RecorderError: PyNaCl is not installed.
    """
    try:
        import nacl.signing  # noqa: F401
    except ImportError as error:
        raise RecorderError(f"signatures need PyNaCl ({error})", hint="scripts/setup --extras sign brings it") from None


def load_or_make(folder: Path) -> Signer:
    """Return the device's key; the first time one is made, readable by the state folder's owner alone.

    Raises:
        StateFolderError: it cannot be read or written, or what is there is none.
        RecorderError: PyNaCl is not installed.
    """
    need_library()
    path = folder / KEY_FILE
    try:
        if not path.exists():
            _make(path)
        text = path.read_bytes()
    except OSError as error:
        raise StateFolderError(f"signing key {path}: {error.strerror}", hint="make the state folder usable") from error
    try:
        seed = bytes.fromhex(text.decode())
    except ValueError:
        seed = b""
    if len(seed) != _SEED_BYTES:
        raise StateFolderError(
            f"signing key {path}: it is damaged",
            hint="bring it back from a backup, or delete it to have a new one made",
        )
    return Signer(seed)


def _make(path: Path) -> None:
    from nacl.utils import random

    try:
        write_whole(path, random(_SEED_BYTES).hex().encode() + b"\n", replace=False)
    except FileExistsError:
        return  # another process was making one, too


def fits(public: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether a signature of a message was made with the key of which ``public`` is the public half."""
    from nacl.exceptions import BadSignatureError
    from nacl.signing import VerifyKey

    try:
        VerifyKey(public).verify(message, signature)
    except BadSignatureError:
        return False
    return True
