"""From nothing to a running program in clean Debian systems, as the README says, and back to nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.debian_root import CHECKOUT, ROOT, USER, DebianRoot, obstacle

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


def block(words):
    """The README's one block of commands that has these words, less the line that would never end."""
    (found,) = [
        block for block in re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL) if words in block
    ]
    return found.replace("journalctl -fu wakeword-recorder\n", "")


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


@pytest.mark.parametrize("suite", SUITES)
def test_installed_updated_and_removed_as_the_readme_says(debian, suite):
    root = debian(suite)
    root.allow_sudo()
    root.install_systemd()
    before = paths(root)

    root.run(block("sudo apt install git python3-venv").replace("wakeword-recorder check\n", ""), user=USER)
    checked = root.run(".venv/bin/wakeword-recorder check", user=USER, status=69)
    assert re.search("^ok +models", checked, re.MULTILINE)
    root.run(block("sudo git clone . /opt/wakeword-recorder"), user=USER)
    assert "audio" in root.run("id -nG wakeword-recorder")
    root.run("sudo wakeword-recorder review opt-out", user=USER)
    assert root.run("stat -c %a /var/lib/wakeword-recorder").strip() == "700"  # its owner changes as the service starts
    assert (root.path / "etc/systemd/system/multi-user.target.wants/wakeword-recorder.service").is_symlink()

    root.run("sed -i 's/^__version__.*/__version__ = \"9.8.7\"/' /srv/upstream/device/__init__.py", user=USER)
    root.run("git -C /srv/upstream -c user.name=x -c user.email=x@y commit -qam next", user=USER)
    root.run("echo '# mine' | sudo tee -a /etc/wakeword-recorder/config.toml", user=USER)
    root.run(block("sudo git -C /opt/wakeword-recorder pull"), user=USER)
    assert "9.8.7" in root.run("wakeword-recorder --version", user=USER)
    assert (root.path / "etc/wakeword-recorder/config.toml").read_text().endswith("# mine\n")
    assert "chosen" in root.run("sudo wakeword-recorder review status", user=USER)

    root.run(block("sudo userdel wakeword-recorder"), user=USER)
    assert paths(root) - before == set()
    assert "wakeword-recorder" not in (root.path / "etc/passwd").read_text()
    verbs = [line.split()[0] for line in (root.path / "var/log/systemctl").read_text().splitlines()]
    installed, updated = ["daemon-reload", "enable"], ["stop", "daemon-reload", "start"]
    assert verbs == [*installed, *updated, "disable", "daemon-reload"]


def paths(root):
    """What lies outside the user's home, has the program's name, and is no package's."""
    found = root.run(
        f"find / -xdev -path /proc -prune -o -path {Path(CHECKOUT).parent} -prune -o -name '*wakeword*' -print"
    )
    return set(found.splitlines())


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
