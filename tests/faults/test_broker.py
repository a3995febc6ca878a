"""Whatever a broker does: nothing lost, nothing else held up, told once, back within seconds of the cure."""

from __future__ import annotations

import gc
import resource
import signal
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.broker import Broker, Listener, await_true, free_port, make_certificates
from support.faulty_broker import Proxy, ScriptedBroker
from support.ledger import note
from support.outbox import BASE
from support.sending import Sending, link_to

from device.edges.mqtt import Connection, Interrupt
from device.sending.delivery import PROBE_S
from device.sending.reconnect import SLOWEST_LOGIN_S, SLOWEST_S, Reconnect
from device.sending.repeats import INTERVAL_S

pytestmark = pytest.mark.usefixtures("ledger", "named_fault")

RECOVERY_S = SLOWEST_S + 3  # the longest pause, and what a busy machine needs to start a broker and connect
REVIEWABLE = f"{BASE}/request/reviewable"
PRIVATE = f"{BASE}/request/opted-out"


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path) as broker:
        yield broker


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def named_fault(request):
    """What the test that runs breaks, as the ledger calls it."""
    name = request.node.originalname.removeprefix("test_").replace("_", " ")
    FAULT.append(f"broker: {name}")
    yield FAULT[-1]
    FAULT.pop()


FAULT: list[str] = []


def waits(sending, seconds):
    """Let a fault last: the time passes in the sender, not in the test's logic."""
    began = time.monotonic()
    await_true(lambda: sending.sender.worker.failure or time.monotonic() - began > seconds, timeout_s=seconds + 5)
    assert sending.sender.worker.failure is None


def recovers(sending, since, within_s=RECOVERY_S):
    """Everything waiting arrives within seconds of the cure."""
    sending.drained(within_s)
    recovery_s = time.monotonic() - since
    outbox = sending.outbox
    lost = outbox.stored - len(set(outbox.acknowledged)) - len(outbox.waiting)
    note(FAULT[-1], injected=1, stored=outbox.stored - outbox.noted, lost=lost, recovery_s=recovery_s)
    outbox.noted = outbox.stored
    assert recovery_s < within_s
    assert not outbox.waiting


def test_away_at_the_start_is_told_once_and_retried_until_it_comes(tmp_path):
    broker = Broker(tmp_path)
    with Sending(broker.port) as sending:
        sending.put(1, 2)
        waits(sending, 2.5)
        assert not sending.sender.connected
        (told,) = sending.named("broker-unavailable")
        assert "nothing listens" in told["problem"]
        with broker, Listener(broker.port, "#"):
            recovers(sending, time.monotonic())


def test_restarting_brokers_lose_nothing_and_status_is_right_after_each(tmp_path):
    broker = Broker(tmp_path, "persistence true", f"persistence_location {tmp_path}/")
    with broker, Sending(broker.port, no_subscriber="drop") as sending:
        stored = []
        for round_ in range(3):
            stored += sending.put(*range(100 * round_, 100 * round_ + 60), size=2000)
            broker.stop(how=signal.SIGKILL if round_ % 2 else signal.SIGTERM)
            waits(sending, 0.3)
            broker.start()
            recovers(sending, time.monotonic())
            with Listener(broker.port, f"{BASE}/status") as listener:
                assert listener.next().payload == b"online"
        assert set(sending.outbox.acknowledged) == set(stored)


def test_what_was_under_way_when_the_broker_died_is_sent_again_with_the_same_id(tmp_path):
    died = []

    def die_once(published):
        if published.topic == REVIEWABLE and not died:
            died.append(published)
            raise EOFError
        return 0

    with ScriptedBroker(die_once) as broker, Sending(broker.port) as sending:
        ids = sending.put(1, 2)
        sending.drained()
        assert broker.requests()[0].payload == died[0].payload
        assert Counter(one.payload for one in broker.requests()) == {
            died[0].payload: 2,
            broker.requests()[-1].payload: 1,
        }
        assert sending.outbox.acknowledged == ids
        assert not sending.named("broker-lost")[0]["problem"].endswith(";")


def test_a_refused_login_is_retried_slower_and_works_once_the_password_is_right(tmp_path):
    broker = Broker(tmp_path, anonymous=False)
    broker.settings.append(broker.password_file(kitchen="other"))
    with broker, Sending(broker.port, username="kitchen", password="right") as sending:  # noqa: S106 - made up
        sending.put(1)
        told = sending.awaited("broker-unavailable")["problem"]
        assert "[mqtt] username" in told
        assert "right" not in told
        waits(sending, 2)
        assert not sending.sender.connected
        assert broker.log.read_text().count("New connection") <= 6
        broker.password_file(kitchen="right")
        broker.signal(signal.SIGHUP)
        with Listener(broker.port, "#", username="kitchen", password="right"):  # noqa: S106 - made up
            recovers(sending, time.monotonic(), SLOWEST_LOGIN_S + 3)


def test_a_denied_topic_holds_its_requests_and_no_others_until_the_access_list_allows_it(tmp_path):
    broker = Broker(tmp_path)
    allowed = f"topic readwrite {PRIVATE}\ntopic write {BASE}/status\n"
    broker.settings.append(broker.acl_file(allowed))
    with broker, Listener(broker.port, PRIVATE), Sending(broker.port) as sending:
        denied = sending.put(*range(5))
        private = sending.put(*range(10, 15), opt_out=True)
        await_true(lambda: sending.outbox.acknowledged == private)
        assert sending.sender.connected
        assert "(135)" in sending.named("not-sent")[0]["problem"]
        assert len(sending.named("not-sent")) == 1
        waits(sending, 1.5)
        assert len(sending.outbox.problems) <= 4
        broker.acl_file(f"topic readwrite {REVIEWABLE}\n{allowed}")
        broker.signal(signal.SIGHUP)
        with Listener(broker.port, REVIEWABLE):
            recovers(sending, time.monotonic())
        assert set(sending.outbox.acknowledged) == set(denied + private)


def test_whatever_reason_a_publish_is_refused_with_it_stays_and_goes_once_that_is_over():
    over = []
    reasons = [128, 131, 144, 145, 151, 153]

    def answer(one):
        return 0 if over or "request" not in one.topic else reasons[len(broker.requests()) % len(reasons)]

    with ScriptedBroker(answer) as broker, Sending(broker.port) as sending:
        ids = sending.put(1, 2, 3) + sending.put(4, 5, 6, opt_out=True)
        await_true(lambda: len(broker.requests()) >= 8)
        assert sending.outbox.count() == 6
        assert {int(told["problem"].rpartition("(")[2][:3]) for told in sending.named("not-sent")} == set(reasons)
        over.append(True)
        recovers(sending, time.monotonic())
        assert sorted(sending.outbox.acknowledged) == ids


def test_one_message_the_broker_never_takes_does_not_block_the_others():
    bad = (7).to_bytes(4, "little") * 8
    with ScriptedBroker(lambda one: 151 if one.payload == bad else 0) as broker, Sending(broker.port) as sending:
        sending.put(7, *range(20, 60))
        await_true(lambda: sending.outbox.count() == 1)
        assert len(sending.outbox.acknowledged) == 40
        assert Counter(one.payload for one in broker.requests())[bad] <= 3
        assert len(sending.named("not-sent")) == 1


def test_nobody_subscribed_keeps_requests_until_somebody_is(broker):
    with Sending(broker.port) as sending:
        sending.put(*range(10))
        assert sending.awaited("not-sent")["problem"] == f"nobody is subscribed to {REVIEWABLE}; kept, tried again"
        waits(sending, 1.5)
        assert sending.outbox.count() == 10
        with Listener(broker.port, REVIEWABLE) as listener:
            recovers(sending, time.monotonic())
            assert len({listener.next().payload for _ in range(10)}) == 10


def test_a_single_request_that_nobody_wanted_goes_within_seconds_of_the_first_subscription(broker):
    with Sending(broker.port) as sending:
        sending.put(1)
        await_true(lambda: len(sending.outbox.problems) >= 3)
        with Listener(broker.port, REVIEWABLE):
            recovers(sending, time.monotonic(), PROBE_S + 1)


def test_nobody_subscribed_drops_requests_where_that_is_configured_and_says_so(broker):
    with Sending(broker.port, no_subscriber="drop") as sending:
        ids = sending.put(1, 2)
        sending.drained()
        assert [fields["id"] for fields in sending.named("dropped")] == ids
        assert not sending.named("sent")


def test_no_acknowledgement_ends_the_connection_and_the_next_one_sends_it_again():
    cured = []

    def answer(one):
        return 0 if cured or "request" not in one.topic else None

    with ScriptedBroker(answer) as broker, Sending(broker.port, ack_timeout_s=0.5) as sending:
        ids = sending.put(1, 2, 3)
        await_true(lambda: len({one.connection for one in broker.requests()}) >= 3)
        assert "no acknowledgement within 0.5 s" in sending.named("broker-lost")[0]["problem"]
        assert all(count == 1 for count in Counter(one.connection for one in broker.requests()).values())
        assert len({one.payload for one in broker.requests()}) > 1  # no single one is tried for ever
        cured.append(True)
        recovers(sending, time.monotonic())
        assert sorted(sending.outbox.acknowledged) == ids


def test_a_message_that_ends_every_connection_does_not_stop_the_others():
    bad = (7).to_bytes(4, "little") * 8

    def answer(one):
        if one.payload == bad:
            raise EOFError
        return 0

    with ScriptedBroker(answer) as broker, Sending(broker.port) as sending:
        sending.put(7, *range(20, 60))
        await_true(lambda: sending.outbox.count() == 1)
        assert len(sending.outbox.acknowledged) == 40
        assert Counter(one.payload for one in broker.requests())[bad] <= 4


def test_over_the_brokers_maximum_packet_a_request_is_set_aside_the_others_go_and_a_larger_limit_frees_it(tmp_path):
    broker = Broker(tmp_path, "max_packet_size 4000")
    with broker, Sending(broker.port, no_subscriber="drop") as sending:
        (large,) = sending.put(1, size=8000)
        small = sending.put(2, 3, 4, size=1000)
        await_true(lambda: sending.outbox.acknowledged == small)
        told = sending.awaited("set-aside")
        assert told["id"] == large
        assert "more than the broker's maximum of 4000" in told["problem"]
        waits(sending, 1)
        assert len(sending.named("broker-connected")) == 1
        broker.settings[0] = "max_packet_size 20000"
        broker.restart()
        recovers(sending, time.monotonic())
        assert sending.outbox.acknowledged == [*small, large]


@pytest.mark.parametrize("when", ["before", "after"])
def test_accepting_then_closing_is_retried_without_hammering(when):
    with ScriptedBroker() as broker:
        if when == "before":
            broker.connack = {4: None, 5: None}
        else:
            broker.answer = lambda one: (_ for _ in ()).throw(EOFError)
        with Sending(broker.port) as sending:
            sending.put(1)
            waits(sending, 2.5)
            assert 2 <= len(broker.accepted_at) <= 10
            pauses = [
                later - earlier for earlier, later in zip(broker.accepted_at, broker.accepted_at[2:], strict=False)
            ]
            assert max(pauses) > 0.7
            broker.connack, broker.answer = {}, lambda one: 0
            recovers(sending, time.monotonic())
            assert broker.levels[-1] == 5


def test_half_open_under_way_is_given_up_after_the_timeout_and_sent_anew(broker):
    with (
        Proxy(broker.port) as proxy,
        Listener(broker.port, REVIEWABLE),
        Sending(proxy.port, ack_timeout_s=1) as sending,
    ):
        sending.connected()
        sending.drained()
        proxy.hold()
        sending.put(1, size=600_000)
        recovers(sending, time.monotonic(), 1 + 2 + 3)
        assert "no acknowledgement" in sending.named("broker-lost")[0]["problem"]
        with Listener(broker.port, f"{BASE}/status") as listener:
            assert listener.next().payload == b"online"  # the old connection's last will came before, not after


def test_half_open_while_idle_is_found_by_the_keep_alive(broker):
    with Proxy(broker.port) as proxy, Sending(proxy.port, keepalive_s=2) as sending:
        sending.connected()
        sending.drained()
        proxy.hold()
        sending.awaited("broker-lost", 8)
        sending.connected()


def test_half_open_with_nothing_but_events_on_the_way_is_found_too(broker):
    """They are answered by nobody, and behind them the keep-alive's question waits as well."""
    with Proxy(broker.port) as proxy, Sending(proxy.port, ack_timeout_s=1) as sending:
        sending.drained()
        sending.connected()
        proxy.hold()
        for _ in range(20):
            sending.sender.event(bytes(400_000))
        assert "no acknowledgement" in sending.awaited("broker-lost", 8)["problem"]
        sending.connected()


def test_a_stopped_broker_counts_as_lost_and_is_used_again_when_it_goes_on(broker):
    with Listener(broker.port, REVIEWABLE), Sending(broker.port, ack_timeout_s=1) as sending:
        sending.drained()
        broker.signal(signal.SIGSTOP)
        try:
            sending.put(1)
            sending.awaited("broker-lost")
        finally:
            broker.signal(signal.SIGCONT)
        recovers(sending, time.monotonic(), 5 + RECOVERY_S)  # a greeting that nobody answered ends first


def test_a_slow_link_that_still_moves_bytes_is_no_timeout(broker):
    with (
        Proxy(broker.port) as proxy,
        Listener(broker.port, REVIEWABLE) as listener,
        Sending(proxy.port, ack_timeout_s=1.1, keepalive_s=1) as sending,
    ):
        sending.connected()
        sending.drained()
        proxy.slow(100_000)
        began = time.monotonic()
        sending.put(1, size=300_000)
        sending.drained(20)
        assert time.monotonic() - began > 2.2
        assert not sending.named("broker-lost")
        assert len(listener.next().payload) == 300_000


@pytest.mark.parametrize(
    ("name", "word"), [("expired", "expired"), ("elsewhere", "another name"), ("stranger", "self-sig")]
)
def test_a_wrong_certificate_keeps_everything_here_until_it_is_right(tmp_path, certificates, name, word):
    broker = Broker(tmp_path, f"certfile {certificates.certificate(name)}", f"keyfile {certificates.key(name)}")
    link = link_to(broker.port, host="localhost", tls=True, ca_file=certificates.ca, no_subscriber="drop")
    with broker, Sending(link) as sending:
        sending.put(1)
        assert word in sending.awaited("broker-unavailable")["problem"]
        assert not sending.sender.connected
        assert "PUBLISH" not in broker.log.read_text()
        broker.settings[:] = [f"certfile {certificates.certificate('server')}", f"keyfile {certificates.key('server')}"]
        broker.restart()
        recovers(sending, time.monotonic())


@pytest.mark.parametrize("how", ["answer", "close"])
def test_an_old_broker_is_spoken_to_in_3_1_1_with_one_warning(broker, how):
    with Proxy(broker.port, only_311=how) as proxy, Sending(proxy.port) as sending:
        sending.put(1)
        sending.drained()
        assert sending.named("broker-connected")[0]["protocol"] == "3.1.1"
        assert len(sending.named("broker-cannot-tell")) == 1
        assert not sending.named("broker-unavailable") or how == "close"
        proxy.cut()
        await_true(lambda: len(sending.named("broker-connected")) == 2)
        assert len(sending.named("broker-cannot-tell")) == 1


def test_a_broker_that_closes_once_while_it_restarts_is_still_spoken_to_in_5(broker):
    """In 3.1.1 it would acknowledge what it drops."""
    with Proxy(broker.port, only_311="close") as proxy:
        sending = Sending(proxy.port)
        serve = proxy.serve

        def once(peer):
            try:
                serve(peer)
            finally:
                proxy.only_311 = ""

        proxy.serve = once
        with sending:
            sending.connected()
            assert sending.named("broker-connected")[0]["protocol"] == "5"
            assert proxy.levels == [5, 4, 5]


@pytest.mark.long
def test_the_embedded_broker_of_the_demo_speaks_3_1_1_and_gets_it(tmp_path):
    amqtt = pytest.importorskip("amqtt.broker")
    import asyncio
    import threading

    port = free_port()
    loop = asyncio.new_event_loop()
    plugin = "amqtt.plugins.authentication.AnonymousAuthPlugin"
    configuration = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {plugin: {"allow_anonymous": True}},
    }

    async def run(ready, done):
        broker = amqtt.Broker(configuration)
        await broker.start()
        ready.set()
        await asyncio.get_running_loop().run_in_executor(None, done.wait)
        await broker.shutdown()

    ready, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(run(ready, done),))
    thread.start()
    assert ready.wait(10)
    try:
        with Sending(port) as sending:
            sending.put(1, 2)
            sending.drained()
            assert sending.named("broker-connected")[0]["protocol"] == "3.1.1"
    finally:
        done.set()
        thread.join(10)
        loop.close()


def rss_bytes():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_memory_and_descriptors_stay_flat_over_many_lost_connections(monkeypatch):
    monkeypatch.setattr(Reconnect, "pause_s", lambda *_: 0.001)
    with ScriptedBroker(lambda one: (_ for _ in ()).throw(EOFError)) as broker, Sending(broker.port) as sending:
        sending.put(1, size=400_000)
        await_true(lambda: len(broker.accepted_at) > 50)
        broker.published.clear()
        memory, files = rss_bytes(), len(list(Path("/proc/self/fd").iterdir()))
        await_true(lambda: broker.published.clear() or len(broker.accepted_at) > 350, timeout_s=30)
        assert rss_bytes() - memory < 8e6
        assert len(list(Path("/proc/self/fd").iterdir())) <= files + 3


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("fault", ["away", "denied", "silent"])
def test_a_fault_that_lasts_minutes_costs_neither_memory_nor_cpu_and_is_over_seconds_after_the_cure(tmp_path, fault):
    with ScriptedBroker() as broker:
        cured = []
        if fault == "away":
            broker.connack = {4: None, 5: None}
        elif fault == "denied":
            broker.answer = lambda one: 0 if cured else 135
        else:
            broker.answer = lambda one: 0 if cured else None
        with Sending(broker.port, ack_timeout_s=3) as sending:
            sending.put(*range(2000), size=4000)
            waits(sending, 30)
            memory, used, asked = rss_bytes(), resource.getrusage(resource.RUSAGE_SELF), len(broker.accepted_at)
            broker.published.clear()
            waits(sending, 120)
            after = resource.getrusage(resource.RUSAGE_SELF)
            # await_true itself looks 200 times a second
            assert after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime < 12
            assert rss_bytes() - memory < 4e6
            assert len(broker.accepted_at) - asked <= 2 * 120 / (0.8 * SLOWEST_S) + 2
            assert len(sending.events) < 20
            cured.append(True)
            broker.connack = {}
            began = time.monotonic()
            await_true(lambda: sending.outbox.acknowledged, timeout_s=RECOVERY_S + 3)
            recovers(sending, began, 30)


@pytest.fixture
def hastened(monkeypatch):
    """Let the sender's time pass 240 times as fast: its clock, and every wait that it asks the system for.

    Connecting, reading and writing are as they are, so each takes 240 times as long by that clock.
    """
    wait, step = Interrupt.wait, Connection.step
    monkeypatch.setattr("device.daemon.sender.time", SimpleNamespace(monotonic=lambda: time.monotonic() * HASTE))
    monkeypatch.setattr(Interrupt, "wait", lambda self, timeout_s: wait(self, timeout_s / HASTE))
    monkeypatch.setattr(Connection, "step", lambda self, timeout_s: step(self, timeout_s / HASTE))


HASTE = 240
HOUR_S = 3600


@pytest.mark.long
def test_a_broker_away_for_an_hour_is_told_now_and_then_and_used_as_soon_as_it_is_back(hastened, tmp_path):
    """The hour of the sender's clock takes 15 s."""
    broker = Broker(tmp_path)
    with Sending(broker.port) as sending:
        sending.put(*range(200), size=4000)
        waits(sending, HOUR_S / HASTE)
        told = sending.named("broker-unavailable")
        assert 2 <= len(told) <= HOUR_S / INTERVAL_S + 1
        assert sum(one.get("times", 1) for one in told) > 100
        assert len(sending.outbox.waiting) == 200
        with broker, Listener(broker.port, REVIEWABLE):
            recovers(sending, time.monotonic())


@pytest.mark.long
@pytest.mark.parametrize("fault", ["closing", "denied"])
def test_an_hour_of_refusals_is_waited_out_at_the_slowest_pace_and_told_now_and_then(hastened, fault):
    """How often it tries and speaks in the hour is counted."""
    with ScriptedBroker() as broker:
        cured = []
        if fault == "denied":
            broker.answer = lambda one: 0 if cured else 135
        if fault == "closing":
            broker.connack = {4: None, 5: None}
        with Sending(broker.port, announce=False) as sending:
            sending.put(*range(200), size=4000)
            waits(sending, HOUR_S / HASTE)
            tries = len(broker.requests() if fault == "denied" else broker.accepted_at)
            told = sending.named("not-sent" if fault == "denied" else "broker-unavailable")
            # Once, and again every ten minutes, for each of the ways a connection fails.
            assert 2 <= len(told) <= 2 * (HOUR_S / INTERVAL_S + 1)
            assert sum(one.get("times", 1) for one in told) > 100
            # Twice for each pause where it also tries 3.1.1; busy seconds of the machine are many of the sender's.
            assert 100 < tries <= 2 * HOUR_S / (0.8 * SLOWEST_S) + 20
            assert len(sending.outbox.waiting) == 200
            cured.append(True)
            broker.connack = {}
            recovers(sending, time.monotonic())
