"""What several parts of the page are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device.page.markup import NOTHING, Html, fill, join

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN = 20  # of what waits and of what was sent; the newest, so that the page stays small
AT_ONCE = 3  # of these, before the rest is asked for

_HIDDEN = '<input type="hidden" name="{name}" value="{value}">'
_SECTION = '<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>{body}</section>'
_TAG = '<span class="tag {style}">{says}</span>'
_LIST = '<ul class="list">{items}</ul>'
_REST = "<details><summary>{title}</summary>{items}{older}</details>"
_DISCLOSURE = """\
<details><summary>{title}</summary>
<form method="post" action="{action}">{fields}<p>{what}</p>
<button class="button {style}">{button}</button></form></details>"""


def hidden(**values: object) -> Html:
    """Return fields of a form that nobody sees."""
    return join(fill(_HIDDEN, name=name, value=value) for name, value in values.items())


def section(name: str, title: str, *body: Html) -> Html:
    """Return one of the things that stand under one another."""
    return fill(_SECTION, name=name, title=title, body=join(body))


def tag(*, opt_out: bool) -> Html:
    """Return whether people may listen to a request."""
    return fill(_TAG, style="closed" if opt_out else "open", says="opted out" if opt_out else "reviewable")


def disclosure(title: str, what: str, button: str, *, action: str, fields: Html, danger: bool = False) -> Html:
    """Return a form that is seen only by who opens it, with what it does."""
    style = "danger" if danger else ""
    return fill(_DISCLOSURE, title=title, what=what, button=button, action=action, fields=fields, style=style)


def listed(items: Sequence[Html], many: int, *, at_once: int) -> Html:
    """Return a list, of which the rest is seen only by who opens it.

    Args:
        items: what is shown, newest first.
        many: how many there are.
        at_once: how many stand there before the rest.
    """
    parts = [fill(_LIST, items=join(items[:at_once]))] if items[:at_once] else []
    if rest := items[at_once:]:
        older = fill('<p class="quiet">And {many} older.</p>', many=many - len(items)) if many > len(items) else NOTHING
        title = f"Show {len(rest)} more" if at_once else "Show the newest"
        parts.append(fill(_REST, title=title, items=fill(_LIST, items=join(rest)), older=older))
    return join(parts)
