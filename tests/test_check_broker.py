"""The broker's row of `check` sees what the daemon would: last will, commands, what fits, and what is denied."""

from __future__ import annotations

import pytest
from support.broker import Broker, Listener
from support.faulty_broker import ScriptedBroker
from support.outbox import BASE
from support.tags import VERSION, tag_of

from device.config import settings as config
from device.errors import BrokerUnavailableError
from device.message.envelope import message, wav
from device.message.size import largest_bytes, longest_s, remedy
from device.tools.check_broker import check_broker


def settings_for(folder, port, mqtt="", capture=""):
    file = folder / "config.toml"
    lines = ["[device]", 'id = "kitchen"', f'state_dir = "{folder}/state"', "[capture]", capture]
    file.write_text("\n".join([*lines, "[mqtt]", 'host = "127.0.0.1"', f"port = {port}", mqtt]))
    return config.load(file)


def test_it_connects_with_the_daemons_id_and_last_will_and_leaves_without_it(tmp_path):
    with Broker(tmp_path) as broker, Listener(broker.port, f"{BASE}/#") as listener:
        found = check_broker(settings_for(tmp_path, broker.port), running=False)
        heard = listener.until_barrier(lambda: listener.publish(f"{BASE}/barrier", b""), f"{BASE}/barrier")
        log = broker.log.read_text()
    assert found == f"127.0.0.1:{broker.port}, MQTT 5, published and acknowledged"
    assert [one.topic for one in heard] == [f"{BASE}/event"]
    assert "as wakeword-kitchen (" in log
    assert "Will message specified (7 bytes) (r1, q1)" in log


def test_beside_a_running_daemon_it_has_an_id_of_its_own_and_the_same_last_will(tmp_path):
    with Broker(tmp_path) as broker:
        check_broker(settings_for(tmp_path, broker.port), running=True)
        log = broker.log.read_text()
    assert "as wakeword-kitchen-check-" in log
    assert "as wakeword-kitchen (" not in log
    assert "Will message specified (7 bytes) (r1, q1)" in log


def test_a_broker_that_keeps_no_retained_messages_passes_with_a_warning(tmp_path):
    with Broker(tmp_path, "retain_available false") as broker:
        found = check_broker(settings_for(tmp_path, broker.port), running=False)
    assert "published and acknowledged; warning: it keeps no retained messages" in found


def test_a_broker_that_refuses_the_last_will_for_its_own_reasons_fails_as_the_daemon_does(tmp_path):
    with ScriptedBroker() as broker:
        broker.refuse = lambda greeted: 135 if greeted.will else 0
        with pytest.raises(BrokerUnavailableError, match="not authorized"):
            check_broker(settings_for(tmp_path, broker.port), running=True)


def test_a_broker_that_acknowledges_nothing_fails(tmp_path):
    with ScriptedBroker() as broker:
        broker.connack_properties = b"\x24\x00"
        with pytest.raises(BrokerUnavailableError, match="QoS 0 only"):
            check_broker(settings_for(tmp_path, broker.port), running=False)


def test_commands_that_may_not_be_heard_are_a_warning_and_events_that_may_not_be_written_a_failure(tmp_path):
    with ScriptedBroker() as broker:
        settings = settings_for(tmp_path, broker.port)
        broker.suback = lambda topic: 0x87 if topic.endswith("microphone/set") else 1
        found = check_broker(settings, running=False)
        assert found.endswith(f"warning: it refused the commands on {BASE}/microphone/set: not authorized")
        broker.answer = lambda one: 135
        with pytest.raises(BrokerUnavailableError, match="access list must let this login write there"):
            check_broker(settings, running=False)


@pytest.mark.parametrize(
    ("limit", "mqtt", "capture", "fits"),
    [
        (131_072, "", "", False),
        (131_072, 'format = "flac"', "", False),
        (131_072, "", "max_s = 4", True),
        (131_072, 'format = "flac"', "max_s = 6", True),
        (400_000, 'format = "flac"', "", True),
        (500_000, "", "", True),
        (20_000, "", "", False),
    ],
)
def test_the_brokers_largest_packet_is_compared_with_the_longest_request(tmp_path, limit, mqtt, capture, fits):
    with Broker(tmp_path, f"max_packet_size {limit}") as broker:
        settings = settings_for(tmp_path, broker.port, mqtt, capture)
        if fits:
            assert check_broker(settings, running=False)
            return
        with pytest.raises(BrokerUnavailableError) as failed:
            check_broker(settings, running=False)
    line = str(failed.value)
    assert f"takes {limit} bytes at most" in line
    assert "\n" not in line
    if limit == 20_000:
        assert "the broker's maximum has to grow" in line
    else:
        assert "[capture] max_s = 4" in line
        assert ('[mqtt] format = "flac"' in line) == (not mqtt)


def test_what_is_said_to_fit_fits_with_all_that_is_around_it(tmp_path):
    """The largest tag and topic that a configuration gives, in the shape that is sent."""
    for max_s in (1, 4, 15, 300):
        pcm = bytes(32_000 * max_s)
        tag = tag_of(pcm, device="d" * 64, wake_word="w" * 128, source="mic:" + "s" * 200)
        sent = message(tag, pcm, prefix="p" * 100, encode=lambda tag, pcm: wav(tag, pcm, version=VERSION))
        properties = sum(len(name) + len(value) + 5 for name, value in sent.user_properties) + 20
        packet_bytes = len(sent.payload) + len(sent.topic) + properties + 9
        assert packet_bytes <= largest_bytes(max_s, flac=False)
        assert longest_s(largest_bytes(max_s, flac=False), flac=False) == pytest.approx(max_s)
    assert "max_s = 1 " in remedy(32_000 + 2_048, flac=False)
    assert "grow" in remedy(32_000, flac=False)
