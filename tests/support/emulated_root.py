"""A clean arm64 Debian in a folder, run by Trixie's qemu (older ones crash in onnxruntime); the machine stays as it is.

Its packages are only unpacked: their installation scripts would take minutes under emulation. The kernel is told of the
foreign programs in a user namespace of its own, which ends with each command. As root only, from Linux 6.7 on.
"""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING

from support.debian_root import HANDED_ON, MADE, copy_project, obstacle

if TYPE_CHECKING:
    from pathlib import Path

QEMU = MADE / "qemu" / "usr" / "bin" / "qemu-aarch64"
UNPACKED = "python3,python3-venv,ca-certificates"
ENTER = r"""
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc || exit 77
magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
printf '%s' ":arm64:M::$magic:$mask:$1:F" >/proc/sys/fs/binfmt_misc/register
mount -t proc proc "$0/proc"
mount --rbind /dev "$0/dev"
root=$0
shift
exec chroot "$root" env -i "$@"
"""


def emulation_obstacle() -> str:
    """Return why nothing can be emulated here; empty if it can."""
    if reason := obstacle():
        return reason
    probe = ["unshare", "-Urm", "mount", "-t", "binfmt_misc", "none", "/proc/sys/fs/binfmt_misc"]
    done = subprocess.run(probe, capture_output=True, check=False)
    return "this kernel has no binfmt_misc for a user namespace" if done.returncode else ""


class EmulatedRoot:
    """A system of its own with Python and the project's files in /src."""

    def __init__(self, folder: Path, trixie: Path) -> None:
        """Make it, or copy it if it was made before.

        Args:
            folder: where to put it.
            trixie: an amd64 Trixie, whose apt brings qemu.
        """
        _bring_qemu(trixie)
        self.path = folder / "arm64"
        subprocess.run(["cp", "-a", "--reflink=auto", _made(), self.path], check=True)
        shutil.copy("/etc/resolv.conf", self.path / "etc" / "resolv.conf")
        authorities = os.environ.get("PIP_CERT") or ssl.get_default_verify_paths().cafile
        assert authorities, "no certificate authorities on this machine"
        shutil.copy(authorities, self.path / "etc/ssl/certs/ca-certificates.crt")
        copy_project(self.path / "src")

    def run(self, command: str) -> str:
        """Run a line of shell in /src and return what it printed on both outputs."""
        settings = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "PIP_CERT": "/etc/ssl/certs/ca-certificates.crt",
            **{name: os.environ[name] for name in HANDED_ON if name in os.environ},
        }
        namespace = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child"]
        arguments = [QEMU, *(f"{key}={value}" for key, value in settings.items()), "bash", "-c", f"cd /src; {command}"]
        done = subprocess.run(
            [*namespace, "sh", "-c", ENTER, self.path, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout


def _bring_qemu(trixie: Path) -> None:
    if QEMU.exists():
        return
    command = "cd /tmp && apt-get update -qq && apt-get download -qq qemu-user"
    subprocess.run(["chroot", trixie, "sh", "-c", command], check=True)
    (package,) = (trixie / "tmp").glob("qemu-user_*.deb")
    subprocess.run(["dpkg-deb", "-x", package, MADE / "qemu"], check=True)


def _made() -> Path:
    made = MADE / "trixie-arm64-unpacked"
    if not made.exists():
        half = made.with_suffix(".half")
        shutil.rmtree(half, ignore_errors=True)
        options = ["--foreign", "--arch=arm64", "--variant=minbase", f"--include={UNPACKED}"]
        subprocess.run(["debootstrap", *options, "trixie", half], stdout=subprocess.DEVNULL, check=True)
        for package in (half / "var/cache/apt/archives").glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, half], check=True)
        half.rename(made)
    return made
