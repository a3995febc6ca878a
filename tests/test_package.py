"""The source distribution and the wheel hold all that they need; CI installs both and runs their demo."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from device import __version__

ROOT = Path(__file__).parents[1]
LEFT_OUT = ("tests/", "training/", ".ci/", ".git")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_both_are_built_and_whole(tmp_path):
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in listed:
        (tmp_path / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "checkout" / name, follow_symlinks=False)
    # In an environment of its own: with this one, scripts/setup would install that checkout in the place of this.
    env = {name: value for name, value in os.environ.items() if name != "VENV"}
    done = subprocess.run(
        ["scripts/package"], cwd=tmp_path / "checkout", env=env, capture_output=True, text=True, check=True
    )
    wheel, source = f"wakeword_recorder-{__version__}-py3-none-any.whl", f"wakeword_recorder-{__version__}.tar.gz"
    assert done.stdout.split()[-2:] == [wheel, source]

    with zipfile.ZipFile(tmp_path / "checkout" / "dist" / wheel) as file:
        names = set(file.namelist())
        assert {name for name in listed if name.startswith("device/") and not name.endswith(".md")} <= names
        assert file.read("device/resources/config.toml") == (ROOT / "config" / "config.toml").read_bytes()
    with tarfile.open(tmp_path / "checkout" / "dist" / source) as file:
        file.extractall(tmp_path, filter="data")
    unpacked = tmp_path / f"wakeword_recorder-{__version__}"
    there = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*")}
    assert {name for name in listed if not name.startswith(LEFT_OUT)} <= there
    assert (
        "Installs wakeword-recorder"
        in subprocess.run(
            [unpacked / "scripts" / "install", "--help"], capture_output=True, text=True, check=True
        ).stdout
    )
