"""The erasure notice: whoever has these requests is asked to erase them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from device.errors import TagError
from device.message.tag import RequestId

if TYPE_CHECKING:
    from collections.abc import Collection

LEVEL = "erase"  # below {prefix}/{device id}/
MOST_IDS = 500  # 20 kB
_MOST_BYTES = 65_536
_TOPIC = re.compile(r".+/([^/]+)/erase", re.DOTALL)


class Erasure(Struct, frozen=True, kw_only=True):
    """What a device asks to be erased, of its own requests only.

    Attributes:
        ids: of the requests.
    """

    schema: Literal[1] = 1
    ids: Annotated[tuple[RequestId, ...], Meta(min_length=1, max_length=MOST_IDS)]


def is_erasure(topic: str) -> bool:
    """Whether a topic is one of erasure notices."""
    return _TOPIC.fullmatch(topic) is not None


def erasure_json(ids: Collection[str]) -> bytes:
    """Return the notice for these requests."""
    return msgspec.json.encode(Erasure(ids=tuple(ids)))


def parse_erasure(topic: str, payload: bytes) -> tuple[str, Erasure]:
    """Read a notice that anybody may have written.

    Returns:
        The device that asks, and what it asks for.

    Raises:
        TagError: it is none.
    """
    named = _TOPIC.fullmatch(topic)
    if named is None or len(payload) > _MOST_BYTES:
        raise TagError(f"no erasure notice: {len(payload)} bytes", hint=f"at most {_MOST_BYTES} under DEVICE/{LEVEL}")
    try:
        return named[1], msgspec.json.decode(payload, type=Erasure)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # ValidationError is a DecodeError
        raise TagError(f"erasure notice: {ascii(str(error))[1:-1]}") from None
