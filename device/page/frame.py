"""What every page has around it, and the pages that only say or ask one thing."""

from __future__ import annotations

from dataclasses import dataclass

from device.message.wording import wording
from device.page.markup import NOTHING, Html, fill

SET_PASSWORD = "sudo wakeword-recorder web --set-password"  # noqa: S105 - a command
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/page.css?{version}">
<script src="/page.js?{version}" defer></script>
</head>
<body>
{body}
</body>
</html>
"""
_SAYS = '<main class="alone"><h1>{title}</h1>{body}</main>'
_BACK = '<p><a class="button" href="/">Back to the page</a></p>'


@dataclass(frozen=True, slots=True)
class Look:
    """What the pages of one process share: the device's name, and what tells one version of the style from another."""

    device: str
    version: str


def page(look: Look, title: str, body: Html) -> str:
    """Return a whole page."""
    named = f"{title} · {look.device}" if title else f"{look.device} · privacy"
    return fill(_PAGE, title=named, version=look.version, body=body)


def says(look: Look, title: str, text: str, *, hint: str = "", back: bool = True) -> str:
    """Return a page that says one thing."""
    body = fill("<p>{text}</p>", text=text) + (fill("<p>{hint}</p>", hint=hint) if hint else "")
    return page(look, title, fill(_SAYS, title=title, body=Html(body + (_BACK if back else ""))))


def without_password(look: Look) -> str:
    """Return the page that says how to begin."""
    text = "<p>This page is closed until it has a password. On the device:</p><pre><code>{command}</code></pre>"
    body = fill(text, command=SET_PASSWORD)
    return page(look, "A password first", fill(_SAYS, title="A password first", body=body))


def login(look: Look, problem: str = "") -> str:
    """Return the page that asks for the password.

    Args:
        look: what pages share.
        problem: what was wrong with the last one; empty: nothing.
    """
    form = """\
<form method="post" action="/login">
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required autofocus {described}>
{problem}
<button class="button main">Open</button>
</form>"""
    said = fill('<p id="problem" class="problem" role="alert">{problem}</p>', problem=problem) if problem else NOTHING
    described = Html('aria-invalid="true" aria-describedby="problem"') if problem else NOTHING
    title = f"Privacy on {look.device}"
    return page(look, "Log in", fill(_SAYS, title=title, body=fill(form, problem=said, described=described)))


def ask_to_opt_in(look: Look, *, revision: int, token: str) -> str:
    """Return the page that asks before reviewing is allowed, with what that means.

    Args:
        look: what pages share.
        revision: of the choice that it would change.
        token: the session's.
    """
    form = """\
<p>{sentence}</p>
<form method="post" action="/opt-in">
<input type="hidden" name="token" value="{token}"><input type="hidden" name="revision" value="{revision}">
<button class="button main">Opt in</button> <a class="button" href="/">Not now</a>
</form>"""
    body = fill(form, sentence=wording(opt_out=False).sentence, token=token, revision=revision)
    return page(look, "Opt in?", fill(_SAYS, title="May people listen?", body=body))
