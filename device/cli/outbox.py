"""``outbox``: what waits for the broker, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from device.cli.common import SECONDS, common_options, open_store, refuse_unless, remark, sure
from device.config import settings as configuration
from device.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from device.config.settings import Settings
    from device.edges.store import Store, Waiting


@click.command("outbox")
@click.argument("action", type=click.Choice(["list", "send", "delete", "not-for-me"]))
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="delete: every waiting request, and what --damaged deletes.")
@click.option("--damaged", is_flag=True, help="delete: what lies in databases that were damaged and set aside.")
@click.option(
    "--keep/--no-keep",
    "keep",
    default=None,
    help="not-for-me: keep the sound of the wake word on this device, or not; else it is asked.",
)
@click.option("--json", "as_json", is_flag=True, help="list: print JSON, one object a line.")
@click.option(
    "--timeout",
    "timeout_s",
    metavar="S",
    type=SECONDS,
    default=30.0,
    show_default=True,
    help="send: give up after this many seconds; what waits then is kept (status 69).",
)
@common_options
def command(
    action: str,
    ids: tuple[str, ...],
    *,
    everything: bool,
    damaged: bool,
    keep: bool | None,
    as_json: bool,
    timeout_s: float,
    config: Path | None,
    log_format: str,
) -> int:
    """List what waits for the broker, publish it now, or delete it by id.

    not-for-me ID: delete a request that nobody meant for the device. Where [wake] keep_sound is set, the sound of its
    wake word can be kept, on this device only: `wake try` then suggests a threshold that it does not reach.
    """
    refuse_unless(action == "list", as_json, "--json", "list")
    refuse_unless(action == "delete", everything, "--all", "delete")
    refuse_unless(action == "delete", damaged, "--damaged", "delete")
    refuse_unless(action in ("delete", "not-for-me"), ids, "an id", "delete and not-for-me")
    refuse_unless(action == "not-for-me", keep is not None, "--keep", "not-for-me")
    settings = configuration.load(config)
    if action == "send":
        from device import log
        from device.daemon.send_now import send

        log.setup(log_format, settings.log.level)
        return send(settings, timeout_s)
    with open_store(settings) as store:
        if action == "list":
            _list(store, log_format, as_json=as_json)
        elif action == "not-for-me":
            _not_for_me(store, ids, settings, log_format, keep=keep)
        else:
            _delete(store, ids, everything=everything, damaged=damaged)
    return 0


def _list(store: Store, log_format: str, *, as_json: bool) -> None:
    waiting = store.waiting()
    for item in waiting:
        if as_json:
            click.echo(msgspec.json.encode(item).decode())
            continue
        state = "opted out" if item.review.opt_out else "reviewable"
        tried = f"  tried {item.attempts} times: {item.problem}" if item.attempts else ""
        click.echo(f"{item.id}  {item.captured_at}  {item.duration_s:5.1f} s  {state:10}  {item.wake_word}{tried}")
    if not as_json:
        remark(f"{len(waiting)} waiting, {sum(item.bytes for item in waiting) / 1e6:.1f} MB", log_format)
    damaged = store.damaged()
    for file in damaged:
        remark(str(file), log_format, level="warning")
    if damaged:
        remark("`wakeword-recorder outbox delete --damaged` deletes that", log_format, level="warning")


def _delete(store: Store, ids: tuple[str, ...], *, everything: bool, damaged: bool) -> None:
    if bool(ids) + everything + damaged != 1:
        raise UsageError(
            "delete takes the ids to delete, or --all, or --damaged", hint="`wakeword-recorder outbox list` shows them"
        )
    files = len(store.damaged()) if everything or damaged else 0
    also = f"{files} damaged database{'s' * (files != 1)}"
    if damaged:
        store.delete_damaged()
        click.echo(f"{also} deleted")
        return
    _refuse_unknown(store, ids)
    deleted = store.delete(None if everything else ids)
    click.echo(f"{deleted} deleted" + (f", and {also}" if files else ""))


def _refuse_unknown(store: Store, ids: tuple[str, ...]) -> dict[str, Waiting]:
    """Return what waits, by id, if all of these do."""
    waiting = {item.id: item for item in store.waiting()}
    if unknown := set(ids) - set(waiting):
        raise UsageError(f"no waiting request has the id {min(unknown)!r}", hint="nothing was deleted")
    return waiting


def _not_for_me(store: Store, ids: tuple[str, ...], settings: Settings, log_format: str, *, keep: bool | None) -> None:
    from device import build
    from device.tools import not_for_me

    if not ids:
        raise UsageError("not-for-me takes the ids of requests", hint="`wakeword-recorder outbox list` shows them")
    waiting = _refuse_unknown(store, ids)
    if keep is None and any(store.wake_sound(request_id) for request_id in ids):
        keep = sure("Keep the sound of the wake word on this device, for `wake try`? It is sent nowhere.", log_format)
    for request_id in ids:
        kept = not_for_me.refuse(store, waiting[request_id], build.state_dir(settings) if keep else None)
        click.echo(f"{request_id} deleted" + (f"; the sound of its wake word is kept in {kept}" if kept else ""))
        if keep and not kept:
            remark("its wake word has no sound to keep: that takes [wake] keep_sound = true", log_format)
