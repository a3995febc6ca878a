"""One daemon for one state folder, and looking whether it runs takes nothing and harms nobody."""

import os
import subprocess
import sys

import pytest

from device.edges.lock import DaemonLock
from device.errors import RecorderError

HOLD = """
import sys; from pathlib import Path; from device.edges.lock import DaemonLock
lock = DaemonLock(Path(sys.argv[1])); lock.take(0); print("held", flush=True); sys.stdin.read()
"""
LOOK = """
import sys; from pathlib import Path; from device.edges.lock import DaemonLock
lock = DaemonLock(Path(sys.argv[1]))
print("ready", flush=True); sys.stdin.readline()
print([found for _ in range(20_000) if (found := lock.holder())])
"""


def started(script, folder):
    return subprocess.Popen(
        [sys.executable, "-c", script, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def other_daemon(tmp_path):
    process = started(HOLD, tmp_path)
    assert process.stdout.readline() == "held\n"
    with process:
        yield process
        process.kill()


def test_a_second_daemon_is_refused_with_the_first_ones_process_id(tmp_path, other_daemon):
    with pytest.raises(RecorderError, match=str(other_daemon.pid)):
        DaemonLock(tmp_path).take(0)


def test_a_command_finds_the_running_daemon(tmp_path, other_daemon):
    assert DaemonLock(tmp_path).holder() == f"process {other_daemon.pid}"


def test_a_killed_daemon_leaves_no_lock(tmp_path, other_daemon):
    other_daemon.kill()
    other_daemon.wait()
    lock = DaemonLock(tmp_path)
    assert lock.holder() is None
    lock.take(0)
    assert DaemonLock(tmp_path).holder() == f"process {os.getpid()}"
    lock.release()
    assert DaemonLock(tmp_path).holder() is None


def test_no_daemon_ever_ran(tmp_path):
    assert DaemonLock(tmp_path).holder() is None


def test_looking_does_not_let_go_of_the_lock_nor_take_it(tmp_path):
    lock = DaemonLock(tmp_path)
    lock.take(0)
    for _ in range(3):
        assert lock.holder() == DaemonLock(tmp_path).holder() == f"process {os.getpid()}"
    lock.release()
    DaemonLock(tmp_path).take(0)


@pytest.mark.parametrize("written", ["", "99999999\n", "-1", "rubbish", "\0\0"])
def test_whatever_the_file_says_it_is_no_daemon_unless_the_lock_is_held(tmp_path, written):
    (tmp_path / "daemon.lock").write_text(written)
    assert DaemonLock(tmp_path).holder() is None


@pytest.mark.parametrize("written", ["", "1 2", "-1", "rubbish", "\udcff"])
def test_a_daemon_whose_number_cannot_be_read_is_told_of_without_one(tmp_path, other_daemon, written):
    (tmp_path / "daemon.lock").write_text(written, errors="surrogateescape")
    assert DaemonLock(tmp_path).holder() == "a process that is just starting"


def test_those_who_look_at_once_never_take_each_other_for_the_daemon(tmp_path):
    (tmp_path / "daemon.lock").write_text("4711")
    looking = [started(LOOK, tmp_path) for _ in range(3)]
    for process in looking:
        assert process.stdout.readline() == "ready\n"
    assert [process.communicate("go\n", timeout=120)[0] for process in looking] == ["[]\n"] * 3
