"""``scripts/soak``: a fast hour shows every request and what the daemon holds; what is lost or grows is a fault."""

from __future__ import annotations

import csv
import os
from dataclasses import replace

import pytest
import soundfile
from support import soak
from support.soak import Look, celsius, table, throttled

from device.hearing.frames import RATE_HZ


def looks_of(*memories_mb):
    return [
        Look(number * 10.0, 1.0, memory, 10, 5, 0, number, 0.0, None, "") for number, memory in enumerate(memories_mb)
    ]


@pytest.mark.timeout(300)
def test_a_fast_fifth_of_an_hour_loses_nothing_and_leaves_a_table_a_file_and_a_picture(tmp_path, capsys):
    files = ["--csv", str(tmp_path / "looks.csv"), "--plot", str(tmp_path / "looks.png")]
    assert soak.main(["--hours", "0.2", "--pace", "fast", "--interval", "0.2", *files]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["time", "CPU", "%"]
    with (tmp_path / "looks.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert int(rows[-1]["sent"]) == 3  # of the six of SAID, three hold a request
    assert all(0 <= float(row["cpu"]) < 100 * os.cpu_count() + 50 for row in rows)
    assert lines[-1].startswith("all right: every request arrived, 3 of them; ")
    assert max(float(row["memory_mb"]) for row in rows) > 50
    assert (tmp_path / "looks.png").read_bytes().startswith(b"\x89PNG")


def test_the_sound_is_as_long_as_asked_and_nothing_is_said_that_does_not_fit(tmp_path):
    stream = soak.quiet_hours(tmp_path, hours=150 / 3600)  # a slot, and a quarter of one
    assert soundfile.info(stream.path).frames == 150 * RATE_HZ
    assert len(stream.requests) == 1
    assert soak.quiet_hours(tmp_path, hours=6 / 3600).requests == []


def test_the_processor_s_share_in_the_summary_is_weighed_by_time():
    looks = looks_of(70.0, 71.0, 70.5)
    looks[1:] = [replace(looks[1], cpu=4.0), replace(looks[2], cpu=2.0, missing_s=0.5)]
    assert soak.summary(looks) == (
        "all right: every request arrived, 2 of them; 3.0 % of a core on average, 71.0 MB at most, "
        "0.5 s of sound missing"
    )
    assert "a shorter --interval" in soak.summary([])


def test_a_lost_request_a_warning_and_grown_memory_are_faults():
    warning = {"level": "warning", "event": "overflow", "message": "0.5 s is missing"}
    steady, growing = looks_of(*[70.0] * 40), looks_of(*(70.0 + number / 4 for number in range(40)))
    assert list(soak.faults([], steady, expected=3, arrived=3)) == []
    assert list(soak.faults([warning], steady, 3, 2)) == [
        "3 requests were said, 2 arrived",
        "the daemon warns: 0.5 s is missing",
    ]
    (fault,) = soak.faults([], growing, 3, 3)
    assert fault.startswith("memory grew by ")


def test_the_table_has_the_last_look_and_not_more_rows_than_a_screen():
    lines = list(table(looks_of(*[70.0] * 1000)))
    assert len(lines) <= soak.ROWS + 2
    assert lines[-1].split()[0] == "2:46:30"


def test_a_raspberry_pis_heat_and_throttling_are_read(tmp_path):
    for zone, milli in (("thermal_zone0", "48312"), ("thermal_zone1", "61000"), ("thermal_zone2", "broken")):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "temp").write_text(f"{milli}\n")
    (tmp_path / "get_throttled").write_text("50005\n")  # now: voltage and throttled; the high bits are the past
    assert celsius(tmp_path) == 61.0
    assert throttled(tmp_path / "get_throttled") == "voltage too low, throttled"
    assert celsius(tmp_path / "none") is None
    assert throttled(tmp_path / "none") == ""
