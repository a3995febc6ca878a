"""A clock that is wrong at boot, jumps an hour, or is set while requests wait, under the running daemon."""

from __future__ import annotations

import shutil
import subprocess
import time
from datetime import datetime
from pathlib import Path

import pytest
from support.broker import Broker, Listener
from support.daemon import Daemon, Device
from support.stores import JumpingClock, drain, open_store, put

from device.message.envelope import read_wav
from device.message.timestamps import NS_PER_S

FIXTURES = Path(__file__).parents[1] / "fixtures"
QUIET = FIXTURES / "quiet-room.wav"
REQUESTS = [FIXTURES / f"{name}.wav" for name in ("hey-jarvis-request", "short-request")]
HOUR_S = 3600

# Shifts the wall clock of one process by the seconds that stand in a file, read anew each time; and says that a time
# server has set it once the file's second number is 1.
SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timex.h>
#include <time.h>

static void shift(long *seconds, int *set) {
    FILE *file = fopen(getenv("CLOCK_SHIFT"), "r");
    if (file == NULL || fscanf(file, "%ld %d", seconds, set) != 2) abort();
    fclose(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL) real = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, now);
    long seconds;
    int set;
    if (clock == CLOCK_REALTIME) { shift(&seconds, &set); now->tv_sec += seconds; }
    return status;
}

int adjtimex(struct timex *unused) {
    long seconds;
    int set;
    (void)unused;
    shift(&seconds, &set);
    return set ? TIME_OK : TIME_ERROR;
}
"""


class ShiftedClock:
    """The wall clock of a process under test; monotonic and boot time go on as they are."""

    def __init__(self, folder):
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("no C compiler: it makes the library that shifts the clock")
        source, library = folder / "shim.c", folder / "shim.so"
        source.write_text(SHIM)
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        self._file = folder / "shift"
        self.env = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(self._file)}
        self.set(0)

    def set(self, seconds, *, synced=False):
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{round(seconds)} {int(synced)}\n")
        fresh.rename(self._file)


@pytest.fixture
def clock(tmp_path):
    if Path("/run/systemd/timesync/synchronized").exists():
        pytest.skip("this machine's own time server says that the clock is set")
    return ShiftedClock(tmp_path)


def captured_s(request):
    return datetime.fromisoformat(request.captured_at).timestamp()


@pytest.mark.parametrize("jump_s", [-HOUR_S, HOUR_S])
def test_the_clock_jumps_while_requests_wait_and_order_age_and_retry_are_unharmed(tmp_path, clock, jump_s, ledger):
    """Without a broker; the clock jumps; the broker comes: they arrive in order, with the time they truly waited."""
    broker = Broker(tmp_path)
    device = Device(tmp_path, broker.port, outbox="max_age_days = 0.02")  # half an hour: less than the jump
    inputs = [argument for path in REQUESTS for argument in ("--input", path)]
    arguments = (*inputs, "--pace", "fast", "--drain-timeout", 60)
    with Daemon(device, *arguments, env=clock.env) as daemon:
        stored = [daemon.wait_for("stored")["id"] for _ in REQUESTS]
        began = time.monotonic()
        clock.set(jump_s)
        with broker:
            listener = Listener(broker.port, "wakeword/kitchen/request/+")
            for _ in REQUESTS:
                daemon.wait_for("sent")
            recovery_s = time.monotonic() - began
            tags = [read_wav(listener.next("opted-out").payload)[0] for _ in REQUESTS]
            assert daemon.process.wait(30) == 0
    assert [tag.id for tag in tags] == stored
    assert all(0 <= tag.waited_s < recovery_s + 5 for tag in tags)
    assert not any(tag.clock_synced for tag in tags)
    ledger("clock jumps an hour", injected=1, stored=len(stored), lost=0, mistagged=0, recovery_s=recovery_s)
    assert recovery_s < 10


def test_times_of_a_clock_wrong_at_boot_are_set_right_in_the_same_boot_and_flagged_until_then(tmp_path, clock, ledger):
    """Stored a day wrong; then the clock is set, and the next daemon of the same boot corrects before it sends."""
    device = Device(tmp_path)
    device.env |= clock.env
    clock.set(-24 * HOUR_S)
    true_s = time.time()
    events = device.hear(*REQUESTS, arguments=("--drain-timeout", 0), status=69)
    ids = [event["id"] for event in events if event.get("event") == "stored"]
    with open_store(tmp_path / "state") as store:
        assert all(true_s - captured_s(waiting) > 23 * HOUR_S for waiting in store.waiting())
    with Broker(tmp_path) as broker, Listener(broker.port, "wakeword/kitchen/request/+") as listener:
        device.config.write_text(device.config.read_text().replace("port = 1", f"port = {broker.port}"))
        clock.set(0, synced=True)
        (corrected,) = [event for event in device.hear(QUIET) if event.get("event") == "clock-set"]
        tags = [read_wav(listener.next("opted-out").payload)[0] for _ in ids]
    assert corrected["count"] == len(ids)
    assert [tag.id for tag in tags] == ids
    assert all(tag.clock_synced for tag in tags)
    assert all(abs(captured_s(tag) - true_s) < 60 for tag in tags)
    ledger("clock wrong at boot", injected=1, stored=len(ids), lost=0, mistagged=0)


@pytest.mark.parametrize("jump_s", [-HOUR_S, HOUR_S])
def test_a_jump_between_storing_and_the_next_boot_never_expires_what_may_be_young(tmp_path, jump_s):
    clock = JumpingClock()
    with open_store(tmp_path, clock=clock, max_age_s=HOUR_S / 2) as store:
        clock.set(synced=False)
        kept = [put(store, seed).tag.id for seed in range(3)]
        clock.set(wall_ns=clock.moment.wall_ns + jump_s * NS_PER_S)
        kept.append(put(store, 3).tag.id)
        assert store.expire() == ()
        clock.reboot("boot-2", up_s=20)
        assert store.expire() == ()
        sent = drain(store)
    assert [claimed.tag.id for claimed in sent] == kept
    assert [claimed.tag.waited_s for claimed in sent] == [None] * 4
