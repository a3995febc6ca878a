"""The page itself: one thing under another, each with the one control that changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device.message.wording import wording
from device.page import frame, leaving, times
from device.page.markup import NOTHING, Html, fill, join
from device.page.pieces import AT_ONCE, SHOWN, disclosure, hidden, listed, section, tag
from device.page.sent import sent, withdrawable

if TYPE_CHECKING:
    from device.page.facts import Facts, Live, Request

NOTICES = {
    "opted-out": "You are opted out. Everything that waits is opted out, too.",
    "opted-in": "You are opted in from now on. What was opted out stays so.",
    "muted": "Muted: the microphone is closed.",
    "unmuted": "The microphone is on again.",
    "withdrawn": "Opted out, and withdrawn: whoever has what was sent as reviewable is asked to erase it.",
    "withdrawn-one": "Withdrawn: whoever has it is asked to erase it.",
    "forgotten": "Forgotten.",
    "deleted": "Deleted.",
    "kept": "Deleted. The sound of its wake word is kept on this device, and nowhere else.",
    "gone": "It was sent or deleted already.",
    "changed": "That was changed in another place meanwhile. This is how it is now; nothing else was changed.",
}
"""What is said at the top after something was done, by the name that stands in the address."""

LATER = "The recorder is not running: the broker shows it once it is."
_SHOWN_BY_THE_BROKER = ("opted-out", "opted-in", "withdrawn", "muted", "unmuted")

_HEAD = """\
<header>
<h1>{device}</h1>
<p id="state" class="state {kind}" role="status"><span class="dot" aria-hidden="true"></span>
<span id="says">{says}</span></p>
<div class="level" aria-hidden="true"><div id="level"></div></div>
</header>"""
_SWITCH = """\
<section aria-labelledby="{name}">
<h2 id="{name}">{title}</h2>
<form method="{method}" action="{action}">{hidden}
<button class="switch" role="switch" aria-checked="{checked}" aria-describedby="{name}-means">
<span>{label}</span><span class="track" aria-hidden="true"></span></button>
</form>
<p id="{name}-means">{means}</p>
<p class="quiet">{since}</p>
{more}</section>"""
_STAY = '<form method="post" action="/opt-out">{hidden}<button class="button">Stay opted out</button></form>'
_ITEM = """\
<li>
<div><strong>{time}</strong> {tag}
<p class="quiet">after “{word}” · {length} s{problem}</p></div>
<div class="row"><a class="button play" href="/waiting/{id}.wav" aria-label="Play {time_says}">Play</a>
<form method="post" action="/delete">{hidden}
<button class="button" aria-label="Delete {time_says}">Delete</button></form></div>
{not_for_me}
</li>"""
_KEEP = Html("""\
<p><label><input type="checkbox" name="keep" value="yes"> Keep the sound of the wake word here, for
<code>wake try</code> to learn from</label></p>""")
_ALL_OF_IT = "<details><summary>Read all of it</summary>{text}</details>"
_FOOT = """\
<footer><p class="quiet">wakeword-recorder {version}</p>
<form method="post" action="/logout">{hidden}<button class="button">Log out</button></form></footer>"""


def overview(look: frame.Look, facts: Facts, *, token: str, notice: str = "", problem: str = "") -> str:
    """Return the page.

    Args:
        look: what pages share.
        facts: what it shows.
        token: the session's.
        notice: a name of ``NOTICES``; any other is nothing.
        problem: what was asked for and did not happen, and why.
    """
    sections = join(
        [
            _said(notice, problem or facts.problem, running=facts.live.running),
            _review(facts, token),
            _microphone(facts, token),
            _waiting(facts, token),
            sent(facts, token),
            section("leaving", "What leaves this device", fill(_ALL_OF_IT, text=leaving.text(facts.place))),
        ]
    )
    foot = fill(_FOOT, version=facts.place.version, hidden=hidden(token=token))
    return frame.page(look, "", join([_head(facts), fill("<main>{sections}</main>", sections=sections), foot]))


def state_of(live: Live) -> tuple[str, str]:
    """Return what the recorder does, as a style and in words."""
    if not live.running:
        return "off", "The recorder is not running"
    match live.microphone:
        case "listening":
            return "on", "Listening for the wake word"
        case "muted":
            return "off", "Muted"
        case "lost":
            return (
                "bad",
                f"The microphone is not heard: {live.reason}" if live.reason else "The microphone is not heard",
            )
        case _:
            return "on", "The recorder is running"


def _head(facts: Facts) -> Html:
    kind, says = state_of(facts.live)
    return fill(_HEAD, device=facts.place.device, kind=kind, says=says)


def _said(notice: str, problem: str, *, running: bool) -> Html:
    if problem:
        return fill('<p class="notice problem" role="alert">{problem}</p>', problem=problem)
    said = NOTICES.get(notice, "")
    if notice in _SHOWN_BY_THE_BROKER and not running:
        said = f"{said} {LATER}"
    return fill('<p class="notice" role="status">{said}</p>', said=said) if said else NOTHING


def _review(facts: Facts, token: str) -> Html:
    review = facts.review
    since = {
        "user": fill("Chosen {time}{withdrawn}.", time=_time(facts, review.changed_at), withdrawn=_withdrawn(facts)),
        "default": "Nobody has chosen yet: this is how it begins.",
        "unreadable": "What was chosen cannot be read, so the strictest counts. Please choose again.",
    }[review.choice]
    opt_out = review.opt_out
    unsaid = opt_out and review.choice != "user"
    return fill(
        _SWITCH,
        name="review",
        title="Review",
        label="People may listen",
        checked="false" if opt_out else "true",
        method="get" if opt_out else "post",
        action="/opt-in" if opt_out else "/opt-out",
        hidden=NOTHING if opt_out else hidden(token=token),
        means=facts.sentence or wording(opt_out=opt_out).sentence,
        since=since,
        more=join([fill(_STAY, hidden=hidden(token=token)) if unsaid else NOTHING, _withdraw(facts, token)]),
    )


def _time(facts: Facts, timestamp: str | None) -> Html:
    return times.element(timestamp or "", facts.now)


def _withdrawn(facts: Facts) -> Html:
    says = "; what had been sent was withdrawn {time}"
    return fill(says, time=_time(facts, facts.withdrawn_at)) if facts.withdrawn_at else NOTHING


def _withdraw(facts: Facts, token: str) -> Html:
    """Return the second button: opting out reaches what waits, this what was sent."""
    many = withdrawable(facts.sent)
    if not many:
        return NOTHING
    which = "the request that was" if many == 1 else f"the {many} requests that were"
    what = f"Whoever has {which} sent as reviewable is asked to erase {'it' if many == 1 else 'them'}."
    title = "Withdraw what was sent" if facts.review.opt_out else "Opt out and withdraw what was sent"
    return disclosure(f"{title} …", what, title, action="/withdraw", fields=hidden(token=token))


def _microphone(facts: Facts, token: str) -> Html:
    if facts.microphone is None:
        return NOTHING
    muted, since = facts.microphone.muted, facts.microphone.since
    means = (
        "The microphone is closed, and stays so after a restart, until you switch it on."
        if muted
        else "Nothing is recorded that no wake word preceded. Off closes the microphone, after a restart, too."
    )
    return fill(
        _SWITCH,
        name="microphone",
        title="Microphone",
        label="Listen for the wake word",
        checked="false" if muted else "true",
        method="post",
        action="/unmute" if muted else "/mute",
        hidden=hidden(token=token, since=since) if muted else hidden(token=token),
        means=means,
        since=fill("{what} {time}.", what="Muted since" if muted else "On since", time=times.element(since, facts.now)),
        more=NOTHING,
    )


def _waiting(facts: Facts, token: str) -> Html:
    if facts.waiting is None:
        return NOTHING
    waiting = facts.waiting
    items = [_item(one, facts, token) for one in reversed(waiting[-SHOWN:])]
    doomed = "the request that waits" if len(waiting) == 1 else f"the {len(waiting)} requests that wait"
    what = f"Deletes {doomed}{', and what is damaged' if facts.damaged else ''}. It cannot be brought back."
    title, fields = "Delete everything", hidden(token=token)
    return section(
        "waiting",
        "Waiting",
        fill("<p>{what}</p>", what=_how_many(len(waiting))),
        listed(items, len(waiting), at_once=AT_ONCE),
        *(fill('<p class="problem">{line}</p>', line=line) for line in facts.damaged),
        disclosure(f"{title} …", what, title, action="/delete-all", fields=fields, danger=True)
        if waiting or facts.damaged
        else NOTHING,
    )


def _how_many(many: int) -> str:
    if not many:
        return "Nothing waits: what was said has been sent, or deleted."
    return "One request waits for the broker." if many == 1 else f"{many} requests wait for the broker."


def _item(request: Request, facts: Facts, token: str) -> Html:
    return fill(
        _ITEM,
        id=request.id,
        time=times.element(request.captured_at, facts.now, times.first_word),
        time_says=times.spoken(request.captured_at, facts.now),
        word=request.wake_word.replace("_", " "),
        length=f"{request.duration_s:.1f}",
        tag=tag(opt_out=request.opt_out),
        problem=f" · refused: {request.problem}" if request.problem else "",
        hidden=hidden(token=token, id=request.id),
        not_for_me=disclosure(
            "That was not for me …",
            "It is deleted, and sent to nobody.",
            "Delete it",
            action="/not-for-me",
            fields=join([hidden(token=token, id=request.id), _KEEP if facts.place.keeps_wake_sound else NOTHING]),
        ),
    )
