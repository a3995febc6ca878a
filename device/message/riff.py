"""RIFF: four letters, a little-endian length, the bytes, and a zero after an odd number of them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = struct.Struct("<4sI")


def chunk(name: bytes, *parts: bytes) -> bytes:
    """Return one chunk that holds the parts; the padding byte does not count in its length."""
    size = sum(map(len, parts))
    return b"".join((HEADER.pack(name, size), *parts, bytes(size % 2)))


def chunks(body: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the name and the content of each chunk, in the order they stand.

    Args:
        body: chunks one after another, as between a RIFF form's type and its end; the last padding byte may be missing.

    Raises:
        ValueError: a chunk reaches beyond the end, or what is left is too short to be one.
    """
    position = 0
    while position < len(body):
        start = position + HEADER.size
        if start > len(body):
            raise ValueError(f"{len(body) - position} bytes are left over after the last chunk")
        name, size = HEADER.unpack_from(body, position)
        end = start + size
        if end > len(body):
            raise ValueError(f"chunk {ascii(name)[1:]} says {size} bytes, {len(body) - start} are there")
        yield name, body[start:end]
        position = end + size % 2
