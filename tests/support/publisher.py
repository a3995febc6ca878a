"""A device that publishes what a test gives it, by paho alone."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from device.message.envelope import message, wav
from support.broker import PATIENCE_S
from support.tags import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.message.envelope import Message
    from device.message.tag import Tag


def sent(tag: Tag, pcm: bytes, encode: Callable[..., bytes] = wav, prefix: str = "wakeword") -> Message:
    """Return the message of a request, as a device publishes it."""
    return message(tag, pcm, prefix=prefix, encode=functools.partial(encode, version=VERSION))


class Publisher:
    """A device of paho's making."""

    def __init__(self, port: int, version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5, **login: str) -> None:
        self.five = version == MQTTProtocolVersion.MQTTv5
        self.client = Client(CallbackAPIVersion.VERSION2, protocol=version)
        if login:
            self.client.username_pw_set(**login)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def publish(self, parts: Message) -> None:
        properties = None
        if self.five:
            properties = Properties(PacketTypes.PUBLISH)
            properties.ContentType = parts.content_type
            properties.UserProperty = list(parts.user_properties)
        self.client.publish(parts.topic, parts.payload, qos=1, properties=properties).wait_for_publish(PATIENCE_S)

    def say(self, tag: Tag, pcm: bytes, **options: Any) -> Tag:
        """Publish a request, and return its tag."""
        self.publish(sent(tag, pcm, **options))
        return tag

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()
