"""What was sent, on the page: how many a day, and the newest, each to be withdrawn where people may have it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from device.page import times
from device.page.markup import NOTHING, Html, fill, join
from device.page.pieces import SHOWN, disclosure, hidden, listed, section, tag

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from device.page.facts import Facts, Sent

DAYS = 30
_BAR, _GAP, _HEIGHT = 8, 4, 48
_ITEM = """\
<li>
<div><strong>{time}</strong> {tag}
<p class="quiet">after “{word}” · {length} s{withdrawn}</p></div>
{control}</li>"""
_WITHDRAW = """\
<form method="post" action="/withdraw-one">{hidden}
<button class="button" aria-label="Withdraw {time_says}">Withdraw</button></form>"""
_PLOT = '<svg class="plot" role="img" aria-label="{label}" viewBox="0 0 {width} {height}">{bars}</svg>'
_RECT = '<rect class="{style}" x="{x}" y="{y}" width="{width}" height="{height}" rx="1"/>'
_WITHDRAWN = {None: "", "asked": " · to be withdrawn", "told": " · withdrawn"}


def sent(facts: Facts, token: str) -> Html:
    """Return the part of the page with what was sent."""
    if facts.sent is None:
        return NOTHING
    entries, days = facts.sent, facts.place.history_days
    if not entries:
        says = "Nothing yet." if days else "What is sent is not remembered: [history] days is 0."
        return section("sent", "Sent", fill("<p>{says}</p>", says=says))
    many = "One request was" if len(entries) == 1 else f"{len(entries)} requests were"
    items = [_item(one, facts, token) for one in entries[:SHOWN]]
    what = "What is forgotten cannot be withdrawn any more. It has no sound."
    return section(
        "sent",
        "Sent",
        fill("<p>{many} sent; what is older than {days} days is forgotten.</p>", many=many, days=f"{days:g}"),
        plot(entries, facts.now),
        listed(items, len(entries), at_once=0),
        disclosure("Forget this list …", what, "Forget it", action="/forget", fields=hidden(token=token), danger=True),
    )


def withdrawable(entries: Sequence[Sent] | None) -> int:
    """Return how many left, or may have left, as reviewable and are not withdrawn."""
    return sum(not (one.opt_out or one.erasure) for one in entries or ())


def plot(entries: Sequence[Sent], now: datetime) -> Html:
    """Return how many were sent on each of the last days, as bars, reviewable ones below.

    Args:
        entries: what was sent.
        now: this moment, in the time zone whose days count.
    """
    days = [now.date() - timedelta(days=back) for back in reversed(range(DAYS))]
    opted_out = Counter(_day(one, now) for one in entries if one.opt_out)
    reviewable = Counter(_day(one, now) for one in entries if not one.opt_out)
    most = max((opted_out[day] + reviewable[day] for day in days), default=0)
    if not most:
        return NOTHING
    bars = []
    for number, day in enumerate(days):
        below, above = (round(_HEIGHT * counts[day] / most) for counts in (reviewable, opted_out))
        for style, height, y in (("open", below, _HEIGHT - below), ("closed", above, _HEIGHT - below - above)):
            if height:
                bars.append(fill(_RECT, style=style, x=number * (_BAR + _GAP), y=y, width=_BAR, height=height))
    today = opted_out[days[-1]] + reviewable[days[-1]]
    label = f"Sent on each of the last {DAYS} days: at most {most} a day, {today} today."
    return fill(_PLOT, label=label, width=DAYS * (_BAR + _GAP) - _GAP, height=_HEIGHT, bars=join(bars))


def _day(one: Sent, now: datetime) -> date | None:
    try:
        return datetime.fromisoformat(one.sent_at).astimezone(now.tzinfo).date()
    except (ValueError, OverflowError):
        return None


def _item(one: Sent, facts: Facts, token: str) -> Html:
    said = times.spoken(one.sent_at, facts.now)
    control = NOTHING
    if withdrawable([one]):
        control = fill(_WITHDRAW, hidden=hidden(token=token, id=one.id), time_says=said)
    return fill(
        _ITEM,
        time=times.element(one.sent_at, facts.now, times.first_word),
        tag=tag(opt_out=one.opt_out),
        word=one.wake_word.replace("_", " "),
        length=f"{one.duration_s:.1f}",
        withdrawn=_WITHDRAWN[one.erasure],
        control=control,
    )
