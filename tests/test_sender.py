"""The sender's thread against a real mosquitto: order, states, commands, stopping, idling."""

from __future__ import annotations

import contextlib
import json
import resource
import threading
import time

import pytest
from support.broker import Broker, Listener, await_true, free_port
from support.faulty_broker import Proxy, ScriptedBroker
from support.outbox import BASE, MemoryOutbox, envelope
from support.sending import Sending, link_to

from device.daemon.sender import TICK_S, Sender
from device.edges.mqtt import Connection
from device.errors import StoreBusyError, StoreError
from device.message.commands import Action
from device.sending import reconnect


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with Broker(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@pytest.fixture
def everything(broker):
    with Listener(broker.port, "#") as listener:
        yield listener
        for heard in ("status", "review", "microphone"):
            listener.client.publish(f"{BASE}/{heard}", b"", qos=1, retain=True).wait_for_publish(5)


def test_requests_arrive_in_order_once_each_and_leave_the_outbox_by_their_acknowledgement(broker, everything):
    with Sending(broker.port) as sending:
        ids = sending.put(*range(20))
        sending.drained()
        heard = [everything.next("request/reviewable") for _ in ids]
        assert [dict(message.properties["UserProperty"])["id"] for message in heard] == ids
        assert sending.outbox.acknowledged == ids
        assert not sending.outbox.waiting
        assert [fields["id"] for fields in sending.named("sent")] == ids
        assert sending.threads == {"sender"}


def test_a_request_carries_content_type_properties_and_expiry_and_is_not_retained(broker, everything):
    with Sending(broker.port, expiry_s=600) as sending:
        sending.put(1, opt_out=True)
        sending.drained()
        message = everything.next("request/opted-out")
    assert message.properties["ContentType"] == "audio/wav"
    assert ("review_opt_out", "true") in [tuple(pair) for pair in message.properties["UserProperty"]]
    assert 590 <= message.properties["MessageExpiryInterval"] <= 600
    assert not message.retain


def test_what_is_stored_later_goes_out_on_notify_without_waiting_for_a_tick(broker, everything):
    with Sending(broker.port) as sending:
        sending.drained()
        sending.connected()
        began = time.monotonic()
        for number in range(10):
            sending.put(number)
            sending.drained()
        assert time.monotonic() - began < 4 * TICK_S  # and not half a tick each


def test_on_connecting_status_and_states_are_published_retained_and_the_last_value_wins(broker, everything):
    sending = Sending(broker.port)
    sending.sender.set_state("review", b"old")
    sending.sender.set_state("review", b"new")
    sending.sender.set_state("microphone", b"listening")
    with sending:
        assert everything.next("status").payload == b"online"  # the last of them
        with Listener(broker.port, f"{BASE}/+") as late:
            kept = {message.topic.rpartition("/")[2]: message for message in (late.next() for _ in range(3))}
        assert {level: message.payload for level, message in kept.items()} == {
            "status": b"online",
            "review": b"new",
            "microphone": b"listening",
        }
        assert all(message.retain for message in kept.values())
        everything.pending()
        sending.sender.set_state("microphone", b"muted")
        assert everything.next("microphone").payload == b"muted"


def test_states_go_before_requests_so_that_an_opt_out_is_known_before_what_follows_it(broker, everything):
    sending = Sending(broker.port)
    sending.sender.set_state("review", b"opted-out")
    sending.put(1)
    with sending:
        sending.drained()
        topics = [everything.next().topic.removeprefix(f"{BASE}/") for _ in range(3)]
    assert topics == ["review", "status", "request/reviewable"]


def test_a_clean_stop_says_offline_itself_and_a_cut_one_leaves_it_to_the_last_will(broker, everything):
    with Sending(broker.port) as sending:
        sending.connected()
        assert everything.next("status").payload == b"online"
    assert everything.next("status").payload == b"offline"
    with Proxy(broker.port) as proxy, Sending(proxy.port) as sending:
        assert everything.next("status").payload == b"online"
        sending.drained()
        proxy.cut()
        assert everything.next("status").payload == b"offline"


def test_events_go_out_once_with_qos_0_and_are_dropped_without_a_connection(tmp_path):
    broker = Broker(tmp_path)
    with Sending(broker.port) as sending:
        sending.awaited("broker-unavailable")
        sending.sender.event(b"nobody hears")
        with broker, Listener(broker.port, "#") as listener:
            sending.sender.send_now()
            sending.connected()
            sending.sender.event(b'{"event": "wake"}')
            assert listener.next("event").payload == b'{"event": "wake"}'


@pytest.mark.parametrize(
    ("level", "payload", "command"),
    [
        ("review/set", b"opt-out", Action.OPT_OUT),
        ("microphone/set", b"mute", Action.MUTE),
    ],
)
def test_tightening_commands_are_obeyed_retained_or_not(broker, everything, level, payload, command):
    with Sending(broker.port) as sending:
        sending.drained()
        everything.publish(f"{BASE}/{level}", payload)
        await_true(lambda: sending.commands == [command])
    everything.publish(f"{BASE}/{level}", payload, retain=True)
    with Sending(broker.port) as sending:
        await_true(lambda: sending.commands == [command])
    everything.publish(f"{BASE}/{level}", b"", retain=True)


def test_opting_in_over_mqtt_takes_the_configuration_and_is_never_obeyed_retained(broker, everything):
    with Sending(broker.port) as sending:
        sending.drained()
        everything.publish(f"{BASE}/review/set", b"opt-in")
        assert "not allowed" in sending.awaited("command-ignored")["problem"]
        everything.publish(f"{BASE}/microphone/set", b"unmute")
        await_true(lambda: len(sending.named("command-ignored")) == 2)
        assert sending.commands == []
    everything.publish(f"{BASE}/review/set", b"opt-in", retain=True)
    with Sending(broker.port, allow_remote_opt_in=True) as sending:
        assert "retained" in sending.awaited("command-ignored")["problem"]
        everything.publish(f"{BASE}/review/set", b"opt-in 0")
        await_true(lambda: sending.commands == [Action.OPT_IN])
    everything.publish(f"{BASE}/review/set", b"", retain=True)


def test_a_command_that_fails_is_told_and_sending_goes_on(broker, everything):
    def fail(command):
        raise StoreBusyError("disk full")

    with Sending(broker.port, on_command=fail) as sending:
        sending.drained()
        everything.publish(f"{BASE}/review/set", b"opt-out")
        assert sending.awaited("command-failed") == {"command": "opt-out", "problem": "disk full"}
        sending.put(1)
        sending.drained()


def test_a_command_line_sender_announces_nothing_and_subscribes_to_nothing(broker, everything):
    with Sending(broker.port, announce=False, client_id="wakeword-recorder-outbox") as sending:
        sending.put(1)
        sending.drained()
        everything.publish(f"{BASE}/review/set", b"opt-out")
    everything.publish("barrier", b"")
    topics = []
    while (topic := everything.next().topic) != "barrier":
        topics.append(topic)
    assert topics == [f"{BASE}/request/reviewable", f"{BASE}/review/set"]
    assert sending.commands == []


def test_drained_is_false_from_the_moment_of_notify_and_true_without_a_broker_if_nothing_waits():
    with Sending(free_port()) as sending:
        sending.drained()
        sending.outbox.put(1)
        sending.sender.notify()
        assert not sending.sender.drained()
        sending.outbox.waiting.clear()
        sending.sender.notify()
        sending.drained()


@pytest.mark.parametrize("reachable", [True, False])
def test_drained_stays_false_until_the_outbox_was_looked_at_after_a_notify(broker, reachable):
    seen = []

    class Looking(MemoryOutbox):
        @contextlib.contextmanager
        def claim(self, wanted):
            seen.append(sending.sender.drained())
            with super().claim(wanted) as claimed:
                yield claimed

        def count(self):
            seen.append(sending.sender.drained())
            return super().count()

    sending = Sending(broker.port if reachable else free_port(), Looking())
    with sending:
        for _ in range(5):
            sending.sender.notify()
            sending.drained()
    assert len(seen) >= 5
    assert not any(seen)


def test_nothing_is_published_while_the_claim_is_held_by_another_opting_out(broker, everything):
    """The publish begins inside the claim: who changes the tag before it, changes what is published."""
    with Sending(broker.port) as sending:
        sending.drained()
        with sending.outbox.lock:
            sending.put(1)
            time.sleep(0.05)
            sending.outbox.waiting.clear()
            sending.outbox.put(1, opt_out=True)
        sending.drained()
        assert everything.next("/request/opted-out")
        assert not [heard for heard in everything.pending() if heard.topic.endswith("reviewable")]


class TroubledOutbox(MemoryOutbox):
    """Fails in one call, some times."""

    def __init__(self, call: str, error: StoreError, times: int = 2) -> None:
        super().__init__()
        self.call, self.error, self.times = call, error, times

    def _fail(self, call: str) -> None:
        if call == self.call and self.times:
            self.times -= 1
            raise self.error

    @contextlib.contextmanager
    def claim(self, wanted):
        self._fail("claim")
        with super().claim(wanted) as claimed:
            yield claimed
            if claimed is not None:
                self._fail("commit")

    def acknowledge(self, id: str) -> None:  # noqa: A002
        self._fail("acknowledge")
        super().acknowledge(id)

    def flush(self) -> None:
        self._fail("flush")


@pytest.mark.parametrize("call", ["claim", "commit", "acknowledge", "flush"])
def test_a_busy_store_delays_sending_and_sends_nothing_twice_while_the_connection_lives(broker, everything, call):
    outbox = TroubledOutbox(call, StoreBusyError("disk full"), times=1)
    with Sending(broker.port, outbox) as sending:
        ids = sending.put(1, 2)
        sending.drained()
        assert outbox.acknowledged == ids
        assert outbox.times == 0
        assert sending.named("store-busy")
    everything.publish("barrier", b"")
    heard = []
    while (message := everything.next()).topic != "barrier":
        heard += [message] if "/request/" in message.topic else []
    assert len(heard) == 2


def test_an_error_that_nothing_expects_ends_the_thread_and_shows_as_failure(broker):
    outbox = TroubledOutbox("claim", StoreError("malformed"), times=9)
    sending = Sending(broker.port, outbox)
    sending.sender.start()
    await_true(lambda: sending.sender.worker.failure)
    assert str(sending.sender.worker.failure) == "malformed"
    assert not sending.sender.connected
    assert sending.sender.stop(1)


def test_a_bug_in_a_callback_shows_as_failure_instead_of_a_silent_thread(broker, everything):
    sending = Sending(broker.port, on_command=lambda command: 1 / 0)
    sending.sender.start()
    sending.drained()
    everything.publish(f"{BASE}/review/set", b"opt-out")
    assert isinstance(await_true(lambda: sending.sender.worker.failure), ZeroDivisionError)
    assert sending.sender.stop(1)


def test_stop_waits_for_the_acknowledgement_under_way():
    held = threading.Event()

    def answer(published):
        if "/request/" in published.topic:
            held.wait(10)
        return 0

    with ScriptedBroker(answer) as broker, Sending(broker.port) as sending:
        sending.put(1)
        await_true(broker.requests)
        stopping = threading.Thread(target=sending.sender.stop, args=(5,))
        stopping.start()
        held.set()
        stopping.join()
        assert sending.outbox.acknowledged
        await_true(lambda: broker.disconnects == 1)  # the broker's thread reads what was sent when it gets to it
        assert broker.published[-1].payload == b"offline"


def test_stop_ends_in_time_when_the_broker_says_nothing_and_then_leaves_without_goodbye():
    with ScriptedBroker(lambda published: None if "/request/" in published.topic else 0) as broker:
        sending = Sending(broker.port)
        with sending:
            sending.put(1)
            await_true(broker.requests)
            began = time.monotonic()
            assert sending.sender.stop(0.5)
            assert time.monotonic() - began < 1.5
        assert broker.disconnects == 0
        assert sending.outbox.count() == 1


@pytest.mark.parametrize("where", ["pausing", "greeting"])
def test_stop_is_quick_without_a_connection(where):
    with ScriptedBroker() as broker:
        broker.silent = True
        port = broker.port if where == "greeting" else free_port()
        with Sending(port) as sending:
            if where == "greeting":
                await_true(lambda: broker.accepted_at)
            else:
                sending.awaited("broker-unavailable")
            began = time.monotonic()
            assert sending.sender.stop(5)
            assert time.monotonic() - began < 1


def test_who_asks_to_send_now_waits_for_no_pause_before_the_next_connection(tmp_path, monkeypatch):
    monkeypatch.setattr("device.sending.reconnect.FIRST_S", 60.0)
    monkeypatch.setattr("device.sending.reconnect.SLOWEST_S", 60.0)
    broker = Broker(tmp_path)
    with Sending(broker.port) as sending:
        sending.put(1)
        sending.awaited("broker-unavailable")
        with broker, Listener(broker.port, "#") as listener:
            sending.sender.send_now()
            sending.drained()
            assert listener.next("request/reviewable")


def test_an_idle_sender_wakes_about_once_a_second_and_uses_no_cpu(broker, everything, monkeypatch):
    wakes, step = [], Connection.step
    monkeypatch.setattr(Connection, "step", lambda *arguments: (wakes.append(1), step(*arguments)))
    with Sending(broker.port) as sending:
        sending.drained()
        sending.connected()
        wakes.clear()
        before = resource.getrusage(resource.RUSAGE_SELF)
        began = time.monotonic()
        await_true(lambda: time.monotonic() - began > 3.2)
        after = resource.getrusage(resource.RUSAGE_SELF)
        assert len(wakes) <= 5
    assert after.ru_stime + after.ru_utime - before.ru_stime - before.ru_utime < 0.3


def test_the_password_shows_neither_in_settings_nor_in_events(broker):
    secret = "open sesame"  # noqa: S105 - made up
    with Sending(broker.port, username="kitchen", password=secret) as sending:
        sending.connected()
    assert secret not in repr(sending.link) + json.dumps(sending.events) + repr(vars(sending.sender))


def test_a_sender_that_never_started_can_be_stopped():
    sender = Sender(MemoryOutbox(), link_to(free_port()), envelope, lambda command: None, lambda name, **fields: None)
    assert sender.stop(0)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_two_devices_of_one_id_end_their_fight_say_what_to_do_and_lose_nothing(tmp_path, protocol, monkeypatch):
    monkeypatch.setattr(reconnect, "FIRST_S", 0.1)
    monkeypatch.setattr(reconnect, "TAKEN_S", 1.0)
    with Broker(tmp_path) as broker, Listener(broker.port, f"{BASE}/request/+") as listener:
        with Sending(broker.port, protocol=protocol) as one, Sending(broker.port, protocol=protocol) as other:
            said = [each.awaited("id-taken")["problem"] for each in (one, other)]
            fought = broker.log.read_text().count("already connected")
            one.put(7)
            one.sender.send_now()
            one.drained()
            arrived = listener.next()
        assert arrived.payload == (7).to_bytes(4, "little") * 8
        assert [problem.count("wakeword-recorder-kitchen: is a second device") for problem in said] == [1, 1]
        assert fought <= 8  # at a pause of half a second each it would go on
        assert all(len(each.named("id-taken")) == 1 for each in (one, other))
