"""What the state folder lies on, on real mounts: those that a Raspberry Pi's overlay makes, and those that are kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.daemon import Daemon, Device
from support.stores import open_store, put

from device.edges import state_disk

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")

# Fields and options as on a Raspberry Pi whose overlay raspi-config switched on, and in a container.
MOUNTINFO = """\
22 1 0:20 / / rw,relatime shared:1 - overlay overlayroot rw,lowerdir=/media/root-ro,upperdir=/media/root-rw/overlay
25 22 179:2 / /media/root-ro ro,relatime shared:2 - ext4 /dev/mmcblk0p2 ro
26 22 0:19 / /media/root-rw rw,relatime shared:3 - tmpfs tmpfs-root rw
27 22 179:1 / /media/a\\040card\\054two rw - vfat /dev/mmcblk0p1 rw,fmask=0022
"""


def test_a_mount_is_read_with_its_options_and_odd_names():
    root, _, _, card = state_disk.parse(MOUNTINFO)
    assert (root.id, root.point, root.kind, root.source) == (22, "/", "overlay", "overlayroot")
    assert root.options["upperdir"] == "/media/root-rw/overlay"
    assert card.point == "/media/a card,two"
    assert card.options == {"rw": "", "fmask": "0022"}


def memory_behind(setup: str, folder: str, tmp_path: Path, inside: str = "") -> str:
    """Say what is behind a folder after mounts that nobody else sees.

    Args:
        setup: shell commands, run in ``tmp_path``.
        folder: a path in it.
        tmp_path: where.
        inside: a folder of ``tmp_path`` that is the root file system of who asks, as after a start from there.
    """
    code = f"from pathlib import Path; from device.edges import state_disk; p = Path({str(tmp_path / folder)!r})\n"
    if inside:
        code = code.replace(str(tmp_path / folder), f"/{folder}")
    code += "p.mkdir(parents=True, exist_ok=True); print('behind: ' + state_disk.memory_behind(p))"
    run = f'PYTHONPATH={ROOT} {sys.executable} -c "{code}"'
    if inside:
        setup += (
            f"\nmount --rbind /proc {inside}/proc; mount --rbind /sys {inside}/sys; mount --rbind /dev {inside}/dev"
        )
        run = f'cd /; PYTHONPATH={ROOT} chroot {tmp_path / inside} {sys.executable} -c "{code}"'
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec", f"{setup}\n{run}"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if "mount:" in done.stderr or "unshare" in done.stderr:
        pytest.skip(f"this machine does not let root mount: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout.rpartition("behind: ")[2].strip()


OVERLAY = (
    "mkdir -p {up} root; {mount} mkdir {up}/data {up}/work;"
    "mount -t overlay overlay -o lowerdir={low},upperdir={up}/data,workdir={up}/work root"
)
ON_TMPFS = "mount -t tmpfs tmpfs {up};"
ON_A_DISK = "truncate -s 40M disk.img; mkfs.ext4 -q {more} disk.img; mount -o loop disk.img {up};"


@as_root
@pytest.mark.parametrize(
    ("setup", "folder", "found"),
    [
        ("mkdir t; mount -t tmpfs tmpfs t", "t/state", "tmpfs tmpfs"),
        ("mkdir t; mount -t ramfs ramfs t", "t/state", "ramfs ramfs"),
        ("mkdir t; mount -t tmpfs tmpfs t; mkdir t/a u; mount --bind t/a u", "u/state", "tmpfs tmpfs"),
        (
            "mkdir low;" + OVERLAY.format(up="ram", mount=ON_TMPFS.format(up="ram"), low="low"),
            "root/state",
            "an overlay on tmpfs",
        ),
        (
            "mkdir low 'r am';" + OVERLAY.format(up="'r am'", mount=ON_TMPFS.format(up="'r am'"), low="low"),
            "root/state",
            "an overlay on tmpfs",
        ),
        (
            "mkdir t u; mount -t tmpfs tmpfs t; truncate -s 40M t/i; mkfs.ext4 -q t/i; mount -o loop t/i u",
            "u/state",
            "an image on tmpfs",
        ),
    ],
    ids=["tmpfs", "ramfs", "bind", "overlay", "overlay with a space", "image"],
)
def test_memory_is_found_behind(tmp_path, setup, folder, found):
    assert memory_behind(setup, folder, tmp_path) == found


@as_root
@pytest.mark.parametrize(
    ("setup", "folder"),
    [
        ("mkdir state", "state"),
        ("truncate -s 40M i; mkdir u; mkfs.ext4 -q i; mount -o loop i u", "u/state"),
        (
            "mkdir low; " + OVERLAY.format(up="disk", mount=ON_A_DISK.format(up="disk", more=""), low="low"),
            "root/state",
        ),
        ("mkdir t u; mount -t tmpfs tmpfs t; mkdir t/x; mount --bind u t/x", "t/x/state"),
    ],
    ids=["disk", "image", "overlay", "disk mounted in memory"],
)
def test_no_memory_is_found_behind_what_is_kept(tmp_path, setup, folder):
    found = memory_behind(setup, folder, tmp_path)
    if found and memory_behind("mkdir here", "here", tmp_path / ".."):
        pytest.skip("the tests' own folder lies in memory")
    assert found == ""


@as_root
def test_a_root_whose_upper_layer_was_mounted_before_it_is_found_in_memory(tmp_path):
    """As raspi-config's overlay was until 2023: neither layer can be seen from the running system."""
    setup = OVERLAY.format(up="ram", mount=ON_TMPFS.format(up="ram"), low="/")
    assert memory_behind(setup, "state", tmp_path, inside="root") == "an overlay on tmpfs"


@as_root
@pytest.mark.parametrize("more", ["", "-m 0"], ids=["with a reserve", "without"])
def test_a_container_whose_layers_lie_on_a_disk_that_cannot_be_seen_is_not(tmp_path, more):
    setup = OVERLAY.format(up="disk", mount=ON_A_DISK.format(up="disk", more=more), low="/")
    assert memory_behind(setup, "state", tmp_path, inside="root") == ""


# What the commands and the daemon make of it


@pytest.fixture
def memory(tmp_path) -> Iterator[Path]:
    """A folder in memory."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    folder = tmp_path / "memory"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine does not let root mount: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=False)


@pytest.fixture
def modeless(tmp_path) -> Iterator[Path]:
    """A folder on a file system that takes a change of mode and does nothing, as exFAT does."""
    if os.geteuid() != 0 or shutil.which("bindfs") is None:
        pytest.skip("bindfs, mounted by root, is the file system without modes")
    (tmp_path / "behind").mkdir()
    folder = tmp_path / "modeless"
    folder.mkdir()
    done = subprocess.run(
        ["bindfs", "--chmod-ignore", "--perms=a+rwX", tmp_path / "behind", folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"this machine does not mount it: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=False)


CHANGES = [("review", "opt-out"), ("review", "opt-in", "--yes"), ("microphone", "mute"), ("microphone", "unmute")]


def warns(device: Device, *said: str) -> None:
    """Each change succeeds with a warning, so does the daemon's start, and ``check`` fails the row."""
    for change in CHANGES:
        done = device.call(*change)
        assert done.returncode == 0
        assert done.stderr.startswith("warning: state folder ")
        assert all(text in done.stderr for text in said)
    rows = [json.loads(line) for line in device.call("check", "--json").stdout.splitlines()]
    (row,) = [row for row in rows if row["name"] == "state folder"]
    assert not row["ok"]
    assert row["status"] == 78
    assert all(text in row["found"] for text in said)
    with Daemon(device, "--input", ROOT / "tests/fixtures/hey-jarvis-request.wav", "--drain-timeout", "0") as daemon:
        event = daemon.wait_for("state-folder")
        assert event["level"] == "warning"
        assert all(text in event["message"] for text in said)
        daemon.end()


def test_a_state_that_a_reboot_forgets_is_warned_of(memory):
    device = Device(memory)
    warns(device, "lies in memory (tmpfs tmpfs): the next reboot forgets", "name a folder on a disk")


def test_a_file_system_that_ignores_modes_is_warned_of(modeless):
    device = Device(modeless)
    warns(device, "is open to other users", "does not keep modes (state has mode 0777)", "umask=077")


def test_what_was_copied_with_open_modes_is_closed_again(tmp_path):
    with open_store(tmp_path) as store:
        store.choose(True)
        put(store)
        store.set_muted(True)
    for file in tmp_path.iterdir():
        file.chmod(0o666)
    assert "mode 0666" in state_disk.open_to_others(tmp_path)
    with open_store(tmp_path):
        assert state_disk.open_to_others(tmp_path) == ""
