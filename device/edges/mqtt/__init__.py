"""The MQTT edge: settings of a link, the one way to a broker, one connection's life, and what happens on it."""

from device.edges.mqtt.connecting import NotConnectedError, connect, exchange, publish_once, subscribe
from device.edges.mqtt.connection import Connection
from device.edges.mqtt.incoming import (
    NOBODY_SUBSCRIBED,
    RETAIN_NOT_SUPPORTED,
    Answered,
    Arrived,
    Connected,
    Incoming,
    Lost,
    Subscribed,
)
from device.edges.mqtt.interrupt import Interrupt
from device.edges.mqtt.link import LinkSettings, tls_context
from device.edges.mqtt.password import mqtt_password

__all__ = [
    "NOBODY_SUBSCRIBED",
    "RETAIN_NOT_SUPPORTED",
    "Answered",
    "Arrived",
    "Connected",
    "Connection",
    "Incoming",
    "Interrupt",
    "LinkSettings",
    "Lost",
    "NotConnectedError",
    "Subscribed",
    "connect",
    "exchange",
    "mqtt_password",
    "publish_once",
    "subscribe",
    "tls_context",
]
