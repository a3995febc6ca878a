"""Opting out and muting work whatever is wrong with the configuration; what loosens asks for a whole one."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.broker import Broker, Listener, await_true
from support.daemon import Daemon, Device
from support.stores import open_store, put

if TYPE_CHECKING:
    from collections.abc import Iterator

FIXTURES = Path(__file__).parent / "fixtures"


def broken(device: Device, old: str, new: str) -> None:
    text = device.config.read_text()
    assert old in text
    device.config.write_text(text.replace(old, new))


@pytest.fixture
def device(tmp_path) -> Device:
    """Somebody opted in, and a request waits."""
    device = Device(tmp_path, review='default = "opted-in"')
    device.env |= {"XDG_STATE_HOME": str(tmp_path / "xdg"), "HOME": str(tmp_path)}
    with open_store(tmp_path / "state") as store:
        put(store)
    assert device.call("review", "opt-in", "--yes").returncode == 0
    return device


MISTAKES = {
    "misspelt key": ("host =", "hots ="),
    "wrong type": ("port = 1", 'port = "one"'),
    "bad value": ('id = "kitchen"', 'id = "the kitchen"'),
    "no such file": ("port = 1", 'port = 1\nusername = "u"\npassword_file = "/nowhere"'),
    "broken TOML": ('host = "127.0.0.1"', 'host = "127.0.0.1'),
    "misspelt state_dir": ("state_dir", "statedir"),
    "unfinished state_dir": ('/state"', "/state"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_no_mistake_keeps_anybody_from_opting_out_or_muting(device, mistake):
    broken(device, *MISTAKES[mistake])
    for arguments, said in ((("review", "opt-out"), "opted out"), (("microphone", "mute"), "muted since")):
        done = device.call(*arguments)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
        first, *_, last = done.stderr.splitlines()
        assert first.startswith(f"warning: {device.config}: ")
        assert last.startswith(f"warning: this was done all the same, in {device.folder / 'state'}")
    with open_store(device.folder / "state") as store:
        assert store.review().opt_out
        assert [each.review.choice for each in store.waiting()] == ["user"]
        assert all(each.review.opt_out for each in store.waiting())
        assert store.muted().muted
    for loosening in (("review", "opt-in", "--yes"), ("microphone", "unmute")):
        refused = device.call(*loosening)
        assert refused.returncode == 78
        assert refused.stderr.startswith(f"error: {device.config}: ")
    with open_store(device.folder / "state") as store:
        assert store.review().opt_out
        assert store.muted().muted


def test_an_unreadable_file_leaves_the_folder_that_is_used_where_none_is_named(device):
    broken(device, f'state_dir = "{device.folder / "state"}"\n', "")
    assert device.call("review", "opt-in", "--yes").returncode == 0
    device.config.unlink()
    device.config.mkdir()
    done = device.call("review", "opt-out")
    assert done.returncode == 0, done.stderr
    assert "Is a directory" in done.stderr
    with open_store(device.folder / "xdg/wakeword-recorder") as store:
        assert store.review().opt_out


def test_nothing_is_changed_and_said_to_be_where_nobody_knows_the_folder(device):
    device.config.unlink()
    for arguments in (("review", "opt-out"), ("microphone", "mute")):
        done = device.call(*arguments)
        assert done.returncode == 78
        assert done.stdout == ""
        assert "nothing was changed" in done.stderr
    assert not (device.folder / "xdg").exists()


def test_every_folder_that_may_be_meant_and_holds_a_state_is_tightened(device):
    other = device.folder / "xdg/wakeword-recorder"
    with open_store(other) as store:
        store.choose(False)
    broken(device, "state_dir", "statedir")
    done = device.call("review", "opt-out", "--log-format", "json")
    assert done.returncode == 0
    warnings = [json.loads(line) for line in done.stderr.splitlines()]
    assert {warning["level"] for warning in warnings} == {"warning"}
    for folder in (device.folder / "state", other):
        assert any(f"in {folder}, " in warning["message"] for warning in warnings)
        with open_store(folder) as store:
            assert store.review().opt_out


def test_a_folder_that_could_not_be_tightened_is_a_failure_although_another_was(device):
    other = device.folder / "xdg/wakeword-recorder"
    with open_store(other) as store:
        store.choose(False)
    (other / "somebody's file").touch()
    other.chmod(0o755)  # a folder of others is refused
    broken(device, "state_dir", "statedir")
    done = device.call("review", "opt-out")
    assert done.returncode == 78
    assert f"this was done all the same, in {device.folder / 'state'}" in done.stderr
    assert "error: state folder" in done.stderr


def test_the_running_daemon_sees_it_at_once_and_sends_nothing_reviewable_from_then_on(tmp_path):
    with Broker(tmp_path) as broker, Listener(broker.port, "wakeword/kitchen/#") as listener:
        device = Device(tmp_path, broker.port, review='default = "opted-in"')
        recording = FIXTURES / "hey-jarvis-request.wav"
        with Daemon(
            device, "--input", FIXTURES / "near-misses.wav", "--input", recording, "--pace", "realtime"
        ) as daemon:
            daemon.wait_for("started")
            await_true(lambda: json.loads(listener.next("/review").payload)["opt_out"] is False)
            broken(device, "host =", "hots =")
            assert device.call("review", "opt-out").returncode == 0
            assert json.loads(listener.next("/review", timeout_s=1.0).payload)["opt_out"] is True
            assert listener.next("/request/opted-out", timeout_s=60).payload
            assert daemon.end() == 0
        assert [heard.topic for heard in listener.pending() if "reviewable" in heard.topic] == []


# Another user's


@pytest.fixture
def service() -> Iterator[Path]:
    """What an installed service looks like: its configuration and its state, which only its user may enter."""
    if os.geteuid() != 0:
        pytest.skip("only root may act as two users")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        (root / "config.toml").write_text('[mqtt]\nport = 1\nusername = "u"\npassword_file = "secrets/password"\n')
        (root / "secrets").mkdir(mode=0o700)
        (root / "secrets/password").write_text("p\n")
        with open_store(root / "state") as store:
            store.choose(False)
        owner = pwd.getpwnam("daemon")
        for path in (root / "state", *(root / "state").iterdir()):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        yield root


def call(service: Path, *arguments: str, user: str = "nobody") -> subprocess.CompletedProcess[str]:
    """Run a command as somebody, where the service is installed in that folder.

    The interpreter may lie in root's home: everything is imported before the child becomes that user.
    """
    account = pwd.getpwnam(user)
    code = f"""
import codecs, importlib, os, pkgutil, pwd, sys, traceback
from pathlib import Path
import device
for module in pkgutil.walk_packages(device.__path__, "device."):
    if not module.name.startswith("device.tools.plot"):
        importlib.import_module(module.name)
for encoding in ("ascii", "idna", "latin-1", "utf-8-sig", "utf-16"):
    codecs.lookup(encoding)
from device import __main__
from device.config import settings as config
config.SYSTEM_PATH, config.SYSTEM_STATE = Path("{service}/config.toml"), Path("{service}/state")
os.setgroups([])
os.setgid({account.pw_gid})
os.setuid({account.pw_uid})
__main__.main(sys.argv[1:])
"""
    env = {"PATH": os.environ["PATH"], "HOME": str(service), "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, check=False, timeout=60)


COMMANDS = [
    ("review", "status"),
    ("review", "opt-out"),
    ("review", "opt-in", "--yes"),
    ("microphone", "status"),
    ("microphone", "mute"),
    ("microphone", "unmute"),
    ("outbox", "list"),
    ("outbox", "send"),
    ("check",),
    ("meter",),
    ("run",),
    ("receive", "--count", "1"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("hidden", ["the secrets", "the configuration", "only the state"])
def test_without_sudo_every_command_says_that_this_is_the_service_s(service, arguments, hidden):
    if hidden == "the configuration":
        (service / "config.toml").chmod(0o600)
    elif hidden == "only the state":
        if arguments[0] in ("receive", "meter"):
            pytest.skip("it needs no state, or the models before it")
        (service / "secrets").chmod(0o755)
    done = call(service, *arguments)
    assert done.returncode == 78, done.stdout + done.stderr
    assert "this is the service's: use sudo" in done.stdout + done.stderr
    assert "choose another" not in done.stderr
    with open_store(service / "state") as store:
        assert not store.review().opt_out
        assert not store.muted().muted


def test_with_sudo_they_act_on_the_service_and_leave_its_files_to_its_user(service):
    assert call(service, "review", "opt-out", user="root").returncode == 0
    assert call(service, "microphone", "mute", user="root").returncode == 0
    (service / "config.toml").write_text("[mqtt\n")
    assert call(service, "review", "opt-out", user="root").returncode == 0
    owner = pwd.getpwnam("daemon").pw_uid
    assert {path.stat().st_uid for path in (service / "state").iterdir()} == {owner}
    with open_store(service / "state") as store:
        assert store.review().opt_out


def test_another_user_s_folder_is_said_to_be_that_user_s(service):
    (service / "own.toml").write_text(f'[device]\nstate_dir = "{service / "other"}"\n')
    (service / "state").rename(service / "other")
    done = call(service, "review", "status", "--config", str(service / "own.toml"))
    assert done.returncode == 78
    assert "it belongs to daemon: use sudo" in done.stderr
