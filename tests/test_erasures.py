"""What is withdrawn is told to a real broker: before any request, until it has the notice, if anybody listens."""

import json

import pytest
from support.broker import Broker, Listener, await_true, listening
from support.outbox import BASE, MemoryOutbox, tag_of
from support.sending import Sending

from device.daemon import erasures
from device.errors import StoreBusyError
from device.message.erasure import MOST_IDS

IDS = [tag_of(number).id for number in range(1_200)]


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with Broker(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@pytest.fixture
def everything(broker):
    with Listener(broker.port, f"{BASE}/erase", f"{BASE}/request/#") as listener:
        yield listener


def test_what_is_withdrawn_is_told_before_what_waits_and_noted_once_the_broker_has_it(broker, everything):
    outbox = MemoryOutbox()
    outbox.history.asked = IDS[:2]
    waiting = outbox.put(5)
    with Sending(broker.port, outbox) as sending:
        sending.drained()
        first, second = everything.next(), everything.next()
    assert first.topic == f"{BASE}/erase"
    assert json.loads(first.payload) == {"schema": 1, "ids": IDS[:2]}
    assert not first.retain
    assert dict(second.properties["UserProperty"])["id"] == waiting
    assert outbox.history.told == IDS[:2]
    assert sending.named("erasure-sent") == [{"count": 2}]


def test_what_is_withdrawn_while_connected_is_told_at_once(broker, everything):
    with Sending(broker.port) as sending:
        await_true(lambda: sending.sender.connected)
        sending.outbox.history.asked = IDS[:1]
        sending.sender.notify()
        assert json.loads(everything.next("erase").payload)["ids"] == IDS[:1]


def test_very_many_are_told_in_several_notices(broker, everything):
    outbox = MemoryOutbox()
    outbox.history.asked = list(IDS)
    with Sending(broker.port, outbox) as sending:
        sending.drained()
        notices = [json.loads(everything.next("erase").payload)["ids"] for _ in range(3)]
    assert [len(notice) for notice in notices] == [MOST_IDS, MOST_IDS, 200]
    assert [each for notice in notices for each in notice] == IDS == outbox.history.told


def test_where_nobody_is_subscribed_it_is_kept_and_told_later_and_requests_go_on(broker, monkeypatch):
    monkeypatch.setattr(erasures, "RETRY_S", 0.3)
    outbox = MemoryOutbox()
    outbox.history.asked = IDS[:1]
    with listening(broker.port, f"{BASE}/request/#") as requests, Sending(broker.port, outbox) as sending:
        assert sending.awaited("erasure-waits")["problem"] == "nobody is subscribed to it"
        sending.put(7)
        requests.next("request/reviewable")
        sending.drained()
        assert outbox.history.told == []
        with Listener(broker.port, f"{BASE}/erase") as late:
            assert json.loads(late.next("erase").payload)["ids"] == IDS[:1]
            await_true(lambda: outbox.history.told == IDS[:1])


def test_where_requests_for_nobody_are_dropped_so_is_the_notice(broker):
    outbox = MemoryOutbox()
    outbox.history.asked = IDS[:1]
    with Sending(broker.port, outbox, no_subscriber="drop") as sending:
        sending.drained()
        assert outbox.history.told == IDS[:1]


def test_a_refused_notice_is_said_and_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(erasures, "RETRY_S", 0.2)
    outbox = MemoryOutbox()
    outbox.history.asked = IDS[:1]
    broker = Broker(tmp_path)
    broker.settings.append(broker.acl_file("topic read #\n"))
    with broker, Sending(broker.port, outbox) as sending:
        assert "refused: not authorized" in sending.awaited("erasure-waits")["problem"]
        tried = f"Denied PUBLISH from {sending.link.client_id}"
        await_true(lambda: broker.log.read_text().count(tried) > 1, broker.log.read_text())
    assert outbox.history.told == []


def test_a_busy_store_keeps_nothing_else_waiting_and_is_asked_again(broker, everything, monkeypatch):
    monkeypatch.setattr(erasures, "RETRY_S", 0.2)
    outbox = MemoryOutbox()
    answers = iter([StoreBusyError("locked"), IDS[:1]])

    def to_erase(at_most):
        answer = next(answers, [])
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(outbox.history, "to_erase", to_erase)
    with Sending(broker.port, outbox) as sending:
        assert sending.awaited("erasure-waits")["problem"].startswith("locked")
        assert json.loads(everything.next("erase").payload)["ids"] == IDS[:1]


def test_a_connection_lost_on_the_way_brings_it_again(tmp_path):
    outbox = MemoryOutbox()
    with Broker(tmp_path) as broker, Sending(broker.port, outbox) as sending:
        await_true(lambda: sending.sender.connected)
        broker.stop()
        outbox.history.asked = IDS[:1]
        sending.sender.notify()
        broker.start()
        with Listener(broker.port, f"{BASE}/erase") as late:
            assert json.loads(late.next("erase").payload)["ids"] == IDS[:1]
        await_true(lambda: outbox.history.told == IDS[:1])
