"""A program of somebody else's: bounded in time and in what it writes, whatever it does."""

import gc
import os
import time

import pytest
from support.broker import await_true

from device.edges import program


def run(*command, told=b"", timeout_s=5.0, **options):
    return program.run(command, told, folder="/", timeout_s=timeout_s, **options)


def shell(script, **options):
    return run("sh", "-c", script, **options)


def test_it_reads_what_it_is_told_and_its_output_goes_nowhere(tmp_path, capfd):
    told = b'{"event": "wake"}\n' * 20_000  # more than a pipe holds
    assert shell(f"cat > {tmp_path}/told; echo hello", told=told) == ""
    assert (tmp_path / "told").read_bytes() == told
    assert capfd.readouterr().out == ""


def test_one_that_reads_nothing_of_a_megabyte_is_done_at_once():
    began_s = time.monotonic()
    assert run("true", told=bytes(1_000_000)) == ""
    assert time.monotonic() - began_s < 2


def test_its_arguments_meet_no_shell(tmp_path):
    assert run("touch", f"{tmp_path}/$(echo injected); true") == ""
    assert [path.name for path in tmp_path.iterdir()] == ["$(echo injected); true"]


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("exit 3", "ended with status 3"),
        ("echo one >&2; echo 'card is \033[31m busy' >&2; exit 1", "ended with status 1: card is [31m busy"),
        ("kill -SEGV $$", "was ended by SIGSEGV"),
        ("yes >&2", "wrote over 65536 bytes to standard error; ended"),
        ("head -c 60000 /dev/zero >&2; exit 2", "ended with status 2"),
    ],
)
def test_what_went_wrong_is_one_line(script, problem):
    assert shell(script) == problem


def test_one_that_is_missing_or_none_is_said(tmp_path):
    text = tmp_path / "text"
    text.write_text("no program")
    assert run("no-such-program") == "no-such-program: no such program"
    assert run(str(text)) == f"{text}: permission denied"
    text.chmod(0o755)
    assert run(str(text)) == f"{text}: exec format error"
    gone = program.run(["true"], b"", folder=str(tmp_path / "gone"), timeout_s=1)
    assert gone == f"{tmp_path / 'gone'}: no such file or directory"


def is_running(pid):
    try:
        return "Z" not in open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0]  # noqa: PTH123
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("script", ["sleep 60 & echo $! > {}; wait", "sleep 60 >&- 2>&- & echo $! > {}"])
def test_what_hangs_or_is_left_behind_is_ended_with_all_that_it_started(tmp_path, script):
    began_s = time.monotonic()
    problem = shell(script.format(tmp_path / "child"), timeout_s=0.5)
    assert problem == ("not done within 0.5 s; ended" if "wait" in script else "")
    assert time.monotonic() - began_s < 3
    child = int((tmp_path / "child").read_text())
    await_true(lambda: not is_running(child), "its child is gone")


def test_it_is_ended_when_nobody_waits_for_it_any_more():
    began_s = time.monotonic()
    assert shell("sleep 60", timeout_s=60, given_up=lambda: True) == "not done when the recorder stopped; ended"
    assert time.monotonic() - began_s < 3


def test_it_gets_nothing_that_is_the_services_own(tmp_path, monkeypatch):
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY"):
        monkeypatch.setenv(name, "/secret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    assert shell(f"env > {tmp_path}/env") == ""
    assert "/secret" not in (tmp_path / "env").read_text()
    assert "LANG=C.UTF-8" in (tmp_path / "env").read_text()


def test_no_descriptor_is_left_open():
    gc.collect()  # what other tests left is none of this one's
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for script in ("true", "exit 1", "yes >&2"):
        shell(script)
    run("no-such-program")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
