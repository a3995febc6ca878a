"""Brokers that can do less than others, or answer that nobody is subscribed where somebody is: requests go out."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from support.broker import Broker, Listener, await_true
from support.faulty_broker import ScriptedBroker
from support.outbox import BASE
from support.sending import Sending, link_to

from device.edges.mqtt import Connected, Connection
from device.sending.reconnect import Reconnect

REVIEWABLE, EVENT = f"{BASE}/request/reviewable", f"{BASE}/event"
RETAIN_AVAILABLE_0, MAXIMUM_QOS_0 = b"\x25\x00", b"\x24\x00"


def waits(seconds):
    """Let the time pass in which a wrong sender would do something."""
    began = time.monotonic()
    await_true(lambda: time.monotonic() - began > seconds)


class TestWithoutRetainedMessages:
    def test_mosquitto_that_keeps_none_gets_requests_states_and_the_last_will(self, tmp_path):
        with Broker(tmp_path, "retain_available false") as broker, Listener(broker.port, f"{BASE}/#") as listener:
            with Sending(broker.port) as sending:
                sending.sender.set_state("review", b"opted out")
                sending.put(1)
                sending.drained()
                assert {listener.next().topic for _ in range(3)} == {f"{BASE}/review", f"{BASE}/status", REVIEWABLE}
                assert len(sending.named("states-not-kept")) == 1
                assert not sending.named("broker-unavailable")
                assert not sending.named("broker-lost")
            assert listener.next("status").payload == b"offline"
            connection = Connection(link_to(broker.port), "5", retain=False)
            connection.open()
            while not any(isinstance(one, Connected) for one in connection.take()):
                connection.step(1)
            connection.close(say_goodbye=False)
            assert listener.next("status").payload == b"offline"

    @pytest.mark.parametrize("how", ["announces it", "refuses the will"])
    def test_a_broker_that_said_so_as_it_was_connected_to_gets_no_retained_state(self, how):
        with ScriptedBroker() as broker:
            if how == "announces it":
                broker.connack_properties = RETAIN_AVAILABLE_0
            else:
                broker.refuse = lambda greeted: 154 if greeted.will_retain else 0
            with Sending(broker.port) as sending:
                sending.put(1)
                sending.drained()
                await_true(lambda: any(one.payload == b"online" for one in broker.published))
            assert not any(one.retain for one in broker.published)

    @pytest.mark.parametrize(
        "how", ["refuses the will", "says goodbye at a state", "refuses a state", "closes at a state", "goodbye 135"]
    )
    def test_however_a_broker_says_so_states_go_unretained_and_requests_go_out(self, how):
        with ScriptedBroker() as broker:
            if how == "refuses the will":
                broker.refuse = lambda greeted: 154 if greeted.will_retain else 0
                broker.connack_properties = RETAIN_AVAILABLE_0
            elif how == "says goodbye at a state":
                broker.goodbye = lambda one: 154 if one.retain else 0
            elif how == "goodbye 135":
                broker.goodbye = lambda one: 135 if one.retain else 0
            elif how == "refuses a state":
                broker.answer = lambda one: 154 if one.retain else 0
            else:

                def close(one):
                    if one.retain:
                        raise EOFError
                    return 0

                broker.answer = close
            with Sending(broker.port) as sending:
                sending.put(1)
                sending.drained()
                await_true(lambda: [one for one in broker.published if one.payload == b"online" and not one.retain])
                assert len(sending.named("states-not-kept")) == 1
            await_true(lambda: broker.published[-1].payload == b"offline")
            assert not broker.published[-1].retain
            assert len(broker.requests()) == 1

    def test_a_broker_that_ends_the_connection_at_every_state_gets_the_requests_all_the_same(self, monkeypatch):
        def close(one):
            if "/request/" not in one.topic:
                raise EOFError
            return 0

        monkeypatch.setattr(Reconnect, "pause_s", lambda *_: 0.01)
        with ScriptedBroker(close) as broker, Sending(broker.port) as sending:
            sending.put(1)
            sending.drained()
            sending.put(2)
            sending.drained()

    def test_a_broker_that_keeps_them_again_after_a_restart_is_given_retained_states_again(self, tmp_path):
        broker = Broker(tmp_path, "retain_available false")
        with broker, Sending(broker.port) as sending:
            sending.awaited("states-not-kept")
            broker.settings.clear()
            broker.restart()
            await_true(lambda: len(sending.named("broker-connected")) == 2)
            sending.drained()
            with Listener(broker.port, f"{BASE}/status") as late:
                assert late.next().retain

    def test_a_broker_that_dies_twice_while_a_state_is_under_way_keeps_them_all_the_same(self):
        died = []

        def die(one):
            if len(died) < 2:
                died.append(one)
                raise EOFError
            return 0

        with ScriptedBroker(die) as broker, Sending(broker.port) as sending:
            await_true(lambda: len(broker.published) >= 3)
            broker.cut()
            await_true(lambda: broker.published[-1].retain)
            sending.drained()


@pytest.mark.parametrize("how", ["announced", "refused at the last will"])
def test_a_broker_that_acknowledges_nothing_gets_no_request_and_is_named(how):
    with ScriptedBroker() as broker:
        if how == "announced":
            broker.connack_properties = MAXIMUM_QOS_0
        else:
            broker.refuse = lambda greeted: 155 if greeted.will_qos else 0
        with Sending(broker.port) as sending:
            sending.put(1)
            assert "QoS 0 only" in sending.awaited("broker-unavailable")["problem"]
            waits(1)
            assert not broker.published
            assert len(broker.accepted_at) < 5


class TestNobodyIsSubscribed:
    def test_a_broker_that_says_so_of_what_it_delivers_gets_each_request_once(self):
        """The rest of them, too, which were stored while the first was under way."""
        with ScriptedBroker(lambda one: 16) as broker, Sending(broker.port) as sending:
            broker.echoes = True
            ids = sending.put(*range(12))
            sending.drained()
            assert sorted(sending.outbox.acknowledged) == ids
            assert Counter(Counter(one.payload for one in broker.requests()).values()) == {1: 12}
            assert len(sending.named("broker-misreports")) == 1
            assert sorted(fields["id"] for fields in sending.named("sent")) == ids
            assert not sending.named("not-sent")
            assert broker.subscriptions.count(EVENT) == 1

    def test_it_is_asked_once_a_connection_and_only_when_that_is_answered(self, tmp_path):
        with ScriptedBroker() as broker, Sending(broker.port) as sending:
            sending.put(1)
            sending.drained()
            assert EVENT not in broker.subscriptions
            broker.answer, broker.echoes = (lambda one: 16 if "/request/" in one.topic else 0), True
            sending.put(2, 3)
            await_true(lambda: len(sending.outbox.problems) >= 3)
            assert broker.subscriptions.count(EVENT) == 1
            broker.cut()
            await_true(lambda: broker.subscriptions.count(EVENT) == 2)
            assert sending.outbox.count() == 2

    @pytest.mark.parametrize(
        "how", ["may not subscribe", "may not publish", "does not hear itself", "no answer", "hears another"]
    )
    def test_without_proof_of_a_lie_a_request_is_kept_and_repeated_ever_more_seldom(self, how):
        with ScriptedBroker() as broker:
            broker.answer = lambda one: {
                "may not publish": 135 if one.topic == EVENT and one.qos else 16,
                "no answer": 16 if one.topic != EVENT else None,
            }.get(how, 16)
            broker.suback = lambda topic: 0x87 if how == "may not subscribe" and topic == EVENT else 1
            broker.retained = {EVENT: b'{"event":"stored"}'} if how == "hears another" else {}
            with Sending(broker.port) as sending:
                sending.put(1)
                problem = f"nobody is subscribed to {REVIEWABLE}; kept, tried again"
                assert sending.awaited("not-sent")["problem"] == problem
                waits(4)
                assert 2 <= len(broker.requests()) <= 4
                assert sending.outbox.count() == 1
                assert sending.outbox.problems[-1][1] == problem
                assert not sending.named("broker-misreports")

    def test_only_some_of_many_are_sent_to_nobody_while_that_is_tested(self):
        with ScriptedBroker(lambda one: 16) as broker, Sending(broker.port) as sending:
            sending.put(*range(200))
            sending.awaited("not-sent")
            assert len(broker.requests()) <= 10
            waits(1.5)
            assert len(broker.requests()) <= 12
            assert sending.outbox.count() == 200

    def test_what_is_stored_meanwhile_is_tried_at_once_and_not_behind_those(self):
        """Else a broker that is wrong about it would get new requests as slowly as it is probed with old ones."""
        with ScriptedBroker(lambda one: 16) as broker, Sending(broker.port) as sending:
            sending.put(*range(10))
            await_true(lambda: len(sending.outbox.problems) >= 5)
            for number in range(100, 105):
                count = len(broker.requests())
                sending.put(number)
                await_true(lambda count=count: len(broker.requests()) > count, timeout_s=0.9)
                assert broker.requests()[-1].payload == number.to_bytes(4, "little") * 8

    def test_with_mosquitto_it_is_believed_and_over_once_somebody_is(self, tmp_path):
        with Broker(tmp_path) as broker, Sending(broker.port) as sending:
            ids = sending.put(*range(10))
            sending.awaited("not-sent")
            assert not sending.outbox.acknowledged
            with Listener(broker.port, f"{BASE}/request/+") as listener:
                sending.put(100)  # opens the topic for all
                sending.drained(3)
                assert len({listener.next().payload for _ in range(11)}) == 11
            assert set(ids) < set(sending.outbox.acknowledged)

    def test_a_broker_that_learns_the_truth_on_the_next_connection_is_believed_there(self):
        with ScriptedBroker(lambda one: 16) as broker, Sending(broker.port) as sending:
            broker.echoes = True
            sending.put(1)
            sending.drained()
            broker.answer = lambda one: 16 if "/request/" in one.topic else 0
            broker.cut()
            await_true(lambda: len(sending.named("broker-connected")) == 2)
            sending.put(2)
            sending.awaited("not-sent")
            assert sending.outbox.count() == 1

    def test_where_requests_may_be_dropped_nothing_is_asked(self):
        with ScriptedBroker(lambda one: 16) as broker, Sending(broker.port, no_subscriber="drop") as sending:
            sending.put(1)
            sending.drained()
            assert EVENT not in broker.subscriptions
            assert sending.named("dropped")
