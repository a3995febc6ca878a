"""What all tests share: no deadline for an example, and the ledger of injected faults, a table at the end."""

from __future__ import annotations

import json
import os
import tempfile
from collections import defaultdict

# As the program does it, before anything imports numpy: OpenBLAS's threads wait by spinning, and three test files at a
# time make them wait for one another (measured: 16 s instead of 0.1 s for a recording of 8 s).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from support.ledger import COLUMNS, opened

from device.edges.state_disk import memory_behind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Else an example that takes 0.2 s, as any may on a busy machine, fails its test.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_configure() -> None:
    """Keep the tests' folders on a disk: what the program says of a state folder in memory is for tests of its own."""
    if memory_behind(Path(tempfile.gettempdir())):
        os.environ["TMPDIR"] = "/var/tmp"  # noqa: S108 - kept over a reboot by the standard
        tempfile.tempdir = None


@pytest.hookimpl(trylast=True)  # once those that do not run are gone
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put those files first whose tests may take longest, so that none is still at work when all others are done."""
    longest_s: dict[Path, float] = defaultdict(float)
    for item in items:
        limit = item.get_closest_marker("timeout")
        longest_s[item.path] = max(longest_s[item.path], limit.args[0] if limit and limit.args else 0.0)
    items.sort(key=lambda item: -longest_s[item.path])


WIDTHS = {"fault": 46, "injected": 9, "stored": 8, "told": 5, "lost": 5, "mistagged": 10, "recovery_s": 11}


@pytest.fixture
def ledger(record_property: Callable[[str, object], None]) -> Iterator[Callable[..., None]]:
    """Note what a test broke and what came of it: ``ledger("kill -9", injected=200, stored=310, lost=0, …)``."""
    with opened(lambda fault, counts: record_property("fault", {"fault": fault, **counts})) as note:
        yield note


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the ledger: a row for each kind of fault, and the sums."""
    reports = [report for status in ("passed", "failed") for report in terminalreporter.stats.get(status, [])]
    noted = [value for report in reports for name, value in getattr(report, "user_properties", []) if name == "fault"]
    noted = _with_earlier(noted)
    if not noted:
        return
    rows: dict[str, dict[str, Any]] = {}
    for one in noted:
        _add(rows.setdefault(one["fault"], {}), one)
    total: dict[str, Any] = dict.fromkeys(COLUMNS[1:], 0)
    for row in rows.values():
        _add(total, row)
    terminalreporter.section("faults")
    terminalreporter.write_line("told: never stored, since the disk took nothing, and the log says so")
    heads = {name: name.removesuffix("_s") for name in COLUMNS}
    for row in (heads, *(rows[fault] for fault in sorted(rows)), total | {"fault": "all, and the longest recovery"}):
        terminalreporter.write_line(_line(row))


def _with_earlier(noted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return also what the run before this one noted, where `scripts/test` makes two; keep all of it for the next."""
    if path := os.environ.get("FAULTS"):
        kept = Path(path).read_text()
        noted = [*(json.loads(kept) if kept else []), *noted]
        Path(path).write_text(json.dumps(noted))
    return noted


def _add(row: dict[str, Any], one: dict[str, Any]) -> None:
    """Add what was noted once more of the same fault: counts as sums, the longest recovery."""
    for name, value in one.items():
        if name == "fault":
            row[name] = value
        else:
            row[name] = (max if name == "recovery_s" else sum)((row.get(name, 0), value))


def _line(row: dict[str, Any]) -> str:
    cells = []
    for name, width in WIDTHS.items():
        value = row.get(name, "")
        text = f"{value:.2f} s" if isinstance(value, float) else str(value)
        cells.append(f"{text[:width]:{width}}" if name == "fault" else f"{text:>{width}}")
    return " ".join(cells)
