"""The broker's row of `check`: connects as the daemon does, publishes, subscribes, and compares what is allowed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from device import build
from device.edges.mqtt import Lost, connect, exchange, subscribe
from device.errors import BrokerUnavailableError
from device.message.size import largest_bytes, longest_s, remedy
from device.sending.reconnect import Reconnect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from device.config.settings import Settings
    from device.edges.mqtt import Connection, LinkSettings


def check_broker(settings: Settings, *, running: bool) -> str:
    """Connect with the daemon's last will, and its client id unless it is running and would be cut off by that.

    Returns:
        What was found, with warnings behind it.

    Raises:
        BrokerUnavailableError: requests cannot be sent there, or not the longest ones.
        ConfigurationError: the password's file or a certificate cannot be used.
    """
    link = build.link_settings(settings)
    if running:
        link = replace(build.link_settings(settings, role="check"), announce=True)
    plan = Reconnect(link.protocol)
    connection = connect(link, plan)
    assert connection is not None, "nobody stops it"  # noqa: S101
    try:
        found = [_published(connection, link), *_warnings(connection, link, retain=plan.retain)]
    finally:
        connection.close(say_goodbye=True)
    limit_bytes = connection.accepted.max_packet_bytes
    if limit_bytes is not None:
        found += _room(settings, limit_bytes)
    return "; ".join(found)


def _published(connection: Connection, link: LinkSettings) -> str:
    answer = exchange(connection, link, link.event_topic, b'{"event":"check"}')
    if isinstance(answer, Lost):
        raise BrokerUnavailableError(answer.problem, hint=answer.hint)
    if answer.refused:
        raise BrokerUnavailableError(
            f"{link.address} refused a message on {link.event_topic}: {answer.text.lower()}",
            hint="its access list must let this login write there",
        )
    return f"{link.address}, MQTT {connection.protocol}, published and acknowledged"


def _warnings(connection: Connection, link: LinkSettings, *, retain: bool) -> Iterator[str]:
    if connection.protocol != "5":
        yield "warning: in 3.1.1 a broker cannot say that it dropped or refused a message"
    if not (retain and connection.accepted.retains):
        yield "warning: it keeps no retained messages, so states reach only who is subscribed when they change"
    answer = subscribe(connection, link, list(link.command_topics.values()))
    if isinstance(answer, Lost):
        raise BrokerUnavailableError(answer.problem, hint=answer.hint)
    for topic, refusal in zip(link.command_topics.values(), answer.refused, strict=False):
        if refusal:
            yield f"warning: it refused the commands on {topic}: {refusal.lower()}"


def _room(settings: Settings, limit_bytes: int) -> Iterator[str]:
    """Compare the broker's largest packet with the longest request."""
    flac, max_s = settings.mqtt.format == "flac", settings.capture.max_s
    needed_bytes = largest_bytes(max_s, flac=flac)
    if needed_bytes > limit_bytes:
        fits_s = max(0.0, longest_s(limit_bytes, flac=flac))
        about = "about " * flac
        raise BrokerUnavailableError(
            f"the broker takes {limit_bytes} bytes at most, {about}{fits_s:.1f} s of {settings.mqtt.format.upper()};"
            f" the longest request, [capture] max_s = {max_s:g}, takes {about}{needed_bytes}",
            hint=remedy(limit_bytes, flac=flac),
        )
    if largest_bytes(max_s, flac=False) > limit_bytes:
        yield f"warning: it takes {limit_bytes} bytes at most, which a long request in loud noise may exceed as FLAC"
