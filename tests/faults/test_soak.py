"""A day of audio at fast pace: every request arrives once, no false one, and memory and file descriptors stay flat."""

from __future__ import annotations

import statistics

import pytest
from support.broker import Broker, Listener
from support.daemon import Daemon, Device
from support.soak import quiet_hours, usage_of

from device.hearing.frames import RATE_HZ
from device.message.envelope import read_wav

GROWTH_KB = 2048  # what memory may grow by after the warm-up
NEAR_S = 1.0


def usual(usages, what):
    """Return the median: a leak stays, while a file that is open for a moment is met by one look or two."""
    return statistics.median(getattr(one, what) for one in usages)


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
            assert daemon.end() == 0  # whatever more it hears would show below
        more = listener.pending()
    stored = [event["start_sample"] for event in daemon.events if event.get("event") == "stored"]
    assert len(stored) == len(arrived) == expected
    assert not more
    for truth, got in zip(stream.requests * passes, stored, strict=True):
        assert abs(truth - got) < NEAR_S * RATE_HZ
    assert not [event for event in daemon.events if event.get("level") in ("warning", "error")]
    warm, end = usages[len(usages) // 8 : len(usages) // 4], usages[-len(usages) // 8 :]
    grown_kb = usual(end, "rss_kb") - usual(warm, "rss_kb")
    print(f"{passes * hours:g} h, {expected} requests: {warm[0]} to {end[-1]}, grown by {grown_kb:g} kB")
    assert grown_kb < GROWTH_KB
    # Fewer are no leak: the last are seen while it already ends.
    assert usual(end, "files") <= usual(warm, "files")
    assert usual(end, "threads") <= usual(warm, "threads")
    mistagged = sum(not opted_out for opted_out, _ in arrived.values())
    assert mistagged == 0
    ledger(f"{passes * hours:g} h of audio", stored=expected, lost=expected - len(arrived), mistagged=mistagged)


def test_an_hour_leaves_memory_and_file_descriptors_flat(tmp_path, ledger):
    soak(tmp_path, 2, 0.5, ledger)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_day_leaves_memory_and_file_descriptors_flat(tmp_path, ledger):
    soak(tmp_path, 4, 6, ledger)
