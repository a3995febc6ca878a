"""``receive``: a reference subscriber."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from device import log, signals
from device.cli.common import SECONDS, common_options
from device.config import settings as configuration
from device.errors import UsageError

SAMPLE = 0.01  # of the requests, where nothing else is said

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.config.settings import Settings
    from device.edges.mqtt.subscriber import Subscriber
    from device.message.tag import Tag


@click.command("receive")
@click.option("--host", help="The broker; else the configured one.")
@click.option("--port", metavar="N", type=click.IntRange(1, 65_535), help="Its port; else the configured one.")
@click.option(
    "--save-to",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Keep each request there, as ID.wav or ID.flac; a folder that is not there is made.",
)
@click.option("--count", metavar="N", type=click.IntRange(min=1), help="End after this many requests.")
@click.option(
    "--timeout",
    "timeout_s",
    metavar="S",
    type=SECONDS,
    help="End after this many seconds; with --count not reached, with status 1.",
)
@click.option(
    "--client-id",
    metavar="NAME",
    help="Have the broker keep, for a week, what arrives while this subscriber is away; one name for each subscriber.",
)
@click.option(
    "--for-review",
    is_flag=True,
    help="Be a reviewer: receive reviewable requests only, and keep a small random sample of them in --save-to.",
)
@click.option(
    "--sample",
    "share",
    metavar="SHARE",
    type=click.FloatRange(0, 1, min_open=True),
    help="for-review: how much of what comes is kept; of the same requests always the same are.  [default: 0.01]",
)
@click.option(
    "--key",
    "key_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Refuse what is not signed with one of these devices' keys: a line each, as `review key` prints it.",
)
@common_options
def command(
    host: str | None,
    port: int | None,
    folder: Path | None,
    count: int | None,
    timeout_s: float | None,
    client_id: str | None,
    for_review: bool,
    share: float | None,
    key_file: Path | None,
    config: Path | None,
    log_format: str,
) -> int:
    """Receive the requests of all devices; print each one's tag as a line of JSON.

    A message whose topic, properties, tag and sound disagree is refused, and with --key one that is not signed right; a
    repeat is dropped. A request is acknowledged once it is saved, so that with --client-id none is lost while this
    command restarts. What a device asks to be erased (`review opt-out --withdraw`) is deleted from --save-to.
    """
    settings = configuration.load(config)
    log.setup(log_format, settings.log.level)
    from device.tools.receiver import Folder, Receiver

    if for_review and folder is None:
        raise UsageError("--for-review keeps a sample", hint="--save-to says where")
    if share is not None and not for_review:
        raise UsageError("--sample only goes with --for-review")
    believed = _believed(key_file)
    subscriber = _subscriber(settings, host, port, client_id, requests="reviewable" if for_review else "+")
    sample = (share or SAMPLE) if for_review else None
    receiver = Receiver(subscriber, _show, Folder(folder) if folder else None, believed, sample)
    try:
        receiver.run(count=count, timeout_s=timeout_s)
    except signals.Interrupted:
        pass  # the usual end of what has no --count
    finally:
        subscriber.close()
    return 1 if count is not None and receiver.received < count else 0


def _subscriber(
    settings: Settings, host: str | None, port: int | None, client_id: str | None, *, requests: str
) -> Subscriber:
    """Return the subscription to requests, those of one review decision or all, and to what is to be erased."""
    from device.build import link_settings
    from device.edges.mqtt.subscriber import MAX_PACKET_BYTES, SESSION_S, Subscriber
    from device.message.erasure import LEVEL

    if client_id is not None and not re.fullmatch("[0-9A-Za-z_-]{1,64}", client_id):
        raise UsageError(f"--client-id {client_id!r}", hint="letters, digits, _ and - are allowed, at most 64")
    link = link_settings(settings, role="receive")
    link = dataclasses.replace(
        link,
        host=host or link.host,
        port=port or link.port,
        client_id=client_id or link.client_id,
        max_packet_bytes=MAX_PACKET_BYTES,
        session_s=SESSION_S if client_id is not None else 0,
    )
    prefix = f"{settings.mqtt.topic_prefix}/+"
    return Subscriber(link, f"{prefix}/request/{requests}", f"{prefix}/{LEVEL}")


def _believed(key_file: Path | None) -> Callable[[Tag, bytes], None] | None:
    """Return what checks signatures; None: nobody asked for it."""
    if key_file is None:
        return None
    from device.tools.known_keys import KnownKeys

    return KnownKeys(key_file).check


def _show(tag: Tag, file: Path | None) -> None:
    """Print one request; all ASCII, so that no name from afar can steer a terminal."""
    line = msgspec.to_builtins(tag)
    if file is not None:
        line["file"] = str(file)
    click.echo(json.dumps(line, ensure_ascii=True))
