"""What a publish looks like as bytes, where paho is slow or does not say."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXPIRY, _CONTENT_TYPE, _USER_PROPERTY = b"\x02", b"\x03", b"\x26"  # MQTT 5, 2.2.2.2

_ANY = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]


class PublishProperties(Properties):
    """The MQTT 5 properties of a request, as bytes at once: paho's own way takes a fifth of the time of a publish."""

    def __init__(self, *, content_type: str, user_properties: Sequence[tuple[str, str]], expiry_s: int) -> None:
        self.__dict__.update(_ANY.__dict__)  # paho's constructor builds large tables, the same ones each time
        packed = [_CONTENT_TYPE, *_text(content_type)]
        if expiry_s:
            packed += _EXPIRY, struct.pack(">I", expiry_s)
        for name, value in user_properties:
            packed += _USER_PROPERTY, *_text(name), *_text(value)
        properties = b"".join(packed)
        object.__setattr__(self, "_packed", _length(len(properties)) + properties)

    def pack(self) -> bytes:
        """Return the properties with their length before them."""
        packed: bytes = object.__getattribute__(self, "_packed")
        return packed


def packet_bytes(topic: str, payload: bytes, properties: Properties | None) -> int:
    """Return how many bytes a QoS 1 publish takes as one packet, which is what a broker's maximum counts."""
    rest = 2 + len(topic.encode()) + 2 + len(payload)
    rest += len(properties.pack()) if properties is not None else 1  # type: ignore[no-untyped-call]
    return 1 + len(_length(rest)) + rest


def _text(text: str) -> tuple[bytes, bytes]:
    data = text.encode()
    return len(data).to_bytes(2, "big"), data


def _length(value: int) -> bytes:
    return VariableByteIntegers.encode(value)  # type: ignore[no-untyped-call,no-any-return]
