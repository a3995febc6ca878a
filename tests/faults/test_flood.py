"""What a subscriber can do with the topics of commands: ten thousand messages a second, or one of 200 MB."""

from __future__ import annotations

import resource
import threading
import time
from pathlib import Path

import pytest
from support.broker import Broker, Listener, await_true
from support.daemon import Daemon, Device
from support.faulty_broker import ScriptedBroker
from support.outbox import BASE
from support.sending import Sending, link_to

from device.daemon.remote import TRIAL_S
from device.edges.mqtt import Connected, Connection, Lost
from device.message.commands import Action

REVIEW, MICROPHONE = f"{BASE}/review/set", f"{BASE}/microphone/set"
RECORDING = Path(__file__).parents[1] / "fixtures" / "speech-without-wake-word.wav"


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path) as broker:
        yield broker


def flood(listener, stop, payloads):
    """Publish without waiting for anything, as fast as can be, until told to stop."""
    number = 0
    while not stop.is_set():
        for _ in range(200):
            listener.client.publish(REVIEW, payloads[number % len(payloads)](number), qos=number % 2)
            number += 1
        time.sleep(0.002)  # so that the flood's own thread gets to send it


def garbage(number):
    return b"garbage %d" % number


def opt_out(number):
    return b"opt-out"


def opt_in(number):
    return b"opt-in"


@pytest.mark.parametrize("payloads", [[garbage], [opt_out], [opt_out, garbage, opt_in]])
def test_a_flood_of_commands_costs_a_line_a_second_and_the_daemon_stops_at_once(tmp_path, broker, payloads):
    device = Device(tmp_path, broker.port, homeassistant="discovery = true")  # which publishes more
    stop = threading.Event()
    with Listener(broker.port, f"{BASE}/+") as heard, Listener(broker.port) as flooding:
        with Daemon(device, *(["--input", RECORDING] * 6)) as daemon:
            daemon.wait_for("broker-connected")
            thread = threading.Thread(target=flood, args=(flooding, stop, payloads))
            thread.start()
            began = time.monotonic()
            await_true(lambda: time.monotonic() - began > 5)
            stopping = time.monotonic()
            assert daemon.stop() == 0
            ended = time.monotonic()
            stop.set()
            thread.join()
        log = "".join(str(event) for event in daemon.events)
        messages = heard.pending()
    assert ended - stopping < 3
    assert len(log) < 8_000
    assert len([one for one in messages if one.topic == f"{BASE}/event"]) < 30
    assert len([one for one in messages if one.topic == f"{BASE}/review"]) < 5
    assert len([one for one in messages if one.topic == f"{BASE}/health"]) < 5
    assert [one.payload for one in messages if one.topic == f"{BASE}/status"][-1] == b"offline"


def test_requests_go_out_and_commands_are_obeyed_in_the_middle_of_a_flood(broker):
    stop = threading.Event()
    with Listener(broker.port, f"{BASE}/request/+"), Listener(broker.port) as flooding, Sending(broker.port) as sending:
        sending.connected()
        thread = threading.Thread(target=flood, args=(flooding, stop, [garbage]))
        thread.start()
        try:
            for number in range(3):
                sending.put(number)
                sending.drained(20)
            with Listener(broker.port) as user:
                user.publish(MICROPHONE, b"mute")
            await_true(lambda: Action.MUTE in sending.commands)
        finally:
            stop.set()
            thread.join()
        assert len(sending.named("command-ignored")) == 1


def peak_rss_bytes():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_retained_message_of_200_mb_is_not_taken_into_memory(broker, protocol):
    with Listener(broker.port) as listener:
        listener.client.publish(REVIEW, bytes(200_000_000), qos=1, retain=True).wait_for_publish(60)
    before = peak_rss_bytes()
    with Listener(broker.port, f"{BASE}/request/+"), Sending(broker.port, protocol=protocol) as sending:
        sending.connected()
        sending.put(1)
        sending.drained()
        await_true(lambda: protocol == "5" or sending.named("commands-unheard"))
        with Listener(broker.port) as user:
            await_true(lambda: user.publish(MICROPHONE, b"mute") == 0)  # somebody hears that topic
        await_true(lambda: sending.commands)
        sending.put(2)
        sending.drained()
        # An MQTT 5 broker was asked not to send it: it costs no connection there.
        assert len(sending.named("broker-connected")) <= (1 if protocol == "5" else 3)
    assert peak_rss_bytes() - before < 20e6


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_broker_that_sends_more_than_it_was_asked_for_ends_its_connection_as_the_message_begins(protocol):
    with ScriptedBroker() as broker:
        broker.garbage = b"\x30\xff\xff\xff\x7f" + bytes(30)  # 268 MB are to come
        connection = Connection(link_to(broker.port), protocol)
        connection.open()
        lost: list[Lost] = []
        began = time.monotonic()
        while not lost:
            connection.step(0.1)
            lost = [one for one in connection.take() if not isinstance(one, Connected)]
            assert time.monotonic() - began < 5
        connection.close(say_goodbye=False)
    assert "message of 268435455 bytes" in lost[0].problem


def test_a_topic_with_a_message_too_large_is_named_and_the_others_commands_are_heard():
    with ScriptedBroker() as broker:
        broker.connack[5] = 1
        broker.retained[REVIEW] = bytes(50_000_000)
        broker.retained[MICROPHONE] = b"mute"
        with Sending(broker.port) as sending:
            assert REVIEW in sending.awaited("commands-unheard")["problem"]
            await_true(lambda: sending.commands == [Action.MUTE], timeout_s=TRIAL_S + 5)
            sending.put(1)
            sending.drained()
            assert len(broker.accepted_at) == 6  # each time 5, then 3.1.1: all topics, one, and all but that one
