"""A day of audio at fast pace: every request arrives once, no false one, and memory and file descriptors stay flat."""

from __future__ import annotations

import re
import statistics
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from support.broker import Broker, Listener
from support.daemon import Daemon, Device

from device.hearing.frames import RATE_HZ
from device.hil.recordings import load_recording
from device.message.envelope import read_wav

FIXTURES = Path(__file__).parents[1] / "fixtures"
ROOM = FIXTURES / "quiet-room.wav"
SAID = ["hey-jarvis-request", "speech-without-wake-word", "short-request", "wake-word-alone", "no-gap", "near-misses"]
EVERY_S = 120  # something is said
GROWTH_KB = 2048  # what memory may grow by after the warm-up
NEAR_S = 1.0


class Stream(NamedTuple):
    """A recording of a quiet room, and where in it requests begin, in samples."""

    path: Path
    requests: list[int]


def quiet_hours(folder, hours):
    """Write a recording of so many hours: a quiet room, and every other minute one of SAID."""
    said = [load_recording(FIXTURES / f"{name}.wav", FIXTURES / f"{name}.json") for name in SAID]
    quiet, _ = soundfile.read(ROOM, dtype="int16")
    slot = np.resize(quiet, EVERY_S * RATE_HZ)
    path, requests = folder / "quiet-hours.flac", []
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, "PCM_16", format="FLAC") as file:
        for number in range(round(hours * 3600 / EVERY_S)):
            recording = said[number % len(said)]
            block = slot.copy()
            start = (number * 7919) % (len(slot) // 2)  # at no regular time
            block[start : start + len(recording.samples)] = recording.samples
            file.write(block)
            first = number * len(slot) + start
            requests += [first + request.start_sample for request in recording.truth.requests]
    return Stream(path, requests)


class Usage(NamedTuple):
    """What a process holds."""

    rss_kb: int
    files: int
    threads: int


def usage_of(pid):
    """What a process holds now; None if it has ended, as it may right after the last request."""
    process = Path("/proc", str(pid))
    status = (process / "status").read_text()
    if "VmRSS" not in status:
        return None
    rss_kb, threads = (int(re.search(rf"{key}:\s+(\d+)", status)[1]) for key in ("VmRSS", "Threads"))
    return Usage(rss_kb, len(list((process / "fd").iterdir())), threads)


def soak(folder, passes, hours, ledger):
    stream = quiet_hours(folder, hours)
    expected = passes * len(stream.requests)
    usages, arrived = [], {}
    with Broker(folder) as broker, Listener(broker.port, "wakeword/kitchen/request/+") as listener:
        inputs = [argument for _ in range(passes) for argument in ("--input", stream.path)]
        with Daemon(Device(folder, broker.port), *inputs, "--pace", "fast") as daemon:
            for _ in range(expected):
                daemon.wait_for("sent")
                if (usage := usage_of(daemon.process.pid)) is not None:
                    usages.append(usage)
                tag, pcm = read_wav(listener.next().payload)
                assert arrived.setdefault(tag.id, (tag.review.opt_out, pcm))[1] == pcm
            for _ in daemon._lines:
                pass  # to the end: whatever more it hears would show below
            assert daemon.process.wait() == 0
        more = listener.pending()
    stored = [event["start_sample"] for event in daemon.events if event.get("event") == "stored"]
    assert len(stored) == len(arrived) == expected
    assert not more
    for truth, got in zip(stream.requests * passes, stored, strict=True):
        assert abs(truth - got) < NEAR_S * RATE_HZ
    assert not [event for event in daemon.events if event.get("level") in ("warning", "error")]
    warm, end = usages[len(usages) // 8 : len(usages) // 4], usages[-len(usages) // 8 :]
    grown_kb = statistics.median(one.rss_kb for one in end) - statistics.median(one.rss_kb for one in warm)
    print(f"{passes * hours:g} h, {expected} requests: {warm[0]} to {end[-1]}, grown by {grown_kb:g} kB")
    assert grown_kb < GROWTH_KB
    # Fewer are no leak: the last are seen while it already ends.
    assert max(one.files for one in end) <= max(one.files for one in warm)
    assert max(one.threads for one in end) <= max(one.threads for one in warm)
    mistagged = sum(not opted_out for opted_out, _ in arrived.values())
    assert mistagged == 0
    ledger(f"{passes * hours:g} h of audio", stored=expected, lost=expected - len(arrived), mistagged=mistagged)


def test_an_hour_leaves_memory_and_file_descriptors_flat(tmp_path, ledger):
    soak(tmp_path, 2, 0.5, ledger)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_day_leaves_memory_and_file_descriptors_flat(tmp_path, ledger):
    soak(tmp_path, 4, 6, ledger)
