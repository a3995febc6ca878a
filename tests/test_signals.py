"""Signals that ask the program to end: no traceback at any moment, and what is under way ends in order."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.broker import Broker
from support.daemon import PROGRAM, Device

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "tests" / "fixtures"
REQUEST = FIXTURES / "hey-jarvis-request.wav"
LONG = FIXTURES / "both-words.wav"
MOMENTS = 12
PATIENCE_S = 30

COMMANDS = [
    ("--version",),
    ("run", "--input", REQUEST),
    ("demo",),
    ("check",),
    ("devices",),
    ("meter", "--input", REQUEST),
    ("wake", "list"),
    ("explain", REQUEST),
    ("review", "status"),
    ("microphone", "status"),
    ("outbox", "list"),
    ("outbox", "send", "--timeout", 1),
    ("receive", "--timeout", 1),
]


def interrupted_after(moment_s, command, env):
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, env=env, stdin=null, stdout=null, stderr=pipe, text=True) as process:
        time.sleep(moment_s)  # the moment is what varies
        process.send_signal(signal.SIGINT)
        complaint = process.communicate(timeout=PATIENCE_S)[1]
    return process.returncode, complaint


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(map(str, arguments[:2])))
def test_whenever_ctrl_c_comes_there_is_no_traceback(tmp_path, arguments):
    device = Device(tmp_path)
    command = device.command(*arguments) if arguments[0] not in ("demo", "--version") else [PROGRAM, *arguments]
    began_s = time.monotonic()
    subprocess.run([PROGRAM, "--help"], capture_output=True, check=True)
    usual_s = 2 * (time.monotonic() - began_s)  # Python's start, and what a command imports by itself
    moments_s = [usual_s * number / MOMENTS for number in range(MOMENTS)]
    with ThreadPoolExecutor(3) as pool:
        ends = list(pool.map(lambda moment_s: interrupted_after(moment_s, command, device.env), moments_s))
    for status, complaint in ends:
        assert not re.search("Traceback|Interrupt|Exception|Fatal", complaint), complaint
        assert status in (0, -signal.SIGINT, 128 + signal.SIGINT, 69, 78)


def test_python_starts_with_ctrl_c_blocked(tmp_path):
    """Before the first line of the program: what Python imports by itself would end with a traceback."""
    shutil.copy(PROGRAM, tmp_path)
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\nimport sys; print(open('/proc/self/status').read(), sys.argv[1:])")
    python.chmod(0o755)
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "a link"  # as in /usr/local/bin
    link.symlink_to(tmp_path / PROGRAM.name)
    said = subprocess.run([link, "run", "--input", "x y"], capture_output=True, text=True, check=True).stdout
    assert int(re.search(r"SigBlk:\s*(\w+)", said)[1], 16) & 1 << signal.SIGINT - 1
    assert said.endswith(" ['-P', '-m', 'device', 'run', '--input', 'x y']\n")


def test_the_process_has_the_programs_name_and_takes_nothing_of_the_folder_it_is_started_in(tmp_path):
    (tmp_path / "device.py").write_text("raise SystemExit('not this one')")
    (tmp_path / "click.py").write_text("raise SystemExit('not this one')")
    command = Device(tmp_path).command("review", "opt-in", "--log-format", "json")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert "Opt in?" in process.stderr.readline()
        assert Path(f"/proc/{process.pid}/comm").read_text() == "wakeword-record\n"
        process.kill()


@pytest.mark.parametrize("body", ["import interrupted", "import json, interrupted", "__import__('interrupted')"])
def test_while_a_module_is_imported_the_program_ends_at_once(tmp_path, body):
    """An exception there comes out of C code as an ImportError, or is swallowed."""
    (tmp_path / "interrupted.py").write_text(
        "import signal\ntry: signal.raise_signal(signal.SIGINT)\nexcept BaseException: pass\nprint('went on')\n"
    )
    program = f"from device import signals\nwith signals.interruptible():\n    {body}\n"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_destructor_neither_swallows_a_signal_nor_complains():
    program = (
        "import signal\nfrom device import signals\n"
        "class HalfMade:\n"
        "    def __init__(self): signal.raise_signal(signal.SIGTERM); self.whole = True\n"
        "    def __del__(self): self.whole\n"
        "class Destroyed:\n"
        "    def __del__(self): signal.raise_signal(signal.SIGTERM)\n"
        "try:\n"
        "    with signals.interruptible(): HalfMade()\n"
        "except signals.Interrupted: print('unwound', flush=True)\n"
        "with signals.interruptible(): Destroyed()\n"
        "print('swallowed')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, "unwound\n", "")


def test_what_is_held_is_done_as_a_whole_and_then_the_signal_counts():
    program = (
        "import signal\nfrom device import signals\n"
        "try:\n"
        "    with signals.interruptible():\n"
        "        with signals.held():\n"
        "            signal.raise_signal(signal.SIGTERM)\n"
        "            print('whole')\n"
        "        print('too far')\n"
        "except signals.Interrupted as interrupted: print(interrupted.exit_status)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "whole\n143\n"


def started(command, env, **options):
    """A command with its log as JSON, in text mode."""
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, **options)


def wait_for(process, event):
    for line in process.stderr:
        if json.loads(line).get("event") == event:
            return
    raise AssertionError(f"ended with {process.wait()} before {event!r}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_demo_takes_its_processes_with_it_and_leaves_no_temporary_folder(tmp_path, number):
    env = os.environ | {"TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with started([PROGRAM, "demo", "--log-format", "json"], env, stdout=subprocess.DEVNULL) as process:
        wait_for(process, "started")  # now there are a broker, a subscriber and a daemon
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 128 + number
        assert "Traceback" not in process.stderr.read()
    assert len(children) == 2
    assert [pid for pid in children if Path("/proc", pid).exists()] == []
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_stop_that_comes_while_the_main_thread_holds_its_lock_is_not_waited_for_for_ever():
    """As it holds an event's for a moment whenever it waits for that: on a busy machine some signals come just then."""
    program = """
import signal, threading
from device import signals
lock, stopped = threading.Lock(), threading.Event()
def stop():
    with lock:
        stopped.set()
signals.stop_in_order(stop)
with lock:
    signal.raise_signal(signal.SIGTERM)
assert stopped.wait(20)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=PATIENCE_S)


@pytest.mark.parametrize("arguments", [("run", "--input", LONG), ("receive",)], ids=lambda arguments: arguments[0])
def test_a_terminal_that_breaks_off_ends_in_order_too(tmp_path, arguments):
    """As when an SSH session does: SIGHUP comes, and nothing can be written there any more."""
    with Broker(tmp_path) as broker:
        device = Device(tmp_path, broker.port)
        pid, leader = pty.fork()
        if pid == 0:
            os.execve(PROGRAM, device.command(*arguments), device.env)  # noqa: S606
        seen = b""
        while not re.search(rb"broker connected|waiting for requests", seen):
            seen += os.read(leader, 4096)
        os.close(leader)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert "Received DISCONNECT from" in broker.log.read_text()


def test_what_nohup_started_outlives_its_terminal(tmp_path):
    command = ["nohup", *Device(tmp_path).command("run", "--input", LONG, "--log-format", "json")]
    with started(command, None, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        wait_for(process, "started")
        process.send_signal(signal.SIGHUP)
        wait_for(process, "wake")
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
