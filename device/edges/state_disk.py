"""What the state folder lies on: does it outlive a restart of the machine, and is it private to its owner?"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PROC = Path("/proc/self")
_MEMORY = ("tmpfs", "ramfs", "rootfs", "devtmpfs")
_MEMORY_DEVICE = re.compile(r"/dev/(zram|ram)\d+$")
_LOOP_DEVICE = re.compile(r"/dev/(loop\d+)(?:p\d+)?$")
_DEEPEST = 8  # file systems upon one another
# The kernel's arguments for a root whose changes lie in memory: raspi-config's, today's and that of before 2023, and
# systemd's.
_MEMORY_ROOT = re.compile(
    r"(?:^|\s)(?:overlayroot=\"?tmpfs|boot=overlay\b|systemd\.volatile=(?:yes|1|true|overlay|state))"
)


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of ``/proc/self/mountinfo``."""

    id: int
    point: str
    kind: str
    source: str
    options: Mapping[str, str]


def concerns(folder: Path) -> list[str]:
    """Return what is wrong with the place of the state folder, each with what to do about it; empty if nothing is.

    Args:
        folder: the state folder, which exists.
    """
    found = []
    if memory := memory_behind(folder):
        overlay = "switch the overlay file system off (sudo raspi-config, Performance Options), or mount a disk there"
        found.append(
            f"state folder {folder} lies in memory ({memory}): the next reboot forgets the review choice, the mute and"
            f" what waits; {overlay if 'overlay' in memory else 'name a folder on a disk as [device] state_dir'}"
        )
    if others := open_to_others(folder):
        found.append(
            f"state folder {folder} is open to other users of this machine: its file system does not keep modes"
            f" ({others}); keep it on one that does, such as ext4, or mount this one with umask=077 and"
            f" uid={folder.stat().st_uid}"
        )
    return found


def open_to_others(folder: Path) -> str:
    """Return what in the folder, or the folder itself, others may use, with its mode; empty if nothing."""
    for path in (folder, *sorted(folder.iterdir())):
        try:
            mode = path.lstat().st_mode
        except OSError:  # gone meanwhile
            continue
        if mode & 0o077 and not stat.S_ISLNK(mode):
            return f"{path.name} has mode {stat.S_IMODE(mode):04o}"
    return ""


def memory_behind(folder: Path) -> str:
    """Return which memory what is written to a folder ends in; empty if none, as far as can be seen.

    Of an overlay the upper layer counts. Where that was mounted before the system's root was, it is hidden: then its
    number of files, which for a tmpfs comes from the machine's memory, or the kernel's arguments say.
    """
    try:
        mounts = {mount.id: mount for mount in parse((_PROC / "mountinfo").read_text("utf-8", "surrogateescape"))}
        return _memory_behind(folder, mounts)
    except OSError:  # nobody says what is mounted where
        return ""


def _memory_behind(folder: Path, mounts: Mapping[int, Mount]) -> str:
    path, layer = folder, ""
    mount = _mount_of(path, mounts)
    for _ in range(_DEEPEST):
        if mount is None:
            break
        if mount.kind in _MEMORY or _MEMORY_DEVICE.match(mount.source):
            return f"{layer} on {mount.kind}" if layer else f"{mount.kind} {mount.source}"
        if loop := _LOOP_DEVICE.match(mount.source):
            layer = layer or "an image"
            path = Path((Path("/sys/block") / loop[1] / "loop/backing_file").read_text().rstrip("\n"))
        elif mount.kind == "overlay" and "upperdir" in mount.options:
            layer = layer or "an overlay"
            path = Path(mount.options["upperdir"])
        else:
            break
        above, mount = mount, _mount_of(path, mounts)
        if above.kind == "overlay" and (mount is None or mount.id == above.id):
            return "an overlay on tmpfs" if _hidden_in_memory(folder, above) else ""
    return ""


def parse(mountinfo: str) -> Iterator[Mount]:
    """Yield the mounts of ``/proc/self/mountinfo``."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        number, _, _, _, point, *_ = before.split(" ")
        kind, source, options, *_ = [*after.split(" "), "", ""]
        pairs = (option.partition("=") for option in options.split(","))
        named = {key: _plain(value) for key, _, value in pairs}
        yield Mount(int(number), _plain(point), kind, _plain(source), named)


def _plain(text: str) -> str:
    """Undo the octal escapes of white space, commas and backslashes."""
    return re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), text)


def _mount_of(path: Path, mounts: Mapping[int, Mount]) -> Mount | None:
    """Return the mount that holds a path; None if the path is not there."""
    try:
        file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except PermissionError:
        return _nearest(path, mounts)
    except OSError:
        return None
    try:
        info = (_PROC / "fdinfo" / str(file)).read_text()
    finally:
        os.close(file)
    number = re.search(r"^mnt_id:\s*(\d+)$", info, re.MULTILINE)
    return mounts.get(int(number[1])) if number else None


def _nearest(path: Path, mounts: Mapping[int, Mount]) -> Mount:
    """Return the mount whose point is nearest above a path that one may not enter; the last one mounted there."""
    above = [mount for mount in mounts.values() if path.is_relative_to(mount.point)]
    return max(above, key=lambda mount: (len(mount.point), mount.id))


def _hidden_in_memory(folder: Path, mount: Mount) -> bool:
    disk = os.statvfs(folder)  # an overlay has the numbers of its upper layer
    files = os.sysconf("SC_PHYS_PAGES") // 2  # that a tmpfs may hold by default
    if disk.f_bfree == disk.f_bavail and abs(disk.f_files - files) <= files // 100:
        return True
    contained = Path("/.dockerenv").exists() or Path("/run/.containerenv").exists() or "container" in os.environ
    if mount.point != "/" or contained:
        return False
    return bool(_MEMORY_ROOT.search(Path("/proc/cmdline").read_text(errors="replace")))
