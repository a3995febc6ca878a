"""Calls the bench's short form through the virtual pair, and makes folders of recordings for it (`test_hil`)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from device.hil.virtual import missing_programs

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
COMMAND = (sys.executable, "-P", "-m", "device.hil")
LOADED = ("--volume", "0", "--delay", "8")  # other tests run meanwhile: how soon a request arrives says nothing here

pairs = pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {' '.join(missing_programs())}")


def hil(*arguments: object, status: int, timeout_s: float = 100) -> str:
    """Run scripts/hil's program and return what it prints; the status must be the expected one."""
    command = [*COMMAND, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def folder_of(tmp_path: Path, *names: str) -> Path:
    """Copy fixtures, each with its sidecar, into a folder of their own."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in names:
        for ending in (".wav", ".json"):
            shutil.copy(FIXTURES / (name + ending), folder)
    return folder
