"""What a publish looks like as bytes: paho would take as long for them as everything else of a request takes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_PUBLISH = 0x30
_EXPIRY, _CONTENT_TYPE, _USER_PROPERTY = b"\x02", b"\x03", b"\x26"  # MQTT 5, 2.2.2.2
_LONGEST = 268_435_455  # what four bytes of length can say


@dataclass(frozen=True, slots=True)
class Publish:
    """A publish as one packet.

    Attributes:
        mid: its number, which the broker's answer repeats; 0 where none is answered.
        data: all its bytes; their count is what a broker's maximum counts.
    """

    mid: int
    data: bytes


def publish_packet(
    mid: int, topic: str, payload: bytes, *, qos: int, retain: bool = False, properties: bytes | None = None
) -> Publish:
    """Make a publish.

    Args:
        mid: its number; with QoS 0 none is written.
        topic: at most 65,535 bytes of UTF-8.
        payload: its bytes.
        qos: 0 or 1.
        retain: whether the broker keeps it for who comes later.
        properties: as ``publish_properties`` makes them, ``NONE`` for none; None with 3.1.1, which knows of none.

    Raises:
        OverflowError: topic or payload are longer than a packet can be.
    """
    name = topic.encode()
    number = mid.to_bytes(2, "big") if qos else b""
    rest = 2 + len(name) + len(number) + len(properties or b"") + len(payload)
    head = bytes((_PUBLISH | qos << 1 | retain,))
    return Publish(
        mid if qos else 0,
        b"".join((head, _length(rest), len(name).to_bytes(2, "big"), name, number, properties or b"", payload)),
    )


NONE = b"\0"


def publish_properties(*, content_type: str, user_properties: Sequence[tuple[str, str]], expiry_s: int) -> bytes:
    """Return the MQTT 5 properties of a request, with their length before them."""
    packed = [_CONTENT_TYPE, _text(content_type)]
    if expiry_s:
        packed += _EXPIRY, struct.pack(">I", expiry_s)
    for name, value in user_properties:
        packed += _USER_PROPERTY, _text(name), _text(value)
    properties = b"".join(packed)
    return _length(len(properties)) + properties


def _text(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


def _length(value: int) -> bytes:
    """Return a length as MQTT writes one: seven bits a byte, the lowest first."""
    if value > _LONGEST:
        raise OverflowError(f"{value} bytes, more than an MQTT packet holds")
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    digits.append(value)
    return bytes(digits)
