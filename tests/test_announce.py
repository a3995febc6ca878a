"""The retained states that commands change are true on the broker also while no daemon runs, or the command says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.broker import Broker, Listener
from support.daemon import Daemon, Device
from support.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

FIXTURES = Path(__file__).parent / "fixtures"
BASE = "wakeword/kitchen"
CHANGES = [("review", "opt-out"), ("review", "opt-in", "--yes"), ("microphone", "mute"), ("microphone", "unmute")]


@pytest.fixture
def broker(tmp_path) -> Iterator[Broker]:
    with Broker(tmp_path) as broker:
        yield broker


def retained(port: int, level: str) -> dict[str, Any]:
    """Return what the broker keeps of a state for who comes later."""
    with Listener(port, f"{BASE}/{level}") as listener:
        heard = listener.next(level)
    assert heard.retain
    state: dict[str, Any] = json.loads(heard.payload)
    return state


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_without_a_daemon_the_command_publishes_the_state_that_it_changed(tmp_path, broker, protocol):
    device = Device(tmp_path, broker.port, review='default = "opted-in"', mqtt=f'protocol = "{protocol}"')
    device.hear(FIXTURES / "near-misses.wav")
    assert retained(broker.port, "review") == {"opt_out": False, "choice": "default", "revision": 0, "changed_at": None}
    for number, (command, opt_out) in enumerate(((("opt-out",), True), (("opt-in", "--yes"), False)), start=1):
        done = device.call("review", *command)
        assert (done.returncode, done.stderr) == (0, "")
        with open_store(tmp_path / "state") as store:
            chosen = store.review()
        assert (chosen.opt_out, chosen.revision) == (opt_out, number)
        assert retained(broker.port, "review") == {
            "opt_out": opt_out, "choice": "user", "revision": number, "changed_at": chosen.changed_at,
        }  # fmt: skip
    for command, state in (("mute", "muted"), ("unmute", "listening")):
        assert device.call("microphone", command).stderr == ""
        assert retained(broker.port, "microphone")["state"] == state


def test_without_a_daemon_and_a_whole_configuration_the_command_says_that_the_broker_was_not_told(tmp_path, broker):
    device = Device(tmp_path, broker.port)
    device.config.write_text(device.config.read_text().replace("port =", "prot ="))
    done = device.call("review", "opt-out")
    assert done.returncode == 0
    assert "the broker may still show the state from before, until the daemon starts: the configuration" in done.stderr


@pytest.mark.parametrize("change", CHANGES, ids=" ".join)
def test_a_broker_that_is_away_is_said_and_the_change_made_all_the_same(tmp_path, change):
    device = Device(tmp_path)
    done = device.call(*change)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: the broker may still show the state from before, until the daemon starts: ")
    assert "127.0.0.1:1" in line
    with open_store(tmp_path / "state", default_opt_out=True) as store:
        assert store.review().opt_out is (change != ("review", "opt-in", "--yes"))
        assert store.muted().muted is (change == ("microphone", "mute"))


def test_a_broker_that_refuses_it_is_said(tmp_path):
    broker = Broker(tmp_path)
    broker.settings.append(broker.acl_file(f"topic read {BASE}/#\n"))
    with broker:
        done = Device(tmp_path, broker.port).call("review", "opt-out")
    assert done.returncode == 0
    assert f"127.0.0.1:{broker.port} refused it: not authorized" in done.stderr


def test_a_password_that_cannot_be_read_is_said_and_not_shown(tmp_path, broker):
    password = tmp_path / "password"
    password.write_text("hunter2\nmore\n")
    done = Device(tmp_path, broker.port, mqtt=f'username = "k"\npassword_file = "{password}"').call("review", "opt-out")
    assert done.returncode == 0
    assert "has more than one line" in done.stderr
    assert "hunter2" not in done.stderr


def test_with_a_daemon_the_command_leaves_it_to_that(tmp_path, broker):
    device = Device(tmp_path, broker.port)
    with Daemon(device, "--input", FIXTURES / "near-misses.wav", "--pace", "realtime") as daemon:
        daemon.wait_for("broker-connected")
        with Listener(broker.port, f"{BASE}/review") as listener:
            assert json.loads(listener.next().payload)["opt_out"] is True
            assert device.call("review", "opt-in", "--yes").stderr == ""
            assert json.loads(listener.next().payload)["opt_out"] is False
        daemon.stop()
    assert "wakeword-kitchen-state-" not in broker.log.read_text()
