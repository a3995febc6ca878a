"""A bench that does not work says so once, before any recording is played; killed, it leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.broker import await_true
from support.hil import COMMAND, LOADED, ROOT, folder_of, pairs


@pairs
@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        (
            "loud room",
            "the room is too loud: -20 dBFS while nothing is played, -35 is the most; make it quiet, or turn",
        ),
        ("muted", 'microphone "Virtual Microphone" does not hear the loudspeaker: it is muted there'),
        (
            "other microphone",
            'does not hear the loudspeaker "Virtual Loudspeaker"; it is heard by "Virtual Microphone"',
        ),
        (
            "unheard",
            'no microphone hears the loudspeaker "Other Loudspeaker": it is muted, turned down or not connected',
        ),
    ],
)
def test_what_is_wrong_with_a_bench_is_said_once_and_before_any_recording(tmp_path, how, complaint):
    folder = folder_of(tmp_path, "short-request", "quiet-room")
    command = [sys.executable, "-m", "support.broken_bench", how, str(folder)]
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100, check=False)
    printed = done.stdout + done.stderr
    assert complaint in printed, printed
    assert "1 failed" in printed
    assert "skipped" in printed
    assert "Traceback" not in printed
    assert done.returncode == 1


@pairs
def test_killed_without_warning_it_leaves_no_process_that_holds_the_microphone(tmp_path):
    folder = folder_of(tmp_path, "short-request")
    command = [*COMMAND, "--virtual", "--format", "16000x1", *LOADED, folder]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as bench:
        started = await_true(lambda: children_of(bench.pid, 3), timeout_s=60)
        bench.kill()
    await_true(lambda: not any(is_running(pid) for pid in started), started, timeout_s=30)


def children_of(pid, least):
    """The processes that it has started, once there are so many: daemon, broker and PulseAudio."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return found if len(found) >= least else None


def is_running(pid):
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()
