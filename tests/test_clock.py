"""The machine's clocks."""

from __future__ import annotations

import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from device.edges.clock import SystemClock, kernel_state
from device.message.timestamps import Now, elapsed_ns, rfc3339


def test_the_system_clock_reads_the_kernels_clocks():
    before = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    now = SystemClock().now()
    after = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert before[0] <= now.wall_ns <= after[0]
    assert before[1] <= now.boot_ns <= after[1]
    assert now.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_a_marker_of_timesyncd_means_synchronised(tmp_path):
    assert SystemClock(marker=str(tmp_path)).now().synced is True


def test_without_the_marker_the_kernel_decides_and_a_forbidden_question_means_no(tmp_path):
    for answer, synced in [(0, True), (1, True), (5, False), (-1, False)]:
        system = SystemClock(str(tmp_path / "missing"), lambda answer=answer: answer)
        assert system.now().synced is synced


def test_the_kernel_answers_the_question_as_asked(tmp_path):
    assert kernel_state() in range(-1, 6)
    assert SystemClock(str(tmp_path / "missing")).now().synced is (0 <= kernel_state() < 5)


moments = st.builds(
    Now,
    wall_ns=st.integers(-(2**60), 2**62),
    boot_ns=st.integers(0, 2**60),
    boot_id=st.sampled_from(["a", "b"]),
    synced=st.booleans(),
)


@given(moments, moments)
def test_elapsed_time_is_never_negative_and_within_a_boot_ignores_the_wall(earlier, now):
    elapsed = elapsed_ns(earlier, now)
    assert elapsed >= 0
    if earlier.boot_id == now.boot_id:
        assert elapsed == max(now.boot_ns - earlier.boot_ns, 0)


def test_times_are_told_as_in_the_contract():
    assert rfc3339(1_795_380_201_652_999_999) == "2026-11-22T20:43:21.652Z"
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
