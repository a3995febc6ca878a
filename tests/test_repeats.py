"""A repeated problem is said once, then every ten minutes with its count."""

from __future__ import annotations

from device.sending.repeats import INTERVAL_S, Repeats


def test_the_first_is_said_then_none_until_the_interval_is_over_and_then_with_the_count():
    repeats = Repeats()
    assert [repeats.count(("away",), now) for now in (0, 1, 2, INTERVAL_S - 1)] == [1, 0, 0, 0]
    assert repeats.count(("away",), INTERVAL_S) == 4


def test_another_problem_is_said_at_once_and_so_is_one_that_was_over():
    repeats = Repeats()
    repeats.count(("away", "refused"), 0)
    assert repeats.count(("away", "no route"), 1) == 1
    repeats.over("away")
    assert repeats.count(("away", "refused"), 2) == 1


def test_it_remembers_a_bounded_number_of_problems():
    repeats = Repeats()
    for number in range(1000):
        repeats.count((str(number),), 0)
    assert [repeats.count((str(number),), 0) for number in range(936, 1000)] == [0] * 64
    assert repeats.count(("935",), 0) == 1  # forgotten: it is news again
