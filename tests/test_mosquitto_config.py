"""The shipped mosquitto example, loaded into mosquitto as it is: who hears what, and who may say anything."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from support.broker import Broker, Listener, await_true, make_certificates
from support.outbox import BASE, MemoryOutbox
from support.sending import Sending, link_to

from device.message.commands import Action

SHIPPED = Path(__file__).parents[1] / "config" / "mosquitto"
ROLES = ("kitchen", "assistant", "reviewer", "dashboard")
PLAIN = "listener 1883 127.0.0.1"  # what the file's own comment offers instead of TLS
TOPICS = [
    *(f"{BASE}/{level}" for level in ("request/reviewable", "request/opted-out", "review", "status", "microphone")),
    *(f"{BASE}/{level}" for level in ("event", "review/set", "microphone/set")),
    f"{BASE}/answer",
    f"{BASE}/key",
    f"{BASE}/erase",
    *(OF_HOME := (f"{BASE}/health", f"{BASE}/wake", "homeassistant/device/wakeword-kitchen/config")),
    *(FROM_HOME := (f"{BASE}/health/set", f"{BASE}/wake/set", "homeassistant/status")),
    "homeassistant/switch/x/config",
    "wakeword/reviewer/status",
    "reviewer",
    "elsewhere/x",
]


def login(role):
    return {"username": role, "password": f"the password of {role}"}


def shipped(broker, folder, certificates=None):
    """The shipped lines with this test's folder for /etc/mosquitto; TLS only where there are certificates."""
    text = (SHIPPED / "wakeword.conf").read_text().replace("/etc/mosquitto", str(folder))
    lines = [
        line for line in text.splitlines() if not re.match(r"#|listener|allow_anonymous|acl_file|password_file|$", line)
    ]
    acl = broker.acl_file((SHIPPED / "wakeword.acl").read_text())
    passwords = broker.password_file(**{role: login(role)["password"] for role in ROLES})
    if certificates is None:
        lines = [line for line in lines if "file " not in line]
    broker.settings[:] = [*lines, acl, passwords]
    return broker


@pytest.fixture
def broker(tmp_path):
    with shipped(Broker(tmp_path, anonymous=False), tmp_path) as broker:
        yield broker


def as_(role, broker, *topics):
    return Listener(broker.port, *topics, **login(role))


def test_the_file_keeps_to_encryption_logins_and_the_access_list():
    lines = (SHIPPED / "wakeword.conf").read_text().splitlines()
    assert {"listener 8883", "allow_anonymous false"} <= set(lines)
    assert {line.split()[0] for line in lines if line[:1].isalpha()} >= {
        "certfile",
        "keyfile",
        "password_file",
        "acl_file",
    }
    acl = (SHIPPED / "wakeword.acl").read_text()
    assert not re.search("^(pattern|topic readwrite)", acl, re.MULTILINE)
    assert acl.index("user ") < acl.index("\ntopic ")  # a topic before the first user would count for everybody


def test_the_reviewer_hears_reviewable_requests_and_never_an_opted_out_one(broker):
    wide = ["#", "wakeword/#", "wakeword/+/request/+", f"{BASE}/request/opted-out", "$share/all/wakeword/#", "$SYS/#"]
    with (
        as_("assistant", broker, "wakeword/+/request/+") as assistant,
        as_("reviewer", broker, *wide[:4]) as reviewer,
        as_("reviewer", broker, *wide[4:]) as sharing,
        Sending(link_to(broker.port, **login("kitchen"))) as sending,
    ):
        for number in range(40):
            sending.put(number, opt_out=number % 2 == 1)
        sending.drained()
        heard = [assistant.next().topic for _ in range(40)]
        assert heard.count(f"{BASE}/request/opted-out") == 20
        last = (38).to_bytes(4, "little") * 8
        for listener in (reviewer, sharing):
            topics = set()
            while (message := listener.next()).payload != last:
                topics.add(message.topic)
            assert topics == {f"{BASE}/request/reviewable"}
        assert {message.topic for message in reviewer.pending() + sharing.pending()} <= {f"{BASE}/request/reviewable"}


def test_the_reviewer_can_publish_nothing_not_even_as_a_last_will(broker):
    with as_("assistant", broker, "#"), as_("dashboard", broker, "#") as dashboard, as_("reviewer", broker) as reviewer:
        assert {reviewer.publish(topic, b"x") for topic in TOPICS} == {135}
        for topic in (TOPICS[0], TOPICS[6], TOPICS[-1]):
            client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
            client.username_pw_set(**login("reviewer"))
            client.will_set(topic, b"x", qos=1, retain=True)
            client.connect("127.0.0.1", broker.port)
            client.loop_start()
            await_true(lambda client=client: client.is_connected() or client.socket() is None)
            if client.socket() is not None:
                client.socket().close()
            client.loop_stop()
        with as_("kitchen", broker) as kitchen:
            barrier = dashboard.until_barrier(lambda: kitchen.publish(f"{BASE}/event", b"{}"), f"{BASE}/event")
            assert barrier == []
    with as_("dashboard", broker, "#") as late, as_("kitchen", broker) as kitchen:
        assert late.until_barrier(lambda: kitchen.publish(f"{BASE}/event", b"{}"), f"{BASE}/event") == []


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("kitchen", [*TOPICS[:6], f"{BASE}/key", f"{BASE}/erase", *OF_HOME]),
        ("assistant", [f"{BASE}/answer", "wakeword/bedroom/answer"]),
        ("dashboard", [*TOPICS[6:8], *FROM_HOME]),
    ],
)
def test_each_role_publishes_what_is_its_own_and_nothing_else(broker, role, allowed):
    own = [*TOPICS[:6], f"{BASE}/answer", f"{BASE}/key", f"{BASE}/erase", *OF_HOME]
    foreign = [topic.replace("kitchen", "bedroom") for topic in own]
    with as_(role, broker) as client:
        for topic in [*TOPICS, *foreign]:
            assert (client.publish(topic, b"x") == 135) is (topic not in allowed), topic


def test_a_device_hears_its_own_events_and_nobody_elses_so_that_it_can_tell_a_broker_that_is_wrong(broker):
    with as_("kitchen", broker, "#") as kitchen:
        for level in ("event", "status", "review", "request/reviewable"):
            kitchen.publish(f"{BASE}/{level}", level.encode())
        assert kitchen.publish("wakeword/bedroom/event", b"x") == 135
        assert kitchen.next().topic == f"{BASE}/event"
        kitchen.publish(f"{BASE}/event", b"barrier")
        assert kitchen.next().payload == b"barrier"


def test_the_dashboard_gets_states_and_no_sound(broker):
    with as_("dashboard", broker, "#") as dashboard, as_("kitchen", broker) as kitchen:
        for level in ("request/reviewable", "request/opted-out", "review", "status", "microphone", "event"):
            kitchen.publish(f"{BASE}/{level}", b"x")
        heard = [dashboard.next().topic.removeprefix(f"{BASE}/") for _ in range(4)]
        assert heard == ["review", "status", "microphone", "event"]


def test_nobody_but_whom_the_list_is_changed_for_reads_what_is_answered(broker):
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(as_(role, broker, "#", f"{BASE}/answer")) for role in ROLES]
        with as_("assistant", broker) as assistant, as_("kitchen", broker) as kitchen:
            assert assistant.publish(f"{BASE}/answer", b"{}") != 135
            kitchen.publish(f"{BASE}/request/reviewable", b"barrier")
            kitchen.publish(f"{BASE}/event", b"barrier")
        for listener, topic in zip(
            listeners, ("event", "request/reviewable", "request/reviewable", "event"), strict=True
        ):
            assert listener.next().topic == f"{BASE}/{topic}"


def test_the_dashboards_switches_reach_the_device(broker):
    with as_("dashboard", broker) as dashboard, Sending(link_to(broker.port, **login("kitchen"))) as sending:
        sending.drained()
        sending.connected()
        dashboard.publish(f"{BASE}/review/set", b"opt-out")
        await_true(lambda: sending.commands == [Action.OPT_OUT])
        assert not sending.named("state-refused")
        assert not sending.named("commands-refused")


def test_home_assistant_as_the_dashboard_and_the_device_hear_of_each_other(broker):
    with as_("dashboard", broker, "homeassistant/#", f"{BASE}/+") as home, as_("kitchen", broker, "#") as kitchen:
        for topic in OF_HOME:
            kitchen.publish(topic, b"x")
            assert home.next().topic == topic
        for topic in reversed(FROM_HOME):
            home.publish(topic, b"x")
            assert kitchen.next().topic == topic


def test_the_whole_file_works_with_tls_and_without_a_login_nobody_gets_in(tmp_path):
    certificates = make_certificates(tmp_path)
    (tmp_path / "certs").mkdir()
    for source, target in (
        (certificates.certificate("server"), "broker.crt"),
        (certificates.key("server"), "broker.key"),
    ):
        (tmp_path / "certs" / target).write_bytes(Path(source).read_bytes())
    tls = {"host": "localhost", "tls": True, "ca_file": certificates.ca}
    with shipped(Broker(tmp_path, anonymous=False), tmp_path, certificates) as broker:
        outbox = MemoryOutbox()
        with Sending(link_to(broker.port, **tls, **login("kitchen"), no_subscriber="drop"), outbox) as sending:
            sending.put(1)
            sending.drained()
        for wrong in ({}, {"username": "kitchen", "password": "guess"}, {"username": "nobody"}):
            with Sending(link_to(broker.port, **tls, **wrong)) as sending:
                assert "refused the connection" in sending.awaited("broker-unavailable")["problem"]
