"""HTML in which nothing that is put in can be anything but text, unless it is HTML of ours."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


NOTHING = Html("")


def fill(template: str, **values: object) -> Html:
    """Put values into a template at their ``{names}``: HTML as it is, anything else as text, safe in attributes too.

    Args:
        template: HTML, in which every attribute's value is quoted.
        values: what to put in.
    """
    safe = {name: value if isinstance(value, Html) else escape(str(value)) for name, value in values.items()}
    return Html(template.format_map(safe))


def join(parts: Iterable[Html]) -> Html:
    """Return pieces of HTML one after another."""
    return Html("\n".join(part for part in parts if part))
