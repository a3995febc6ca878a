"""The ledger of injected faults, for helpers that several tests share; see ``conftest.py`` for the table it becomes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COLUMNS = ("fault", "injected", "stored", "told", "lost", "mistagged", "recovery_s")
"""``lost`` counts requests that were stored; ``told`` those that never could be, and of which the log says so."""

_open: list[Callable[..., None]] = []


def note(fault: str, **counts: float) -> None:
    """Note for the test that runs what it broke and what came of it; the test uses the fixture ``ledger``."""
    _open[-1](fault, **counts)


@contextlib.contextmanager
def opened(write: Callable[[str, dict[str, float]], None]) -> Iterator[Callable[..., None]]:
    """Let ``note`` write into a test's ledger for the length of a block, and return what does the same."""

    def checked(fault: str, **counts: float) -> None:
        assert set(counts) <= set(COLUMNS)
        write(fault, counts)

    _open.append(checked)
    try:
        yield checked
    finally:
        _open.remove(checked)
