"""What the service manager is told never blocks the daemon, and the unit is as closed as the daemon can bear."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from device.edges.systemd import notify, watchdog_interval_s

UNIT = Path(__file__).parent.parent / "systemd" / "wakeword-recorder.service"
ANSWER = UNIT.with_name("wakeword-recorder-answer.service")
WEB = UNIT.with_name("wakeword-recorder-web.service")
SOCKET = WEB.with_suffix(".socket")
both = pytest.mark.parametrize("unit", [UNIT, ANSWER], ids=lambda unit: unit.stem)
services = pytest.mark.parametrize("unit", [UNIT, ANSWER, WEB], ids=lambda unit: unit.stem)


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """A datagram socket in systemd's place, in the file system."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


def test_the_manager_gets_all_lines_in_one_datagram(manager):
    assert notify("READY=1", "STATUS=hört zu")
    assert manager.recv(4096) == "READY=1\nSTATUS=hört zu".encode()


def test_an_abstract_socket_is_reached_too(monkeypatch):
    name = f"wakeword-recorder-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        assert notify("WATCHDOG=1")
        assert listening.recv(4096) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", [None, "", "relative", "/nobody/listens/here", "@nobody-listens-here"])
def test_without_a_manager_nothing_happens(monkeypatch, address):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not notify("READY=1")


def test_a_manager_that_does_not_read_never_blocks_the_daemon(manager):
    sent = 0
    while notify("WATCHDOG=1"):
        sent += 1
    assert sent > 0  # then the queue was full, and the call came back


@pytest.mark.parametrize(
    ("environment", "interval_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "10000000"}, 10.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}, 10.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_counts_only_if_it_is_meant_for_this_process(monkeypatch, environment, interval_s):
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert watchdog_interval_s() == interval_s


# --- the unit ---


@services
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path, unit):
    program = shutil.which("true")
    text, lines = re.subn(r"^ExecStart=\S+", f"ExecStart={program}", unit.read_text(), flags=re.MULTILINE)
    assert lines == 1
    unit = tmp_path / unit.name  # a copy whose program exists on this machine
    unit.write_text(text)
    shutil.copy(SOCKET, tmp_path)
    # --man=no: Debian's systemd does not bring `man` along, with which the pages in Documentation= would be looked up.
    command = ["systemd-analyze", "verify", "--man=no", unit]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@services
def test_the_unit_is_exposed_to_no_more_than_1_3_of_10(unit):
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", unit]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", report)
    assert float(exposure[1]) <= 1.3, report


@pytest.mark.parametrize("unit", [UNIT, ANSWER, WEB, SOCKET], ids=lambda unit: unit.name)
def test_a_reason_stands_beside_every_line_of_the_unit(unit):
    """Beside: above it, or above the lines of one thought that begin with it."""
    reason = False
    for line in unit.read_text().splitlines():
        if line.startswith("# "):
            reason = True
        elif not line:
            reason = False
        elif re.match(r"(Description|Documentation|ExecStart|WantedBy|\[)", line):
            continue  # says itself what it is for
        elif "=" in line:
            assert reason, line


@both
def test_the_unit_breaks_nothing_that_was_measured(unit):
    """MemoryDenyWriteExecute= breaks PortAudio's callbacks, ProtectClock= the reading of the clock's state."""
    keys = set(re.findall(r"^(\w+)=", unit.read_text(), flags=re.MULTILINE))
    assert not keys & {"MemoryDenyWriteExecute", "ProtectClock", "PrivateDevices", "DynamicUser", "ProcSubset"}
    assert {"WatchdogSec", "StateDirectory"} <= keys
    assert ("CacheDirectory" in keys) is (unit == UNIT)
    assert "RestartPreventExitStatus=78\n" in unit.read_text()


def test_the_answers_unit_writes_below_the_recorders_state_folder_and_reads_one_configuration_with_it():
    """With systemd's STATE_DIRECTORY, which is another one, the configuration would be refused."""
    text = ANSWER.read_text()
    assert "StateDirectory=wakeword-recorder/answer\n" in text
    assert "UnsetEnvironment=STATE_DIRECTORY\n" in text
    assert re.search("^User=.*$", text, re.MULTILINE)[0] == re.search("^User=.*$", UNIT.read_text(), re.MULTILINE)[0]


def test_what_is_not_its_own_is_in_both_units_the_same():
    """They differ in what they start, where they write, and what the recorder alone needs."""

    def restrictions(unit):
        lines = unit.read_text().partition("# --- what it may not touch")[2].splitlines()
        return {line for line in lines if re.match(r"(#?)\w+=", line)}

    assert restrictions(UNIT) - restrictions(ANSWER) == {"Environment=ORT_DISABLE_TELEMETRY=1"}
    assert restrictions(ANSWER) <= restrictions(UNIT)


def test_the_pages_unit_reaches_no_microphone_and_no_network_and_is_started_by_its_socket_alone():
    text = WEB.read_text()
    keys = dict(re.findall(r"^(\w+)=(.*)$", text, flags=re.MULTILINE))
    assert (keys["PrivateDevices"], keys["PrivateNetwork"], keys["DevicePolicy"]) == ("yes", "yes", "closed")
    assert not {"DeviceAllow", "Group", "SupplementaryGroups", "Restart", "WantedBy"} & keys.keys()
    assert keys["StateDirectory"] == "wakeword-recorder"
    assert re.findall(r"^ListenStream=(.*)$", SOCKET.read_text(), re.MULTILINE) == ["127.0.0.1:8060"]
    assert 'listen = "127.0.0.1:8060"\n' in (UNIT.parents[1] / "config" / "config.toml").read_text()


def test_the_pages_unit_is_closed_as_the_recorders_is():
    """But for the microphone, and for what else the page needs less of."""

    def restrictions(unit):
        lines = unit.read_text().partition("# --- what it may not touch")[2].splitlines()
        return {line for line in lines if re.match(r"\w+=", line)}

    assert restrictions(UNIT) - restrictions(WEB) == {
        "DeviceAllow=char-alsa rw", "Environment=ORT_DISABLE_TELEMETRY=1", "IPAddressDeny=any",
        "IPAddressAllow=localhost link-local 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7",
        "WantedBy=multi-user.target",
    }  # fmt: skip


def test_what_systemd_hands_over_is_taken_once_and_by_nobody_for_whom_it_is_not_meant(tmp_path):
    code = """
import os
from device.edges.systemd import listening_sockets
print([one.getsockname()[0] for one in listening_sockets()], len(listening_sockets()), "LISTEN_FDS" in os.environ)
"""
    probe = [sys.executable, "-c", code]
    with socket.create_server(("127.0.0.1", 0)) as handed:
        for owner, said in (("$$", "['127.0.0.1'] 0 False\n"), ("1", "[] 0 False\n")):
            line = f'export LISTEN_PID={owner} LISTEN_FDS=1; exec "$@" 3<&{handed.fileno()}'
            command = ["bash", "-c", line, "bash", *probe]
            done = subprocess.run(
                command, pass_fds=[handed.fileno()], cwd=UNIT.parents[1], capture_output=True, text=True, check=True
            )
            assert done.stdout == said


def test_the_unit_s_user_can_be_made_and_may_open_sound_devices(tmp_path):
    fragment = UNIT.parent / "sysusers.d" / "wakeword-recorder.conf"
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "group").write_text("audio:x:29:\n")
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", fragment.resolve()], check=True)
    assert "wakeword-recorder:" in (etc / "passwd").read_text()
    assert re.search(r"^audio:.*:wakeword-recorder$", (etc / "group").read_text(), flags=re.MULTILINE)
