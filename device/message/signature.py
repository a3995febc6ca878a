"""A tag's signature: of which bytes it is, how it stands in the tag, and whose key it must fit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from device.errors import TagError, UsageError
from device.message.envelope import tag_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.message.tag import Tag

_SIGNED = re.compile(rb'(\{.*),"signature":"([A-Za-z0-9+/]{86}==)"\}', re.DOTALL)


class PublicKey(Struct, frozen=True, kw_only=True):
    """What a device publishes of its key: whoever has it can check its signatures, and make none."""

    device: str
    algorithm: Literal["Ed25519"] = "Ed25519"
    key: Annotated[bytes, Meta(min_length=32, max_length=32)]  # base64 in JSON


def signed(tag: Tag, sign: Callable[[bytes], bytes]) -> Tag:
    """Return the tag with a signature over all of its JSON; the signature then stands in it as the last field."""
    return msgspec.structs.replace(tag, signature=sign(tag_json(tag).encode()))


def parts(text: bytes) -> tuple[bytes, bytes]:
    """Return what a signed tag's signature is of, and the signature.

    Taken from the bytes as they came, not from what was understood of them: fields that a newer version added count.

    Raises:
        TagError: the tag has no signature as its last field.
    """
    found = _SIGNED.fullmatch(text)
    if found is None:
        raise TagError("tag: it has no signature", hint="[review] sign = true makes the device sign")
    return found[1] + b"}", msgspec.json.decode(b'"' + found[2] + b'"', type=bytes)


def parse_keys(text: bytes) -> dict[str, bytes]:
    """Read public keys, a line of JSON each, as `review key` prints them; returns each device's.

    Raises:
        UsageError: a line is none, a device stands there twice, or there is none at all.
    """
    keys: dict[str, bytes] = {}
    for number, line in enumerate(filter(None, map(bytes.strip, text.splitlines())), start=1):
        try:
            key = msgspec.json.decode(line, type=PublicKey)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise UsageError(f"key {number} is none", hint="a line each, as `review key` prints it") from None
        if key.device in keys:
            raise UsageError(f"key {number} is another one of the device {key.device!a}", hint="name each device once")
        keys[key.device] = key.key
    if not keys:
        raise UsageError("there is no key in it", hint="`review key` prints it on the device")
    return keys
