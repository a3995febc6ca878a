"""One daemon for one state folder."""

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


@pytest.fixture
def other_daemon(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    with process:
        yield process
        process.kill()


def test_a_second_daemon_is_refused_with_the_first_ones_process_id(tmp_path, other_daemon):
    with pytest.raises(RecorderError, match=str(other_daemon.pid)):
        DaemonLock(tmp_path).take(0)


def test_a_command_finds_the_running_daemon(tmp_path, other_daemon):
    assert DaemonLock(tmp_path).holder() == other_daemon.pid


def test_a_killed_daemon_leaves_no_lock(tmp_path, other_daemon):
    other_daemon.kill()
    other_daemon.wait()
    lock = DaemonLock(tmp_path)
    assert lock.holder() is None
    lock.take(0)
    assert DaemonLock(tmp_path).holder() == os.getpid()
    lock.release()
    assert DaemonLock(tmp_path).holder() is None


def test_no_daemon_ever_ran(tmp_path):
    assert DaemonLock(tmp_path).holder() is None
