"""The delivery policy as a pure machine, in simulated time: nothing lost, nobody starved, attempts bounded."""

from __future__ import annotations

import math
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.sending.delivery import ALONE_S, PROBE_S, Delivery, SendResult

ACK, REFUSED, LOST, LARGE = SendResult.ACKNOWLEDGED, SendResult.REFUSED, SendResult.LOST, SendResult.TOO_LARGE


def choose(delivery: Delivery, waiting: dict[str, bool], now: float) -> tuple[str | None, float]:
    """What the publisher does: the id to try now, or None and when to look again."""
    scan = delivery.scan(now)
    for name, opt_out in waiting.items():
        if scan(name, opt_out):
            return name, now
    if scan.probe is not None:
        return scan.probe, now
    delivery.finish(scan)
    return None, scan.next_at


def test_with_nothing_wrong_the_oldest_goes_first():
    delivery = Delivery()
    waiting = dict.fromkeys("abc", False)
    for name in "abc":
        assert choose(delivery, waiting, 0)[0] == name
        assert delivery.record(name, opt_out=False, result=ACK, now=0).done
        del waiting[name]
    assert choose(delivery, waiting, 0) == (None, math.inf)


def test_a_refused_message_lets_the_next_one_go_and_waits_by_itself():
    delivery = Delivery()
    waiting = dict.fromkeys("ab", False)
    delivery.record("a", opt_out=False, result=REFUSED, now=0)
    assert choose(delivery, waiting, 0)[0] == "b"
    delivery.record("b", opt_out=False, result=ACK, now=0)
    del waiting["b"]
    assert choose(delivery, waiting, 0) == (None, 1.0)
    assert choose(delivery, waiting, 1.0)[0] == "a"


def test_a_message_refused_while_others_get_through_waits_ever_longer_up_to_a_minute():
    delivery = Delivery()
    waits = []
    for now in range(9):
        verdict = delivery.record("bad", opt_out=False, result=REFUSED, now=now)
        waits.append(verdict.retry_at - now)
        delivery.record(f"good{now}", opt_out=False, result=ACK, now=now)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_the_only_message_is_tried_every_few_seconds_since_nothing_says_it_is_to_blame():
    delivery = Delivery()
    waits = [delivery.record("a", opt_out=False, result=REFUSED, now=0).retry_at for _ in range(6)]
    assert waits == [1, 2, 4, 5, 5, 5]


def test_two_different_refusals_in_a_row_close_the_topic_and_probes_take_turns():
    delivery = Delivery()
    waiting = dict.fromkeys("abc", False)
    now, tried, times = 0.0, [], []
    for _ in range(8):
        name, at = choose(delivery, waiting, now)
        if name is None:
            now = at
            name, _ = choose(delivery, waiting, now)
        tried.append(name)
        times.append(now)
        delivery.record(name, opt_out=False, result=REFUSED, now=now)
    assert "".join(tried) == "abcabcab"
    assert times == [0, 0, 1, 3, 7, 12, 17, 22]


def test_a_closed_topic_leaves_the_other_one_alone():
    delivery = Delivery()
    waiting = {"a": False, "b": False, "private": True}
    delivery.record("a", opt_out=False, result=REFUSED, now=0)
    delivery.record("b", opt_out=False, result=REFUSED, now=0)
    assert choose(delivery, waiting, 0)[0] == "private"


def test_a_success_opens_a_closed_topic_and_all_go_at_once():
    delivery = Delivery()
    waiting = dict.fromkeys("abcd", False)
    delivery.record("a", opt_out=False, result=REFUSED, now=0)
    delivery.record("b", opt_out=False, result=REFUSED, now=0)
    assert choose(delivery, waiting, 0.5) == (None, 1.0)
    delivery.record("c", opt_out=False, result=ACK, now=1)
    del waiting["c"]
    for _ in range(3):
        name, _ = choose(delivery, waiting, 1.0)
        delivery.record(name, opt_out=False, result=ACK, now=1)
        del waiting[name]
    assert not waiting


def test_a_new_connection_opens_topics_and_makes_refused_and_oversized_messages_due():
    delivery = Delivery()
    waiting = dict.fromkeys("abc", False)
    for name in "ab":
        delivery.record(name, opt_out=False, result=REFUSED, now=0)
    assert delivery.record("c", opt_out=False, result=LARGE, now=0).retry_at == math.inf
    assert choose(delivery, waiting, 0.5)[0] is None
    delivery.connected(0.5)
    assert choose(delivery, waiting, 0.5)[0] == "a"
    assert choose(delivery, {"c": False}, 0.5)[0] == "c"


def test_an_oversized_message_is_set_aside_without_closing_its_topic():
    delivery = Delivery()
    for name in "abc":
        delivery.record(name, opt_out=False, result=LARGE, now=0)
    assert choose(delivery, dict.fromkeys("abcd", False), 0)[0] == "d"
    assert choose(delivery, dict.fromkeys("abc", False), 1e9) == (None, math.inf)


def test_a_lost_connection_keeps_the_order_once_and_then_lets_others_try():
    delivery = Delivery()
    waiting = dict.fromkeys("abc", False)
    tried = []
    for now in range(5):
        delivery.connected(now)
        name, _ = choose(delivery, waiting, now)
        tried.append(name)
        delivery.record(name, opt_out=False, result=LOST, now=now)
    assert "".join(tried) == "aabca"


def test_a_message_that_ends_every_connection_does_not_stop_the_others():
    delivery = Delivery()
    waiting = {"poison": False} | {f"m{i}": False for i in range(50)}
    now, losses = 0.0, 0
    while len(waiting) > 1:
        name, _ = choose(delivery, waiting, now)
        assert name is not None
        if name == "poison":
            losses += 1
            delivery.record(name, opt_out=False, result=LOST, now=now)
            now += 0.5
            delivery.connected(now)
        else:
            delivery.record(name, opt_out=False, result=ACK, now=now)
            del waiting[name]
            now += 0.1
    assert losses <= 5


def test_what_no_longer_waits_is_forgotten_after_a_full_look():
    delivery = Delivery()
    for name in "abc":
        delivery.record(name, opt_out=False, result=REFUSED, now=0)
    choose(delivery, {"a": False}, 0)
    assert len(delivery) == 1


class Simulation:
    """A broker whose topics open and close, in which some messages are refused or end the connection until a cure."""

    def __init__(
        self, waiting: dict[str, bool], verdicts: dict[str, SendResult], closed: dict[bool, float], cure: float
    ):
        self.waiting = dict(waiting)
        self.verdicts, self.closed, self.cure = verdicts, closed, cure
        self.delivery = Delivery()
        self.delivery.connected(0)
        self.now = 0.0
        self.attempts: dict[str, list[float]] = defaultdict(list)

    def outcome(self, name: str) -> SendResult:
        if self.now >= self.cure:
            return ACK
        if self.now < self.closed.get(self.waiting[name], 0):
            return REFUSED
        return self.verdicts.get(name, ACK)

    def run(self, until: float) -> None:
        while self.waiting and self.now < until:
            name, next_at = choose(self.delivery, self.waiting, self.now)
            if name is None:
                assert next_at > self.now
                self.now = min(next_at, until)
                continue
            self.attempts[name].append(self.now)
            outcome = self.outcome(name)
            verdict = self.delivery.record(name, opt_out=self.waiting[name], result=outcome, now=self.now)
            assert verdict.done == (outcome is ACK)
            if outcome is ACK:
                del self.waiting[name]
            self.now += 0.01
            if outcome is LOST:
                self.now += 0.5
                self.delivery.connected(self.now)


messages = st.dictionaries(st.sampled_from([f"m{i}" for i in range(12)]), st.booleans(), min_size=1)
verdicts = st.dictionaries(st.sampled_from([f"m{i}" for i in range(12)]), st.sampled_from([REFUSED, LOST]))
closed = st.dictionaries(st.booleans(), st.floats(0, 400))


@settings(max_examples=150, deadline=None)
@given(waiting=messages, bad=verdicts, closed=closed, cure=st.floats(0, 600))
def test_everything_is_delivered_within_a_minute_of_the_cure_whatever_went_wrong_before(waiting, bad, closed, cure):
    simulation = Simulation(waiting, bad, closed, cure)
    simulation.run(cure + ALONE_S + PROBE_S)
    assert not simulation.waiting


@settings(max_examples=150, deadline=None)
@given(waiting=messages, until=st.floats(0, 600))
def test_after_a_topic_was_closed_everything_goes_within_seconds_of_its_opening(waiting, until):
    simulation = Simulation(waiting, {}, {False: until, True: until}, math.inf)
    simulation.run(until + PROBE_S + 1)
    assert not simulation.waiting


@settings(max_examples=150, deadline=None)
@given(waiting=messages, bad=verdicts, closed=closed)
def test_messages_that_nothing_is_wrong_with_are_never_held_up_by_those_that_are_refused(waiting, bad, closed):
    simulation = Simulation(waiting, bad, closed, math.inf)
    simulation.run(max(closed.values(), default=0) + 2 * PROBE_S * len(waiting) + 30)
    assert set(simulation.waiting) <= set(bad)


@settings(max_examples=100, deadline=None)
@given(waiting=messages, bad=verdicts)
def test_attempts_are_bounded_and_everybody_gets_a_turn(waiting, bad):
    refused = dict.fromkeys(bad, REFUSED)
    simulation = Simulation(waiting, refused, {False: math.inf, True: math.inf}, math.inf)
    simulation.run(300)
    assert set(simulation.attempts) == set(waiting)
    for opt_out in (False, True):
        times = sorted(t for name, at in simulation.attempts.items() if waiting[name] == opt_out for t in at)
        assert len(times) <= 300 / PROBE_S + 6
        counts = [len(at) for name, at in simulation.attempts.items() if waiting[name] == opt_out]
        if counts:
            assert max(counts) - min(counts) <= 2


@pytest.mark.parametrize("outcome", [REFUSED, LOST])
def test_counters_that_grow_for_weeks_do_not_overflow(outcome):
    delivery = Delivery()
    for now in range(3000):
        delivery.record("bad", opt_out=False, result=outcome, now=now)
        verdict = delivery.record("worse", opt_out=False, result=outcome, now=now)
        delivery.record("good", opt_out=False, result=ACK, now=now)
    assert verdict.retry_at - now <= ALONE_S


NOBODY = SendResult.NOBODY


def refuse_two(delivery: Delivery, outcome: SendResult, now: float) -> None:
    """Have a topic with two messages look closed, and all of ``a`` to ``e`` known to wait."""
    for name in "ab":
        delivery.record(name, opt_out=False, result=outcome, now=now)
    assert choose(delivery, dict.fromkeys("abcde", False), now)[0] is None


@pytest.mark.parametrize("outcome", [REFUSED, NOBODY])
def test_what_is_stored_while_a_topic_looks_closed_is_tried_at_once_and_once(outcome):
    delivery = Delivery()
    refuse_two(delivery, outcome, 0)
    assert choose(delivery, {**dict.fromkeys("abcde", False), "new": False}, 0)[0] == "new"
    delivery.record("new", opt_out=False, result=outcome, now=0)
    assert choose(delivery, {**dict.fromkeys("abcde", False), "new": False}, 0)[0] is None


def test_a_success_opens_a_closed_topic_also_for_those_that_waited_for_the_next_probe():
    delivery = Delivery()
    refuse_two(delivery, NOBODY, 0)
    for now in (1.0, 3.0, 7.0, 15.0):  # the next probe is far away by now
        delivery.record("a", opt_out=False, result=NOBODY, now=now)
    assert choose(delivery, dict.fromkeys("bcde", False), 16.0) == (None, 31.0)
    delivery.record("new", opt_out=False, result=ACK, now=16.0)
    assert choose(delivery, dict.fromkeys("cde", False), 16.0)[0] == "c"
    delivery.record("c", opt_out=False, result=NOBODY, now=16.0)
    assert choose(delivery, dict.fromkeys("de", False), 16.0)[0] == "d"  # a single refusal closes nothing


def test_a_new_connection_opens_a_closed_topic_before_its_next_probe():
    delivery = Delivery()
    refuse_two(delivery, NOBODY, 0)
    delivery.connected(0.5)
    assert choose(delivery, dict.fromkeys("cde", False), 0.5)[0] == "c"


def test_a_message_nobody_is_subscribed_to_is_tried_ever_more_seldom_up_to_once_a_minute():
    delivery = Delivery()
    waits = [delivery.record("a", opt_out=False, result=NOBODY, now=0).retry_at for _ in range(9)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_topic_nobody_is_subscribed_to_is_probed_ever_more_seldom_up_to_once_a_minute():
    delivery = Delivery()
    waiting = dict.fromkeys("abcdefgh", False)
    now, times = 0.0, []
    while now < 600:
        name, at = choose(delivery, waiting, now)
        if name is None:
            now = at
            continue
        times.append(now)
        delivery.record(name, opt_out=False, result=NOBODY, now=now)
    assert times == [0, 0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303, 363, 423, 483, 543]


def test_a_message_that_took_the_connection_with_it_is_due_at_once_the_first_time():
    delivery = Delivery()
    assert delivery.record("a", opt_out=False, result=LOST, now=3).retry_at == 3


def test_what_was_stored_before_a_topic_closed_is_not_taken_for_new():
    delivery = Delivery()
    assert choose(delivery, {}, 0)[0] is None  # a look at an empty outbox
    refuse_two(delivery, REFUSED, 0)
    assert choose(delivery, dict.fromkeys("abcde", False), 0) == (None, 1.0)


def test_a_delivered_message_is_forgotten_at_once():
    delivery = Delivery()
    delivery.record("a", opt_out=False, result=REFUSED, now=0)
    delivery.record("a", opt_out=False, result=ACK, now=1)
    assert len(delivery) == 0


def test_after_a_success_the_oldest_goes_first_again_however_many_connections_were_lost_before():
    delivery = Delivery()
    for name in "ab":
        delivery.record(name, opt_out=False, result=LOST, now=0)
    delivery.record("c", opt_out=False, result=ACK, now=1)
    assert choose(delivery, dict.fromkeys("abd", False), 1)[0] == "a"


def test_a_success_on_the_other_topic_speaks_against_a_message_that_ends_connections():
    delivery = Delivery()
    delivery.record("a", opt_out=False, result=LOST, now=0)
    delivery.record("private", opt_out=True, result=ACK, now=0)
    assert delivery.record("a", opt_out=False, result=LOST, now=0).retry_at == 2


def test_a_success_on_the_other_topic_says_nothing_of_a_refused_message():
    delivery = Delivery()
    for _ in range(2):
        delivery.record("a", opt_out=False, result=REFUSED, now=0)
    delivery.record("private", opt_out=True, result=ACK, now=0)
    assert [delivery.record("a", opt_out=False, result=REFUSED, now=0).retry_at for _ in range(3)] == [4, 5, 5]


def test_a_success_on_its_topic_speaks_against_a_refused_message_however_short_its_waits_were():
    delivery = Delivery()
    waits = []
    for now in (0, 0, 0, 0):
        waits.append(delivery.record("a", opt_out=False, result=REFUSED, now=now).retry_at)
        delivery.record(f"b{len(waits)}", opt_out=False, result=ACK, now=now)
    assert waits == [1, 2, 4, 8]
