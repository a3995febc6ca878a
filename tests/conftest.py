"""What all tests share: the ledger of injected faults, printed as a table at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS = ("fault", "injected", "stored", "lost", "mistagged", "recovery_s")


@pytest.fixture
def ledger(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Note what a test broke and what came of it: ``ledger("kill -9", injected=200, stored=310, lost=0, …)``."""

    def note(fault: str, **counts: float) -> None:
        assert set(counts) <= set(COLUMNS)
        record_property("fault", {"fault": fault, **counts})

    return note


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the ledger: a row for each kind of fault, and the sums."""
    reports = [report for status in ("passed", "failed") for report in terminalreporter.stats.get(status, [])]
    rows = [value for report in reports for name, value in getattr(report, "user_properties", []) if name == "fault"]
    if not rows:
        return
    terminalreporter.section("faults")
    terminalreporter.write_line(
        f"{'fault':44} {'injected':>9} {'stored':>8} {'lost':>5} {'mistagged':>10} {'recovery':>10}"
    )
    total: dict[str, float] = {}
    for row in sorted(rows, key=lambda row: str(row["fault"])):
        terminalreporter.write_line(_line(row))
        for name in COLUMNS[1:]:
            total[name] = (max if name == "recovery_s" else sum)((total.get(name, 0), row.get(name, 0)))
    terminalreporter.write_line(_line({"fault": "all, and the longest recovery", **total}))


def _line(row: dict[str, Any]) -> str:
    recovery = f"{row['recovery_s']:.2f} s" if row.get("recovery_s") else ""
    counts = [
        f"{row[name]:>{width}}" if name in row else " " * width
        for name, width in zip(COLUMNS[1:5], (9, 8, 5, 10), strict=True)
    ]
    return f"{row['fault'][:44]:44} {' '.join(counts)} {recovery:>10}"
