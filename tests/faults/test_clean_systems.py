"""From nothing to a running program in clean Debian systems; `test_install_clean.py` has the service."""

from __future__ import annotations

import re

import pytest
from support.debian_root import USER, DebianRoot, obstacle

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(obstacle()), reason=obstacle()),
]
SUITES = ["bookworm", "trixie"]  # what Raspberry Pi OS is made of
LEAN_MB = 250


@pytest.fixture
def debian(tmp_path):
    made = []

    def make(suite, architecture="amd64"):
        made.append(DebianRoot(tmp_path, suite, architecture))
        return made[-1]

    yield make
    for root in made:
        root.close()


@pytest.mark.parametrize("suite", SUITES)
def test_a_user_without_sudo_is_told_what_is_missing_and_has_the_demo_once_it_is_there(debian, suite):
    root = debian(suite)
    root.run("apt-get update -qq && apt-get install -qq python3")
    missing = "scripts/setup: missing Debian packages; as root: apt-get install python3-venv"
    assert root.run("scripts/demo", user=USER, status=1) == missing + "\n"
    assert root.run("scripts/setup", user=USER, status=1) == missing + " libportaudio2\n"
    root.attempt("python3 -m venv .venv", user=USER)  # half of one
    assert root.run("scripts/demo", user=USER, status=1) == missing + "\n"
    root.run("apt-get install -qq python3-venv")
    said = root.run("scripts/demo", user=USER)
    assert "is not whole" in said
    assert "WARNING" not in said
    assert re.search(rf"\nThe request: /home/{USER}/\.cache/wakeword-recorder/demo/\S+\.wav\n$", said)
    assert "libportaudio2" in root.run("scripts/setup", user=USER)
    assert root.run("scripts/demo | tail -n 1", user=USER).count("is not whole") == 0


@pytest.mark.parametrize("suite", SUITES)
def test_root_has_everything_by_one_command_in_less_than_250_mb(debian, suite):
    root = debian(suite)
    root.run("scripts/setup")
    assert "no input device" in root.run(".venv/bin/wakeword-recorder devices", status=0)
    packages = root.run(".venv/bin/python -m pip list").lower()
    assert "openwakeword" in packages
    assert "scipy" not in packages
    assert "scikit-learn" not in packages
    assert int(root.run("du -sm .venv").split()[0]) < LEAN_MB
    assert root.run("scripts/setup") == ""


def test_a_32_bit_system_is_refused_in_one_line_before_anything_is_downloaded(debian):
    root = debian("bookworm", "i386")
    assert root.run("scripts/setup", status=1) == "scripts/setup: this is a 32-bit system; a 64-bit one is needed\n"
    root.run("apt-get update -qq && apt-get install -qq python3-venv")
    said = root.run("scripts/setup", user=USER, status=1)
    assert "this is a 32-bit system, whatever its kernel" in said
    assert said.count("\n") == 1
    said = root.run("python3 -m venv /tmp/v && /tmp/v/bin/pip install .", user=USER, status=1)
    assert "this is a 32-bit system, whatever its kernel" in said
    assert "numpy" not in said
