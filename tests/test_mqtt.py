"""One connection against a real mosquitto: protocols, login, TLS, answers; and what a wrong one is told as."""

from __future__ import annotations

import contextlib
import random
import socket
import time

import pytest
from support.broker import Broker, Listener, free_port, make_certificates
from support.faulty_broker import ScriptedBroker
from support.outbox import BASE
from support.sending import link_to

from device.edges.mqtt import (
    Answered,
    Arrived,
    Connected,
    Connection,
    Interrupt,
    Lost,
    Subscribed,
    mqtt_password,
    publish_once,
    tls_context,
)
from device.errors import BrokerUnavailableError, ConfigurationError
from device.sending.reconnect import Trouble

TOPIC = f"{BASE}/request/reviewable"
RIGHT = {"username": "kitchen", "password": "right"}
WRONG = {"username": "kitchen", "password": "wrong"}


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with Broker(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def interrupt():
    interrupt = Interrupt()
    yield interrupt
    interrupt.close()


def wait_for(connection, kind, timeout_s=5.0):
    """Step until something of this kind happened, and return it."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        connection.step(0.1)
        for incoming in connection.take():
            if isinstance(incoming, kind):
                return incoming
            assert not isinstance(incoming, Lost), incoming
    raise AssertionError(f"no {kind.__name__} within {timeout_s:g} s")


@contextlib.contextmanager
def connected(link, protocol="5"):
    connection = Connection(link, protocol)
    connection.open()
    try:
        wait_for(connection, Connected)
        yield connection
    finally:
        connection.close(say_goodbye=True)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_publish_is_answered_with_its_own_number_and_arrives_whole(broker, protocol):
    payload = random.Random(1).randbytes(300_000)
    with Listener(broker.port, TOPIC) as listener, connected(link_to(broker.port), protocol) as connection:
        properties = connection.properties(content_type="audio/wav", user_properties=[("id", "1")], expiry_s=0)
        mid = connection.publish(TOPIC, payload, qos=1, properties=properties)
        answer = wait_for(connection, Answered)
        assert (answer.mid, answer.reason) == (mid, 0)
        assert listener.next().payload == payload


def test_with_mqtt_5_a_publish_nobody_is_subscribed_to_is_answered_with_16(broker):
    with connected(link_to(broker.port)) as connection:
        connection.publish("nobody/listens", b"x", qos=1)
        assert wait_for(connection, Answered).reason == 16


def test_a_denied_topic_is_answered_with_135_in_mqtt_5_and_with_a_lie_in_3_1_1(tmp_path):
    broker = Broker(tmp_path)
    broker.settings.append(broker.acl_file("topic write allowed\n"))
    with broker:
        for protocol, reason in (("5", 135), ("3.1.1", 0)):
            with connected(link_to(broker.port), protocol) as connection:
                connection.publish("denied", b"x", qos=1)
                assert wait_for(connection, Answered).reason == reason


def test_the_brokers_maximum_packet_size_is_told_and_a_packet_of_just_that_size_passes(tmp_path):
    with Broker(tmp_path, "max_packet_size 20000") as broker, Listener(broker.port, TOPIC):
        for excess in (0, 4):  # mosquitto does not count the three bytes of the length itself
            with connected(link_to(broker.port)) as connection:
                assert connection.accepted.max_packet_bytes == 20000
                properties = connection.properties(content_type="audio/wav", user_properties=[("a", "b")], expiry_s=9)
                payload = bytes(20000 + excess - connection.packet_bytes(TOPIC, b"", properties) - 2)
                assert connection.packet_bytes(TOPIC, payload, properties) == 20000 + excess
                connection.publish(TOPIC, payload, qos=1, properties=properties)
                if excess:
                    assert "too large" in wait_for(connection, Lost).problem
                else:
                    assert wait_for(connection, Answered).reason == 0


def test_messages_arrive_with_their_retain_flag_and_denied_subscriptions_are_told(tmp_path):
    broker = Broker(tmp_path)
    broker.settings.append(broker.acl_file("topic read a\ntopic write a\n"))
    with broker, Listener(broker.port) as listener:
        listener.publish("a", b"kept", retain=True)
        with connected(link_to(broker.port)) as connection:
            connection.subscribe(["a"])
            kept = wait_for(connection, Arrived)
            assert (kept.topic, kept.payload, kept.retained, kept.qos) == ("a", b"kept", True, 1)
            connection.acknowledge(kept)
            listener.publish("a", b"fresh")
            fresh = wait_for(connection, Arrived)
            assert (fresh.topic, fresh.payload, fresh.retained) == ("a", b"fresh", False)


def test_a_refused_subscription_is_told():
    with ScriptedBroker() as broker, connected(link_to(broker.port)) as connection:
        broker.suback = lambda topic: 0x87 if topic == "a" else 1
        mid = connection.subscribe(["a", "b"])
        assert wait_for(connection, Subscribed) == Subscribed(mid, ("Not authorized", ""))


def test_the_last_will_is_published_without_a_goodbye_and_not_with_one(broker):
    link = link_to(broker.port)
    with Listener(broker.port, link.status_topic, "barrier") as listener:
        for goodbye in (True, False):
            connection = Connection(link, "5")
            connection.open()
            wait_for(connection, Connected)
            connection.close(say_goodbye=goodbye)
            if goodbye:
                assert listener.until_barrier(lambda: listener.publish("barrier", b""), "barrier") == []
            else:
                assert listener.next().payload == b"offline"
        listener.publish(link.status_topic, b"", retain=True)


ONCE = {"announce": False, "client_id": "wakeword-recorder-kitchen-once"}


class TestPublishOnce:
    def test_a_state_is_kept_for_who_comes_later_and_nothing_else_is_said(self, broker):
        topic = f"{BASE}/review"
        with Listener(broker.port, "#") as listener:
            assert publish_once(link_to(broker.port, **ONCE), topic, b"opted out", retain=True) is None
            heard = listener.until_barrier(lambda: listener.publish("barrier", b""), "barrier")
        assert [(one.topic, one.payload) for one in heard] == [(topic, b"opted out")]
        with Listener(broker.port, topic) as late:
            assert (late.next().payload, late.publish(topic, b"", retain=True)) == (b"opted out", 0)

    @pytest.mark.parametrize("how", ["away", "denied", "silent", "closing"])
    def test_what_stood_against_it_is_returned_in_one_line(self, how):
        port = free_port()
        with ScriptedBroker(lambda one: 135 if how == "denied" else None) as broker:
            broker.connack = {4: None, 5: None} if how == "closing" else {}
            port = free_port() if how == "away" else broker.port
            problem = publish_once(link_to(port, **ONCE), "a", b"x", retain=True)
        words = {
            "away": "nothing listens there",
            "denied": "refused it: not authorized",
            "silent": "did not answer",
            "closing": "without an answer",
        }
        assert words[how] in problem
        assert "\n" not in problem

    def test_a_broker_that_speaks_nothing_newer_gets_it_in_3_1_1(self):
        with ScriptedBroker() as broker:
            broker.connack[5] = 1
            assert publish_once(link_to(broker.port, **ONCE), "a", b"x") is None
            assert broker.levels == [5, 4]


@pytest.mark.parametrize("told", [True, False])
def test_a_second_connection_with_the_same_id_ends_the_first_and_the_hint_says_what_may_be(broker, told):
    if told:
        with ScriptedBroker() as scripted:
            scripted.garbage = b"\xe0\x02\x8e\x00"  # DISCONNECT: session taken over; mosquitto 2.0 only closes
            with connected(link_to(scripted.port)) as first:
                lost = wait_for(first, Lost)
        assert "taken over" in lost.problem
    else:
        with connected(link_to(broker.port)) as first, connected(link_to(broker.port)):
            lost = wait_for(first, Lost)
    assert "[device] id" in lost.hint


def test_the_login_is_checked_and_a_refusal_says_what_to_check(tmp_path):
    broker = Broker(tmp_path, anonymous=False)
    broker.settings.append(broker.password_file(kitchen="right"))
    with broker:
        with connected(link_to(broker.port, **RIGHT)):
            pass
        for protocol in ("5", "3.1.1"):
            connection = Connection(link_to(broker.port, **WRONG), protocol)
            connection.open()
            lost = wait_for(connection, Lost)
            assert lost.trouble is Trouble.LOGIN
            assert "not authori" in lost.problem
            assert "[mqtt] username" in lost.hint
            assert "wrong" not in lost.problem + lost.hint


class TestTls:
    @pytest.fixture
    def secured(self, certificates, tmp_path):
        @contextlib.contextmanager
        def run(name, *more):
            lines = [f"certfile {certificates.certificate(name)}", f"keyfile {certificates.key(name)}", *more]
            with Broker(tmp_path, *lines) as broker:
                yield broker

        return run

    def test_with_the_right_authority_and_name_it_connects_by_name_and_address(self, secured, certificates):
        with secured("server") as broker:
            for host in ("localhost", "127.0.0.1"):
                link = link_to(broker.port, host=host, tls=True, ca_file=certificates.ca)
                with connected(link) as connection:
                    connection.publish("a", bytes(200_000), qos=1)
                    assert wait_for(connection, Answered).reason == 16

    @pytest.mark.parametrize(
        ("name", "authority", "problem", "hint"),
        [
            ("server", "stranger", "certificate refused", "authority"),
            ("server", "", "certificate refused", "authority"),
            ("elsewhere", "ca", "certificate refused", "[mqtt] host"),
            ("expired", "ca", "certificate refused (certificate has expired)", "expired"),
        ],
    )
    def test_a_certificate_that_is_not_to_be_trusted_is_refused_with_the_reason(
        self, secured, certificates, name, authority, problem, hint
    ):
        ca_file = certificates.certificate(authority) if authority else ""
        with secured(name) as broker:
            link = link_to(broker.port, host="localhost", tls=True, ca_file=ca_file)
            with pytest.raises(BrokerUnavailableError) as error:
                Connection(link, "5").open()
        assert problem in error.value.message
        assert hint in error.value.hint

    @pytest.mark.parametrize(
        ("name", "authority", "hint"),
        [
            ("leaf", "ca", "its chain is incomplete: the broker has to send the intermediate certificates"),
            ("leaf", "intermediate", "the chain in [mqtt] ca_file is incomplete"),
            ("chain", "intermediate", "the chain in [mqtt] ca_file is incomplete"),
            ("chain", "stranger", "or another authority issued it"),
            (
                "leaf",
                "",
                "its authority is not trusted: name the authority's certificate as [mqtt] ca_file; or its chain",
            ),
        ],
    )
    def test_an_incomplete_chain_is_named_as_that_whosever_it_is(self, secured, certificates, name, authority, hint):
        ca_file = certificates.certificate(authority) if authority else ""
        with secured(name) as broker:
            link = link_to(broker.port, host="localhost", tls=True, ca_file=ca_file)
            with pytest.raises(BrokerUnavailableError) as error:
                Connection(link, "5").open()
        assert hint in error.value.hint

    def test_a_whole_chain_is_trusted_by_its_root(self, secured, certificates):
        link = {"host": "localhost", "tls": True, "ca_file": certificates.ca}
        with secured("chain") as broker, connected(link_to(broker.port, **link)):
            pass

    def test_a_client_certificate_lets_in_and_its_absence_is_told(self, secured, certificates):
        demands = [f"cafile {certificates.ca}", "require_certificate true"]
        with secured("server", *demands) as broker:
            link = link_to(broker.port, host="localhost", tls=True, ca_file=certificates.ca)
            connection = Connection(link, "5")
            try:
                connection.open()
                lost = wait_for(connection, Lost)
                problem, hint = lost.problem, lost.hint
            except BrokerUnavailableError as error:
                problem, hint = error.message, error.hint
            assert "certificate required" in problem or "without an answer" in problem
            assert "cert_file" in hint
            pair = {"cert_file": certificates.certificate("client"), "key_file": certificates.key("client")}
            with connected(link_to(broker.port, host="localhost", tls=True, ca_file=certificates.ca, **pair)):
                pass

    def test_a_port_without_tls_says_so(self, broker):
        with pytest.raises(BrokerUnavailableError, match="does this port speak TLS") as error:
            Connection(link_to(broker.port, tls=True), "5").open()
        assert "\n" not in str(error.value)

    def test_files_that_are_none_are_named_all_at_once(self, tmp_path, certificates):
        rubbish = tmp_path / "rubbish.pem"
        rubbish.write_text("no certificate")
        link = link_to(1, tls=True, ca_file=str(tmp_path / "none.pem"), cert_file=str(rubbish))
        with pytest.raises(ConfigurationError) as error:
            tls_context(link)
        assert len(error.value.problems) == 2
        assert "none.pem': cannot be read (No such file or directory)" in error.value.problems[0]
        assert "rubbish.pem', key_file = '': cannot be used" in error.value.problems[1]

    def test_an_encrypted_key_is_an_error_and_never_a_question_on_the_terminal(self, tmp_path, certificates):
        import subprocess

        encrypted = tmp_path / "encrypted.key"
        command = ["openssl", "pkey", "-in", certificates.key("client"), "-aes256", "-passout", "pass:abcd"]
        subprocess.run([*command, "-out", encrypted], check=True, capture_output=True)
        link = link_to(1, tls=True, cert_file=certificates.certificate("client"), key_file=str(encrypted))
        with pytest.raises(ConfigurationError, match="not encrypted"):
            tls_context(link)

    def test_with_a_ca_file_the_systems_authorities_are_not_trusted(self, certificates):
        context = tls_context(link_to(1, tls=True, ca_file=certificates.ca))
        assert context.cert_store_stats()["x509_ca"] == 1
        assert context.check_hostname

    def test_failed_handshakes_leave_no_descriptors_behind(self, secured, certificates):
        from pathlib import Path

        link_ = {"host": "localhost", "tls": True, "ca_file": certificates.certificate("stranger")}
        with secured("server") as broker:
            before = None
            for _ in range(20):
                with pytest.raises(BrokerUnavailableError):
                    Connection(link_to(broker.port, **link_), "5").open()
                before = before or len(list(Path("/proc/self/fd").iterdir()))
            assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2


@pytest.mark.parametrize(
    ("changes", "problem", "hint"),
    [
        ({}, "nothing listens there", "is the broker running"),
        ({"host": "no.such.host.invalid"}, "the name cannot be resolved", "[mqtt] host"),
        ({"host": "a" * 70 + ".example"}, "not an address", "[mqtt] host"),
    ],
)
def test_a_broker_that_cannot_be_reached_is_told_in_one_line_with_what_to_do(changes, problem, hint):
    with pytest.raises(BrokerUnavailableError) as error:
        Connection(link_to(free_port(), **changes), "5").open()
    assert problem in error.value.message
    assert hint in error.value.hint
    assert "\n" not in str(error.value)


def test_an_old_broker_and_a_closing_one_are_told_apart():
    with ScriptedBroker() as broker:
        for reason, trouble in ((1, Trouble.VERSION), (132, Trouble.VERSION), (None, Trouble.CLOSED)):
            broker.connack[5] = reason
            connection = Connection(link_to(broker.port), "5")
            connection.open()
            assert wait_for(connection, Lost).trouble is trouble
            connection.close(say_goodbye=False)


@pytest.mark.parametrize("seed", range(40))
def test_bytes_that_are_no_mqtt_end_the_connection_and_raise_nothing(seed):
    random_ = random.Random(seed)
    kinds = [0x20, 0x30, 0x32, 0x34, 0x40, 0x50, 0x62, 0x70, 0x90, 0xB0, 0xD0, 0xE0, 0xF0, 0x00]
    garbage = b""
    for _ in range(20):
        body = random_.randbytes(random_.choice([0, 1, 2, 3, 5, 9, 40]))
        garbage += bytes([random_.choice(kinds), len(body)]) + body
    garbage += random_.randbytes(200) + b"\x30\xff\xff\xff\xff\xff"
    with ScriptedBroker() as broker:
        broker.garbage = garbage
        connection = Connection(link_to(broker.port), "5")
        connection.open()
        deadline = time.monotonic() + 5
        while not any(isinstance(incoming, Lost) for incoming in connection.take()):
            assert time.monotonic() < deadline
            connection.step(0.05)
            broker.cut()
        connection.close(say_goodbye=False)


def test_a_topic_that_is_no_text_is_received_as_an_empty_one():
    with ScriptedBroker() as broker:
        broker.garbage = b"\x30\x06\x00\x02\xff\xfe\x00x"
        with connected(link_to(broker.port)) as connection:
            assert wait_for(connection, Arrived) == Arrived("", b"x", retained=False)


def test_another_thread_ends_the_wait(interrupt):
    left, right = socket.socketpair()
    with left, right:
        interrupt.set()
        began = time.monotonic()
        interrupt.wait(5)
        assert time.monotonic() - began < 1
        for _ in range(100_000):
            interrupt.set()  # a full socket is no error
        interrupt.wait(5)


class TestPassword:
    def test_one_line_end_and_a_byte_order_mark_are_stripped_and_spaces_stay(self, tmp_path):
        path = tmp_path / "password"
        plain = ((b" a b \n", " a b "), (b"x\r\n", "x"), (b"x", "x"), ("ü\n".encode(), "ü"))
        longest = (b"\xef\xbb\xbf" + b"x" * 65_535 + b"\r\n", "x" * 65_535)
        for content, value in (*plain, (b"\xef\xbb\xbfx\r\n", "x"), longest):
            path.write_bytes(content)
            path.chmod(0o600)
            assert tuple(mqtt_password(str(path), None)) == (value, "")

    def test_systemds_credential_counts_where_no_file_is_named(self, tmp_path):
        (tmp_path / "mqtt-password").write_text("from systemd\n")
        assert mqtt_password("", str(tmp_path)).value == "from systemd"
        assert mqtt_password("", None).value is None
        assert mqtt_password("", str(tmp_path / "elsewhere")).value is None

    @pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines\n", b"\xff\xfe", bytes(65_536), b"\xef\xbb\xbf\n"])
    def test_a_file_without_a_password_is_an_error_that_does_not_show_its_content(self, tmp_path, content):
        path = tmp_path / "password"
        path.write_bytes(content)
        with pytest.raises(ConfigurationError) as error:
            mqtt_password(str(path), None)
        assert f"[mqtt] password_file = '{path}'" in str(error.value)
        assert "two" not in str(error.value)

    def test_a_missing_file_is_an_error_and_a_folder_too(self, tmp_path):
        for path in (tmp_path / "none", tmp_path):
            with pytest.raises(ConfigurationError, match="cannot be read"):
                mqtt_password(str(path), None)

    def test_a_file_that_everybody_can_read_is_warned_of(self, tmp_path):
        path = tmp_path / "password"
        path.write_text("x\n")
        path.chmod(0o644)
        password = mqtt_password(str(path), None)
        assert "mode 0644" in password.warning
        assert "chmod" in password.warning
        assert "'x'" not in repr(password)
