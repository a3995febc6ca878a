"""Runs a program under the restrictions of a systemd unit, as far as a machine without systemd allows.

Read from the unit itself: its system call filter and error number, address families, environment; no new rights; as
root also no capabilities, no network of its own where the unit has none and, where it may mount, a file system that is
read-only but for one folder; where the unit asks for it and the kernel can, no memory that becomes code.
Left out: what needs the manager (IP addresses, device rules) and what would hide the tests' own interpreter (homes).

``python unit_sandbox.py UNIT COMMAND...`` applies the filter and becomes the command; ``sandboxed`` adds the rest.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

PR_SET_NO_NEW_PRIVS = 38
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
ACT_ALLOW = 0x7FFF0000
ACT_ERRNO = 0x00050000
COMPARE_EQUAL = 4

MOUNTS = 'mount --bind "$WRITABLE" "$WRITABLE"; mount -o remount,bind,ro /; exec "$@"'


def sandboxed(unit: Path, command: list[str], writable: Path) -> list[str]:
    """Return the command that runs ``command`` as the unit would, with ``writable`` for its state folder."""
    inner = ["env", *values(unit, "Environment"), sys.executable, str(Path(__file__)), str(unit), *command]
    if os.geteuid() != 0:
        return inner
    alone = ["unshare", "--net"] if "yes" in values(unit, "PrivateNetwork") and not obstacle() else []
    dropped = [*alone, "setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--", *inner]
    return dropped if obstacle() else _mounted(dropped, writable)


def _mounted(command: list[str], writable: Path) -> list[str]:
    space = ["unshare", "--mount", "--propagation=private", "env", f"WRITABLE={writable}"]
    return [*space, "sh", "-ec", MOUNTS, "sh", *command]


@functools.cache
def obstacle() -> str:
    """Return why no file system can be made read-only for a program here, as in many containers; empty if one can."""
    if os.geteuid() != 0:
        return "only root may make a mount namespace"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(_mounted(["true"], Path(folder)), capture_output=True, text=True, check=False)
    return f"this machine does not let root make a mount namespace: {done.stderr.strip()}" if done.returncode else ""


def values(unit: Path, key: str) -> list[str]:
    """Each assignment of ``key`` in the unit, in order."""
    return re.findall(rf"^{key}=(.*)$", unit.read_text(), flags=re.MULTILINE)


def allowed_calls(unit: Path) -> set[str]:
    """The system calls that the unit's SystemCallFilter= lines leave, groups expanded as systemd does."""
    listing = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True).stdout
    groups: dict[str, set[str]] = {}
    for line in listing.splitlines():
        if line.startswith("@"):
            members = groups.setdefault(line.strip(), set())
        elif line.startswith("    ") and not line.strip().startswith("#"):
            members.add(line.strip())

    def calls(name: str) -> set[str]:
        return set().union(*map(calls, groups[name])) if name in groups else {name}

    allowed = calls("@default")
    for value in values(unit, "SystemCallFilter"):
        named = set().union(*map(calls, value.removeprefix("~").split()))
        allowed = allowed - named if value.startswith("~") else allowed | named
    return allowed


class Comparison(ctypes.Structure):
    """One condition on a call's argument: libseccomp's scmp_arg_cmp."""

    _fields_ = [
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("unused", ctypes.c_uint64),
    ]


def restrict(unit: Path) -> None:
    """Apply the unit's filter to this process and whatever it becomes."""
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    number = getattr(errno, values(unit, "SystemCallErrorNumber")[-1])
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(ACT_ERRNO | number)))
    families = [getattr(socket, name) for value in values(unit, "RestrictAddressFamilies") for name in value.split()]
    for name in allowed_calls(unit):
        call = seccomp.seccomp_syscall_resolve_name(name.encode())
        if call < 0:
            continue  # another architecture's
        conditions = [Comparison(0, COMPARE_EQUAL, family, 0) for family in families] if name == "socket" else [None]
        for condition in conditions:
            arguments = [] if condition is None else [condition]
            seccomp.seccomp_rule_add(context, ctypes.c_uint32(ACT_ALLOW), call, len(arguments), *arguments)
    libc = ctypes.CDLL(None, use_errno=True)
    if "yes" in values(unit, "MemoryDenyWriteExecute"):
        libc.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)  # since Linux 6.3
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or seccomp.seccomp_load(context):
        raise OSError("the filter cannot be applied")


if __name__ == "__main__":
    program = shutil.which(sys.argv[2]) or sys.argv[2]
    restrict(Path(sys.argv[1]))
    os.execv(program, sys.argv[2:])  # noqa: S606
