"""The daemon on a disk that is full or read-only: what it hears waits in memory, and goes on when the disk does."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import soundfile
from support.broker import Broker, Listener
from support.daemon import Daemon, Device
from support.manager import Manager
from support.stores import fill, open_store

from device.edges.clock import SystemClock
from device.hil.virtual import virtual_microphone
from device.message.envelope import read_wav

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk to fill")

SHIM = Path(__file__).parents[1] / "support" / "disk_shim" / "disk_shim.c"
FIXTURES = Path(__file__).parents[1] / "fixtures"
QUIET = FIXTURES / "quiet-room.wav"
REQUESTS = [FIXTURES / f"{name}.wav" for name in ("hey-jarvis-request", "short-request", "no-gap")]
READ_ONLY, UNREADABLE, STALLED = "w", "r", "s"
PATIENT = ("--pace", "fast", "--drain-timeout", 60)


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"this machine does not let root mount: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path) as broker:
        yield broker


def device_on(disk, tmp_path, port):
    """A device whose state is on the disk, after a first start while there was room."""
    device = Device(tmp_path, port, review='default = "opted-in"')
    device.config.write_text(device.config.read_text().replace(str(tmp_path / "state"), str(disk / "state")))
    device.hear(QUIET)
    return device


class Filled:
    """Somebody else takes the disk's last byte, until it is cured or the block ends."""

    def __init__(self, disk):
        self._ballast = disk / "ballast"

    def take_all(self):
        with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def cure(self):
        self._ballast.unlink(missing_ok=True)

    def __enter__(self):
        self.take_all()
        return self

    def __exit__(self, *_):
        self.cure()


def hold_all(daemon, full):
    """Take what opening gave back of the reserve, too, and wait until every request is held in memory."""
    daemon.wait_for("started")
    full.take_all()
    while daemon.wait_for("store-failed")["held"] < len(REQUESTS):
        pass


def inputs(paths):
    """Recordings for the daemon; 100 s of quiet first, which it reads in half a second, leave time to fill the disk."""
    return [argument for path in (*[QUIET] * 25, *paths) for argument in ("--input", path)]


def named(daemon, name):
    return [event for event in daemon.events if event.get("event") == name]


@only_root
def test_what_is_heard_while_the_disk_is_full_is_stored_and_sent_once_there_is_room(disk, tmp_path, broker, ledger):
    listener = Listener(broker.port, "wakeword/kitchen/request/+", "wakeword/kitchen/status")
    device = device_on(disk, tmp_path, broker.port)
    with Filled(disk) as full, Daemon(device, *inputs(REQUESTS), *PATIENT) as daemon:
        hold_all(daemon, full)
        assert not named(daemon, "stored")
        full.cure()
        cured = time.monotonic()
        while len(named(daemon, "sent")) < len(REQUESTS):
            daemon.wait_for("sent")
        recovery_s = time.monotonic() - cured
        assert daemon.process.wait(30) == 0
    stored = [event["id"] for event in named(daemon, "stored")]
    arrived = [read_wav(listener.next("reviewable").payload)[0] for _ in stored]
    assert [tag.id for tag in arrived] == stored
    assert [tag.source for tag in arrived] == [f"file:{path.name}" for path in REQUESTS]
    assert len(named(daemon, "store-failed")) <= 2 * len(REQUESTS)
    ledger("disk full while storing", injected=1, stored=len(stored), lost=0, mistagged=0, recovery_s=recovery_s)
    assert recovery_s < 5


@only_root
def test_what_waits_is_sent_from_a_full_disk_and_deleted_there(disk, tmp_path, broker, ledger):
    listener = Listener(broker.port, "wakeword/kitchen/request/+", "wakeword/kitchen/status")
    device = device_on(disk, tmp_path, broker.port)
    ids = fill(disk / "state", 30, 32_000, clock=SystemClock())
    with Filled(disk), Daemon(device, "--input", QUIET, *PATIENT) as daemon:
        assert daemon.process.wait(30) == 0
    assert [read_wav(listener.next("reviewable").payload)[0].id for _ in ids] == ids
    assert listener.next("status").payload == b"offline"
    with open_store(disk / "state") as store:
        assert store.count() == 0
        assert store.counters()["acknowledged"] == 30
    ledger("disk full while sending", injected=1, stored=30, lost=0, mistagged=0)


@only_root
def test_a_stop_while_the_disk_is_full_says_how_many_requests_are_lost_with_it(disk, tmp_path, ledger):
    device = device_on_without_broker(disk, tmp_path)
    with Filled(disk) as full, Daemon(device, *inputs(REQUESTS), *PATIENT) as daemon:
        hold_all(daemon, full)
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.wait_for("lost")["count"] == len(REQUESTS)
        daemon.process.wait(30)
    ledger("stop while the disk is full", injected=1, stored=0, told=len(REQUESTS), lost=0)


@only_root
def test_a_stop_after_the_disk_has_room_again_stores_what_was_held(disk, tmp_path):
    device = device_on_without_broker(disk, tmp_path)
    with Filled(disk) as full, Daemon(device, *inputs(REQUESTS), *PATIENT) as daemon:
        hold_all(daemon, full)
        daemon.process.send_signal(signal.SIGSTOP)
        full.cure()
        daemon.process.send_signal(signal.SIGTERM)
        daemon.process.send_signal(signal.SIGCONT)
        assert daemon.end() in (0, 69)  # stopped while listening, or while it waited for the broker
    assert not named(daemon, "lost")
    assert len(named(daemon, "stored")) == len(REQUESTS)
    with open_store(disk / "state") as store:
        assert store.count() == len(REQUESTS)


def device_on_without_broker(disk, tmp_path):
    device = Device(tmp_path)
    device.config.write_text(device.config.read_text().replace(str(tmp_path / "state"), str(disk / "state")))
    device.hear(QUIET, arguments=("--drain-timeout", 0))
    return device


@only_root
def test_a_read_only_disk_is_said_plainly_and_nothing_is_lost_when_it_is_writable_again(disk, tmp_path, broker, ledger):
    listener = Listener(broker.port, "wakeword/kitchen/request/+")
    device = device_on(disk, tmp_path, broker.port)
    ids = fill(disk / "state", 3, 3_200, clock=SystemClock())
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    refused = device.call("run", "--input", QUIET, *PATIENT)
    assert refused.returncode == 78
    assert "state folder" in refused.stderr
    assert "Traceback" not in refused.stderr
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    cured = time.monotonic()
    device.hear(QUIET)
    recovery_s = time.monotonic() - cured
    assert [read_wav(listener.next("reviewable").payload)[0].id for _ in ids] == ids
    ledger("disk read-only", injected=1, stored=3, lost=0, mistagged=0, recovery_s=recovery_s)


class Faulty:
    """The state folder's disk has a fault at times, which a preloaded shim makes; see the shim for the letters."""

    def __init__(self, folder, device, fault):
        library, self._switch, self._fault = folder / "disk_shim.so", folder / "fault", fault
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, SHIM, "-ldl"], check=True)
        state = str(folder / "state")
        device.env |= {"LD_PRELOAD": str(library), "DISK_SHIM": str(self._switch), "DISK_SHIM_FOLDER": state}

    def take_all(self):
        self._switch.write_text(self._fault)

    def cure(self):
        self._switch.unlink(missing_ok=True)

    def __enter__(self):
        self.take_all()
        return self

    def __exit__(self, *_):
        self.cure()


@pytest.mark.parametrize("fault", [READ_ONLY, UNREADABLE], ids=["read-only", "unreadable"])
def test_what_is_heard_while_the_disk_gives_errors_is_stored_and_sent_once_it_works(tmp_path, broker, ledger, fault):
    listener = Listener(broker.port, "wakeword/kitchen/request/+")
    device = Device(tmp_path, broker.port, review='default = "opted-in"')
    device.hear(QUIET)
    disk = Faulty(tmp_path, device, fault)
    with Daemon(device, *inputs(REQUESTS), *PATIENT) as daemon:
        hold_all(daemon, disk)
        assert not named(daemon, "stored")
        disk.cure()
        cured = time.monotonic()
        while len(named(daemon, "sent")) < len(REQUESTS):
            daemon.wait_for("sent")
        recovery_s = time.monotonic() - cured
        assert daemon.end() == 0
    stored = [event["id"] for event in named(daemon, "stored")]
    assert [read_wav(listener.next("reviewable").payload)[0].id for _ in stored] == stored
    assert len(stored) == len(REQUESTS)
    assert not named(daemon, "store-damaged")
    ledger(
        f"disk gives errors while storing: {fault}", injected=1, stored=3, lost=0, mistagged=0, recovery_s=recovery_s
    )
    assert recovery_s < 5


def test_what_waits_is_sent_from_a_disk_that_turned_read_only_and_deleted_once_it_is_writable(tmp_path, ledger):
    broker = Broker(tmp_path)
    device = Device(tmp_path, broker.port, review='default = "opted-in"')
    device.hear(QUIET)
    disk = Faulty(tmp_path, device, READ_ONLY)
    ids = fill(tmp_path / "state", 30, 3_200, clock=SystemClock())
    with Daemon(device, "--input", QUIET, *PATIENT) as daemon:
        daemon.wait_for("broker-unavailable")
        disk.take_all()
        with broker, Listener(broker.port, "wakeword/kitchen/request/+") as listener:
            sent = [daemon.wait_for("sent")["id"] for _ in ids]
            assert sent == ids
            assert [read_wav(listener.next("reviewable").payload)[0].id for _ in ids] == ids
            with open_store(tmp_path / "state") as store:
                assert store.count() == len(ids)
            disk.cure()
            cured = time.monotonic()
            assert daemon.end() == 0
            recovery_s = time.monotonic() - cured
            assert not listener.pending()
    with open_store(tmp_path / "state") as store:
        assert store.count() == 0
        assert store.counters()["acknowledged"] == len(ids)
    ledger("disk turns read-only while sending", injected=1, stored=30, lost=0, mistagged=0, recovery_s=recovery_s)


def test_a_disk_that_does_not_answer_keeps_nobody_from_hearing_and_all_is_stored_when_it_does(tmp_path, broker, ledger):
    listener = Listener(broker.port, "wakeword/kitchen/request/+")
    device = Device(tmp_path, broker.port, review='default = "opted-in"')
    device.hear(QUIET)
    disk = Faulty(tmp_path, device, STALLED)
    with Daemon(device, *inputs(REQUESTS), *PATIENT) as daemon:
        daemon.wait_for("started")
        with disk:
            for _ in REQUESTS:
                daemon.wait_for("wake")
            daemon.wait_for("disk-stalled")
            assert not named(daemon, "stored")
        assert daemon.wait_for("disk-answers")["stalled_s"] >= 3
        stored = [daemon.wait_for("stored")["id"] for _ in REQUESTS]
        assert daemon.end() == 0
    assert [read_wav(listener.next("reviewable").payload)[0].id for _ in stored] == stored
    assert not [event for event in daemon.events if event["level"] == "error" and event["event"] != "disk-stalled"]
    ledger("disk does not answer for some seconds", injected=1, stored=3, lost=0, mistagged=0)


def test_an_opt_out_while_the_disk_does_not_answer_returns_when_it_does_and_counts_for_all_that_waits(tmp_path, broker):
    device = Device(tmp_path, broker.port, review='default = "opted-in"', mqtt='no_subscriber = "keep"')
    device.hear(REQUESTS[0], arguments=("--drain-timeout", 0), status=69)
    disk = Faulty(tmp_path, device, STALLED)
    with Daemon(device, *inputs(REQUESTS[1:]), *PATIENT) as daemon:
        daemon.wait_for("started")
        with disk:
            choosing = subprocess.Popen(device.command("review", "opt-out"), env=device.env)
            daemon.wait_for("disk-stalled")
            assert choosing.poll() is None
        assert choosing.wait(30) == 0
        with Listener(broker.port, "wakeword/kitchen/request/+") as listener:
            assert device.call("outbox", "send").returncode == 0
            assert daemon.end() == 0
            topics = [message.topic for message in listener.pending()]
    assert topics
    assert {topic.rpartition("/")[2] for topic in topics} == {"opted-out"}


@pytest.mark.long
def test_a_sync_of_twelve_seconds_costs_no_sample_starves_no_watchdog_and_ends_nothing(tmp_path, broker, ledger):
    """What old flash cards do; meanwhile somebody speaks and the service manager's watchdog waits for food."""
    said = soundfile.read(REQUESTS[0], start=18_000, stop=60_000, dtype="int16")[0]
    listener = Listener(broker.port, "wakeword/kitchen/request/+")
    device = Device(tmp_path, broker.port, review='default = "opted-in"')
    with virtual_microphone() as microphone, contextlib.closing(Manager(tmp_path)) as manager:
        device.env |= microphone.env | manager.env
        disk = Faulty(tmp_path, device, STALLED)
        with Daemon(device) as daemon:
            daemon.wait_for("microphone-listening")
            with disk:
                stalled = time.monotonic()
                for _ in range(2):
                    microphone.play_samples(said)
                    daemon.wait_for("wake")
                    assert manager.is_fed()
                while time.monotonic() - stalled < 12.5:
                    assert manager.is_fed()
            assert daemon.wait_for("disk-answers")["stalled_s"] > 5
            stored = [daemon.wait_for("stored") for _ in range(2)]
            assert daemon.stop() == 0
    assert all(event["ended_by"] == "silence" for event in stored)
    assert [read_wav(listener.next("reviewable").payload)[0].id for _ in stored] == [each["id"] for each in stored]
    assert not named(daemon, "overflow")
    ledger("disk does not answer for twelve seconds", injected=1, stored=2, lost=0, mistagged=0)
