"""``scripts/fleet``: real senders on a real broker, and a table that counts what is lost and what comes twice."""

from __future__ import annotations

import pytest
from support import fleet
from support.fleet import Consumer, Load, Usage, rows

LOAD = Load("127.0.0.1", 1883, requests=2, every_s=1.0, sound_s=2.0)
MS = 1_000_000


def test_a_small_fleet_loses_nothing_and_leaves_a_table(capsys):
    arguments = ["--devices", "6", "--requests", "3", "--every", "0", "--consumers", "2", "--processes", "2"]
    assert fleet.main(arguments) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("6 devices, 2 consumers at 127.0.0.1:")
    found = {line[2:21].strip(): line[21:] for line in lines}
    assert found["requests"].startswith("18 of 2 s, in ")
    assert (found["lost"], found["arrived twice"]) == ("0", "0")
    assert "MB at most" in found["the broker"]


def test_what_is_lost_what_comes_twice_and_what_is_late_is_in_the_table():
    made = {"a": 0, "b": 0, "c": 0, "d": 0}
    consumers = [Consumer("", 0, {"a": 10 * MS, "b": 20 * MS}, times=3), Consumer("", 0, {"c": 2000 * MS}, times=1)]
    found = rows(made, consumers, Usage(cpu_s=1.0, memory_mb=5.0), LOAD)
    assert (found["lost"], found["arrived twice"]) == ("1", "1")
    assert found["a second"] == "1.5 requests"
    assert found["until they arrive"].startswith("half within 20 ms, 95 of 100 within 1802 ms, all within 2000 ms")
    assert found["the broker"] == "50.0% of a core, 5 MB at most"


@pytest.mark.parametrize("found", [{"lost": "0"}, {"lost": "3"}])
def test_the_status_says_whether_anything_was_lost(found, monkeypatch, capsys):
    monkeypatch.setattr(fleet, "measure", lambda *_: found)
    assert fleet.main(["--broker", "127.0.0.1:1883"]) == int(found["lost"] != "0")
