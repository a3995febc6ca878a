"""Clean Debian systems in folders, to install into: debootstrap makes each once, every test has a copy of its own.

A program runs there by chroot, with a /proc of its own; nothing of this machine is seen but the network, and nothing
stays mounted. As root only.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
MADE = Path("/var/tmp/wakeword-recorder-tests")  # noqa: S108 - only root may write into this folder
USER = "kim"  # a person without sudo
HOMES = {"root": "/root", USER: f"/home/{USER}"}
CHECKOUT = f"{HOMES[USER]}/wakeword-recorder"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KEPT_BY_SUDO = "EDITOR PIP_CERT PIP_INDEX_URL PIP_EXTRA_INDEX_URL SYSTEMD_OFFLINE http_proxy https_proxy no_proxy"
HANDED_ON = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "http_proxy", "https_proxy", "no_proxy")
# In front of the real one, which does what it can without a running systemd, but refuses to start anything.
SYSTEMCTL = """#!/bin/sh
echo "$*" >>/var/log/systemctl
exec /usr/bin/systemctl $(echo "$*" | sed 's/ --now//')
"""
ENTER = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'


def obstacle() -> str:
    """Return why no such system can be made here; empty if one can."""
    if os.geteuid() != 0:
        return "only root can enter another system's folder"
    return "" if shutil.which("debootstrap") else "not installed: debootstrap"


class DebianRoot:
    """A system of its own with git and no Python, a user, and the project's files as a repository of that user.

    Args:
        folder: where to put it.
        suite: Debian's name for the release.
        architecture: Debian's name for it.
    """

    def __init__(self, folder: Path, suite: str, architecture: str = "amd64") -> None:
        self.path = folder / f"{suite}-{architecture}"
        subprocess.run(["cp", "-a", "--reflink=auto", _made(suite, architecture), self.path], check=True)
        shutil.copy("/etc/resolv.conf", self.path / "etc" / "resolv.conf")
        authorities = os.environ.get("PIP_CERT") or ssl.get_default_verify_paths().cafile
        assert authorities, "no certificate authorities on this machine"
        shutil.copy(authorities, self.path / "authorities.pem")
        (self.path / "etc/apt/apt.conf.d/90tests").write_text('APT::Get::Assume-Yes "true";\n')
        (self.path / "etc/hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()}\n")
        self.run(f"useradd --create-home --shell /bin/bash {USER}")
        _copy_project(self.path / "srv" / "upstream")
        self.run(f"chown -R {USER}: /srv/upstream")
        for what in ("init -q", "add -A", "-c user.name=x -c user.email=x@y commit -qm upstream"):
            self.run(f"git -C /srv/upstream {what}", user=USER)
        self.run(f"git clone -q /srv/upstream {CHECKOUT}", user=USER)

    def run(self, command: str, *, user: str = "root", status: int = 0) -> str:
        """Run a line of shell in the user's checkout, if it is there, and return what it printed on both outputs."""
        done = self.attempt(command, user=user)
        assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def allow_sudo(self) -> None:
        """Let the user do everything by sudo, as on a Raspberry Pi."""
        self.run("apt-get update -qq && apt-get install -qq sudo")
        lines = f'{USER} ALL=(ALL) NOPASSWD: ALL\nDefaults env_keep += "{KEPT_BY_SUDO}"\n'
        (self.path / "etc/sudoers.d/tests").write_text(lines)

    def install_systemd(self) -> None:
        """Install systemd; ``systemctl`` changes files as it would, and is noted in /var/log/systemctl."""
        self.run("apt-get update -qq && apt-get install -qq systemd")
        (self.path / "usr/local/bin/systemctl").write_text(SYSTEMCTL)
        (self.path / "usr/local/bin/systemctl").chmod(0o755)

    def attempt(self, command: str, *, user: str = "root") -> subprocess.CompletedProcess[str]:
        """Run a line of shell there, whatever its status."""
        settings = {
            "PATH": PATH,
            "HOME": HOMES[user],
            "LANG": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "EDITOR": "true",
            "SYSTEMD_OFFLINE": "1",
            "PIP_CERT": "/authorities.pem",
            **{name: os.environ[name] for name in HANDED_ON if name in os.environ},
        }
        line = f"cd {CHECKOUT} 2>/dev/null; set -e; {command}"
        shell = ["runuser", "-u", user, "--", "env", "-i", *(f"{key}={value}" for key, value in settings.items())]
        return self._enter([*shell, "bash", "-c", line])

    def _enter(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        namespace = ["unshare", "--mount", "--propagation=private", "--", "sh", "-c", ENTER, str(self.path)]
        return subprocess.run(
            [*namespace, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path)


def _made(suite: str, architecture: str) -> Path:
    """Return a system as debootstrap makes it; the first time this takes a minute and the network."""
    made = MADE / f"{suite}-{architecture}"
    if not made.exists():
        MADE.mkdir(mode=0o755, exist_ok=True)
        half = made.with_suffix(".half")
        shutil.rmtree(half, ignore_errors=True)
        options = ["--variant=minbase", "--include=ca-certificates,git", f"--arch={architecture}"]
        subprocess.run(["debootstrap", *options, suite, half], stdout=subprocess.DEVNULL, check=True)
        half.rename(made)
    return made


def _copy_project(target: Path) -> None:
    """Copy the files of the work tree, changed ones as they are."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
