"""``history``: what was sent, without its sound; forgotten or withdrawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from device.cli.common import common_options, open_store, refuse_unless, remark
from device.config import settings as configuration
from device.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from device.edges.store import History


@click.command("history")
@click.argument("action", type=click.Choice(["list", "clear", "withdraw"]))
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--json", "as_json", is_flag=True, help="list: print JSON, one object a line.")
@common_options
def command(action: str, ids: tuple[str, ...], *, as_json: bool, config: Path | None, log_format: str) -> int:
    """List what was sent, forget it, or ask whoever has some of it to erase it.

    It has no sound, and is kept for [history] days. What is forgotten cannot be withdrawn any more. All that was sent
    as reviewable is withdrawn by `wakeword-recorder review opt-out --withdraw`.
    """
    refuse_unless(action == "list", as_json, "--json", "list")
    refuse_unless(action == "withdraw", ids, "an id", "withdraw")
    settings = configuration.load(config)
    with open_store(settings) as store:
        if action == "list":
            _list(store.history, log_format, as_json=as_json)
        elif action == "clear":
            click.echo(f"{_many(store.history.clear())} forgotten")
        else:
            _withdraw(store.history, ids)
    return 0


def _list(history: History, log_format: str, *, as_json: bool) -> None:
    entries = history.entries()
    for entry in entries:
        if as_json:
            click.echo(msgspec.json.encode(entry).decode())
            continue
        state = "opted out" if entry.opt_out else "reviewable"
        erasure = {None: "", "asked": "  to be withdrawn", "told": "  withdrawn"}[entry.erasure]
        click.echo(f"{entry.id}  {entry.sent_at}  {entry.duration_s:5.1f} s  {state:10}  {entry.wake_word}{erasure}")
    if not as_json:
        remark(f"{_many(len(entries))} sent", log_format)


def _withdraw(history: History, ids: tuple[str, ...]) -> None:
    if not ids:
        raise UsageError("withdraw takes the ids of requests", hint="`wakeword-recorder history list` shows them")
    unknown = set(ids) - {entry.id for entry in history.entries()}
    if unknown:
        raise UsageError(f"the history has no request {min(unknown)!r}", hint="nothing was withdrawn")
    click.echo(f"{_many(history.withdraw(ids))} withdrawn: whoever has them is asked to erase them")


def _many(count: int) -> str:
    return f"{count} request{'s' * (count != 1)}"
