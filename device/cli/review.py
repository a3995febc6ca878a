"""``review``: shows or changes the review choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from device.cli.announce import Announcer, review_state
from device.cli.common import common_options, open_store, refuse_unless, sure, warn_of_kept, warn_of_state
from device.cli.tighten import tighten
from device.config import settings as configuration
from device.errors import UsageError
from device.message.wording import STILL_RECORDING, wording

if TYPE_CHECKING:
    from pathlib import Path

    from device.cli.announce import RetainedState
    from device.config.settings import Settings
    from device.edges.store import Store
    from device.message.review import Review


@click.command("review")
@click.argument("action", type=click.Choice(["status", "opt-out", "opt-in", "key"]))
@click.option("--withdraw", is_flag=True, help="opt-out: also ask whoever has what was sent as reviewable to erase it.")
@click.option("--yes", is_flag=True, help="opt-in: do not ask.")
@click.option("--json", "as_json", is_flag=True, help="status: print JSON.")
@common_options
def command(action: str, *, withdraw: bool, yes: bool, as_json: bool, config: Path | None, log_format: str) -> int:
    """Show or change whether people may listen to requests, and whether they may train anything.

    opt-out also retags every request that still waits. Once it has returned, nothing is published as reviewable;
    --withdraw reaches what was sent before, as far as `wakeword-recorder history` has it and its receivers obey.
    opt-in counts for requests from then on. Neither stops recording. key prints the public half of the key that
    requests are signed with, if they are ([review] sign), for `receive --key`.
    """
    refuse_unless(action == "opt-out", withdraw, "--withdraw", "opt-out")
    refuse_unless(action == "opt-in", yes, "--yes", "opt-in")
    refuse_unless(action == "status", as_json, "--json", "status")
    if action == "opt-out":
        return tighten(config, log_format, lambda store: _choose(store, opt_out=True, withdraw=withdraw))
    settings = configuration.load(config)
    if action == "key":
        return _show_key(settings)
    broker = None if action == "status" else Announcer(settings)
    with open_store(settings) as store:
        warn_of_state(settings, log_format)
        if broker is None:
            review = store.review()
            if as_json:
                click.echo(msgspec.json.encode(review).decode())
            else:
                shown = store.wording()
                click.echo(f"{_described(review)}\n{shown.sentence if shown else STILL_RECORDING}")
            return 0
        if not yes:
            answer = sure(f"{wording(opt_out=False).sentence} Opt in?", log_format)
            if answer is None:
                raise UsageError("opt-in asks first, and nobody answered", hint="use --yes where nobody can")
            if not answer:
                click.echo("Nothing was changed.")
                return 1
        state = _choose(store, opt_out=False)
        warn_of_kept(store, settings, "review/set", log_format)
    broker.show(state, log_format)
    return 0


def _show_key(settings: Settings) -> int:
    from device import build

    with open_store(settings):  # as its owner, to whom the key belongs
        key = build.public_key(settings)
    if key is None:
        raise UsageError("requests are not signed here", hint="[review] sign = true has them signed")
    click.echo(key.decode())
    return 0


def _choose(store: Store, *, opt_out: bool, withdraw: bool = False) -> RetainedState:
    shown = wording(opt_out=opt_out)
    chosen = store.choose(opt_out, shown=shown, withdraw=withdraw)
    click.echo(f"{_described(chosen.review)}\n{shown.sentence}")
    if chosen.retagged:
        were = "s were" if chosen.retagged > 1 else " was"
        click.echo(f"{chosen.retagged} waiting request{were} retagged as opted out.")
    if withdraw:
        many = f"{chosen.withdrawn} request{'s' * (chosen.withdrawn != 1)}"
        click.echo(f"{many} sent as reviewable withdrawn: whoever has them is asked to erase them.")
    return review_state(store.review_state())


def _described(review: Review) -> str:
    state = "opted out of review" if review.opt_out else "opted in to review"
    why = {
        "user": f"chosen {review.changed_at}",
        "default": "the default; nobody has chosen yet",
        "unreadable": "the stored choice cannot be read, so the strictest counts; choose again",
    }[review.choice]
    return f"{state} ({why}, revision {review.revision})"
