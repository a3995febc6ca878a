"""Figures with their targets, as rows of a table that fits 80 columns, the ratio first, and as JSON."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WIDTH = 80


class Figure(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing measured.

    Attributes:
        section: what it belongs to.
        name: what was measured; in a comparison, whom the daemon is compared with.
        value: how much it was.
        unit: of what.
        ratio: how many times less the daemon needs; None: no comparison.
        target: as issue and README say it; empty: there is none.
        reached: whether it is; None without a target.
        detail: what else is to be known.
    """

    section: str
    name: str
    value: float
    unit: str
    ratio: float | None = None
    target: str = ""
    reached: bool | None = None
    detail: str = ""


def compared(section: str, name: str, value: float, ours: float, unit: str, least: float | None = None) -> Figure:
    """Return the figure of another program with how many times less the daemon needs; ``least``: the target."""
    ratio = value / ours
    return Figure(
        section=section,
        name=name,
        value=value,
        unit=unit,
        ratio=ratio,
        target=f"{least:g} x" if least else "",
        reached=ratio >= least if least else None,
    )


def limited(section: str, name: str, value: float, unit: str, most: float | None = None, detail: str = "") -> Figure:
    """Return a figure that must stay below ``most``."""
    return Figure(
        section=section,
        name=name,
        value=value,
        unit=unit,
        target=f"< {most:g}" if most else "",
        reached=value < most if most else None,
        detail=detail,
    )


def table(figures: Iterable[Figure]) -> Iterator[str]:
    """Yield the lines of the table."""
    section = ""
    for figure in figures:
        if figure.section != section:
            section = figure.section
            yield ""
            yield section
            yield f"  {'ratio':>6} {'target':>6} {'':11} {'measured':>8}"
        ratio = "" if figure.ratio is None else f"{figure.ratio:.{0 if figure.ratio >= 20 else 1}f} x"
        verdict = {None: "", True: "reached", False: "NOT REACHED"}[figure.reached]
        value = f"{figure.value:.3g}" if abs(figure.value) < 100 else f"{figure.value:.0f}"
        measured = f"  {ratio:>6} {figure.target:>6} {verdict:11} {value:>8} {figure.unit:5} "
        told = textwrap.wrap(f"{figure.name}; {figure.detail}".rstrip("; "), WIDTH - len(measured))
        yield (measured + told[0]).rstrip()
        yield from (" " * len(measured) + line for line in told[1:])


def plain(figures: Iterable[Figure]) -> list[dict[str, Any]]:
    """Return the figures as JSON types."""
    return [msgspec.to_builtins(figure) for figure in figures]
