"""The daemon as systemd runs it: under the unit's restrictions, with a real notification socket and watchdog."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from pathlib import Path

import pytest
import soundfile
from support.broker import Broker, Listener, await_true
from support.daemon import Daemon, Device
from support.manager import PATIENCE_S, Manager
from support.unit_sandbox import sandboxed

from device import signals
from device.hil.virtual import virtual_microphone
from device.message.envelope import read_wav

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "systemd" / "wakeword-recorder.service"
REQUEST = ROOT / "tests" / "fixtures" / "hey-jarvis-request.wav"
SAID = soundfile.read(REQUEST, start=18_000, stop=60_000, dtype="int16")[0]  # without the quiet around it


@pytest.fixture(scope="module")
def microphone():
    with virtual_microphone() as microphone:
        yield microphone


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path) as broker:
        yield broker


@pytest.fixture
def manager(tmp_path):
    with contextlib.closing(Manager(tmp_path)) as manager:
        yield manager


class Service(Daemon):
    """The daemon under the unit's restrictions, the device's folder being all that it may write to."""

    def __init__(self, device, manager, microphone):
        cache = {"XDG_CACHE_HOME": str(device.folder / "cache")}
        super().__init__(device, env=microphone.settings | manager.env | cache)
        self._command = sandboxed(UNIT, self._command, device.folder)

    def wait_for_all(self, *names):
        """Read on until each of these events was said, in any order."""
        missing = set(names)
        while missing:
            missing.discard(next(self._lines).get("event"))

    def status(self, field):
        """A line of the kernel's account of the process."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return re.search(rf"^{field}:\s*(.*)$", text, re.MULTILINE)[1]


@contextlib.contextmanager
def suspended(microphone):
    """PulseAudio stands still: the device is there and delivers nothing."""
    process = microphone.server
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def graph_being_made(daemon_pid):
    """Hold up the process that rewrites the models at a daemon's very first start."""
    children = Path(f"/proc/{daemon_pid}/task/{daemon_pid}/children")

    def rewriting():
        for pid in map(int, children.read_text().split()):
            with contextlib.suppress(OSError):  # it has ended
                if b"rewriting.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        return None

    pid = await_true(rewriting, "the models are rewritten")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_under_the_unit_s_restrictions_requests_arrive_and_the_choice_of_another_process_counts(
    tmp_path, broker, manager, microphone
):
    listener = Listener(broker.port, "wakeword/kitchen/request/+")
    device = Device(tmp_path, broker.port, review='default = "opted-in"')
    with Service(device, manager, microphone) as daemon:
        assert manager.wait_for("READY=1")
        assert daemon.status("NoNewPrivs") == "1"
        assert daemon.status("Seccomp") == "2"
        if os.geteuid() == 0:
            assert int(daemon.status("CapBnd"), 16) == 0
        daemon.wait_for("microphone-listening")
        microphone.play_samples(SAID)
        message = listener.next()
        assert message.topic.endswith("/reviewable")
        assert not read_wav(message.payload)[0].review.opt_out
        assert device.call("review", "opt-out").returncode == 0
        microphone.play_samples(SAID)
        message = listener.next()
        assert message.topic.endswith("/opted-out")
        assert read_wav(message.payload)[0].review.revision == 1
        assert manager.is_fed()
        assert daemon.stop() == 0
        assert manager.wait_for("STOPPING=1")
    assert not [event for event in daemon.events if event.get("level") in ("warning", "error")]
    assert device.call("outbox", "list").stdout == ""


def test_a_hook_runs_under_the_unit_s_restrictions_and_writes_nowhere_but_into_the_state_folder(
    tmp_path, manager, microphone
):
    script = tmp_path / "hook"
    script.write_text(
        f"#!/bin/sh\ncat > {tmp_path}/told; grep -E 'NoNewPrivs|Seccomp:' /proc/self/status >> {tmp_path}/told\n"
    )
    script.chmod(0o755)
    with Service(Device(tmp_path, hooks=f'on_wake = ["{script}"]'), manager, microphone) as daemon:
        daemon.wait_for("microphone-listening")
        microphone.play_samples(SAID)
        daemon.wait_for("stored")
        assert daemon.stop() == 0
    told = (tmp_path / "told").read_text()
    assert '"event": "wake"' in told
    assert "NoNewPrivs:\t1" in told
    assert "Seccomp:\t2" in told
    assert "hook-failed" not in {event.get("event") for event in daemon.events}


@pytest.mark.parametrize("number", signals.ENDING, ids=lambda number: number.name)
def test_a_stop_in_mid_request_ends_in_order_and_what_was_said_is_kept(tmp_path, manager, microphone, number):
    device = Device(tmp_path, capture="silence_s = 9.0")
    with Service(device, manager, microphone) as daemon:
        daemon.wait_for("microphone-listening")
        microphone.play_samples(SAID[:32_000])  # up to the middle of the request
        daemon.wait_for("wake")
        stopped_s = time.monotonic()
        daemon.process.send_signal(number)
        assert daemon.end() == 0
        assert time.monotonic() - stopped_s < 5  # the unit kills after 60 s
    (stored,) = [event for event in daemon.events if event.get("event") == "stored"]
    assert stored["ended_by"] == "shutdown"
    assert stored["id"] in device.call("outbox", "list").stdout


def test_a_request_that_is_not_yet_listened_to_at_the_stop_is_kept(tmp_path, manager, microphone):
    """A machine that is slow to load the models: all that was said waits in the microphone's queue."""
    device = Device(tmp_path, capture="silence_s = 9.0")
    with Service(device, manager, microphone) as daemon:
        with graph_being_made(daemon.process.pid):
            daemon.wait_for("microphone-listening")
            microphone.play_samples(SAID[:32_000])
            daemon.process.terminate()
        assert daemon.end() == 0
    (stored,) = [event for event in daemon.events if event.get("event") == "stored"]
    assert stored["ended_by"] == "shutdown"


def test_the_watchdog_is_fed_without_a_broker_and_starves_while_no_frames_come(tmp_path, manager, microphone, ledger):
    with Service(Device(tmp_path), manager, microphone) as daemon:  # nothing listens on this device's broker
        daemon.wait_for_all("broker-unavailable", "microphone-listening")
        assert manager.is_fed()
        with suspended(microphone):
            daemon.wait_for("microphone-lost")
            assert manager.bites()
            resumed_s = time.monotonic()
        daemon.wait_for("microphone-listening")
        recovery_s = time.monotonic() - resumed_s
        assert manager.is_fed()
        assert daemon.stop() == 0
    ledger("the sound server stands still", injected=1, recovery_s=recovery_s)


def test_a_muted_microphone_feeds_the_watchdog_whatever_becomes_of_the_device(tmp_path, manager, microphone):
    device = Device(tmp_path)
    with Service(device, manager, microphone) as daemon:
        daemon.wait_for("microphone-listening")
        device.call("microphone", "mute")
        daemon.wait_for("microphone-muted")
        assert microphone.listeners() == []
        with suspended(microphone):
            assert manager.is_fed()
        device.call("microphone", "unmute")
        daemon.wait_for("microphone-listening")
        assert daemon.stop() == 0


def test_a_daemon_that_finds_no_microphone_is_ready_and_starves_the_watchdog(tmp_path, manager, microphone):
    with Service(Device(tmp_path, microphone='name = "no such thing"'), manager, microphone) as daemon:
        assert manager.wait_for("READY=1")
        daemon.wait_for("microphone-lost")
        assert manager.bites()
        assert daemon.stop() == 0


def test_a_wrong_configuration_ends_with_the_status_that_the_unit_does_not_restart_on(tmp_path, manager, microphone):
    device = Device(tmp_path, wake='words = ["hey_jervis"]')
    with Service(device, manager, microphone) as daemon:
        _, said = daemon.process.communicate(timeout=PATIENCE_S)
    assert daemon.process.returncode == 78
    assert "did you mean 'hey_jarvis'" in said
    assert "RestartPreventExitStatus=78" in UNIT.read_text()
    assert not manager.wait_for("READY=1", 0.1)
