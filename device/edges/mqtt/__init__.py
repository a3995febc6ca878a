"""The MQTT edge: settings of a link, one connection's life, and what happens on it."""

from device.edges.mqtt.connection import CONNECT_TIMEOUT_S, Connection
from device.edges.mqtt.happenings import Answered, Connected, Happening, Lost, Received, Subscribed
from device.edges.mqtt.link import LinkSettings, tls_context
from device.edges.mqtt.packets import Publish, publish_packet, publish_properties
from device.edges.mqtt.password import Password, mqtt_password
from device.edges.mqtt.wakeup import Wakeup

__all__ = [
    "CONNECT_TIMEOUT_S",
    "Answered",
    "Connected",
    "Connection",
    "Happening",
    "LinkSettings",
    "Lost",
    "Password",
    "Publish",
    "Received",
    "Subscribed",
    "Wakeup",
    "mqtt_password",
    "publish_packet",
    "publish_properties",
    "tls_context",
]
