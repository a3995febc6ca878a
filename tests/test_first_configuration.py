"""The first configuration is the shipped file with the answers in it; nothing that is there is ever overwritten."""

from __future__ import annotations

import os
import stat
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from device.config import settings as config
from device.config.first import LOGINS, PASSWORD, TEMPLATE, Answers, BrokerAnswer, filled, parse_broker, write
from device.errors import RecorderError, UsageError

SHIPPED = Path(__file__).parents[1] / "config" / "config.toml"
ANSWERS = Answers("kitchen", 'USB "PnP" Mikrofon ü\\', 2, ("alexa", "hey_mycroft"), BrokerAnswer("broker.lan"))


@pytest.mark.parametrize(
    ("text", "broker"),
    [
        ("broker.lan", BrokerAnswer("broker.lan")),
        ("192.168.1.7:1884", BrokerAnswer("192.168.1.7", 1884)),
        ("mqtt://broker.lan/", BrokerAnswer("broker.lan")),
        ("mqtts://kitchen@broker.lan", BrokerAnswer("broker.lan", tls=True, username="kitchen")),
        ("broker.lan:8883", BrokerAnswer("broker.lan", 8883, tls=True)),
        ("fd00::7", BrokerAnswer("fd00::7")),
        ("mqtt://[fd00::7]:1884", BrokerAnswer("fd00::7", 1884)),
        ("[fd00::7]", BrokerAnswer("fd00::7")),
    ],
)
def test_an_address_says_host_port_login_and_encryption(text, broker):
    assert parse_broker(text) == broker


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no address"),
        ("two words", "no address"),
        ("http://broker.lan", "http:// is not spoken here"),
        ("broker.lan:0", "no port 0"),
        ("broker.lan:65536", "no port 65536"),
        ("broker.lan:mqtt", "no address"),
        ("broker.lan/topic", "no address"),
        ("a@b@c", "no address"),
    ],
)
def test_what_is_no_address_is_refused_with_what_would_be_right(text, complaint):
    with pytest.raises(UsageError, match=complaint):
        parse_broker(text)


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(UsageError, match="--password-file") as refused:
        parse_broker("mqtt://kitchen:hunter2@broker.lan")
    assert "hunter2" not in str(refused.value)


def test_the_template_is_the_shipped_file():
    assert TEMPLATE.read_text() == SHIPPED.read_text()


def test_only_the_lines_that_were_answered_differ_from_the_shipped_file(tmp_path):
    path = tmp_path / "etc" / "config.toml"
    write(ANSWERS, path)
    before, after = SHIPPED.read_text().splitlines(), path.read_text().splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [
        'id = "kitchen"',
        'name = "USB \\"PnP\\" Mikrofon ü\\\\"',
        "channel = 2",
        'words = ["alexa", "hey_mycroft"]',
        'host = "broker.lan"',
    ]
    settings = config.load(path)
    assert (settings.microphone.name, settings.microphone.channel) == (ANSWERS.microphone, 2)
    assert settings.wake.words == ANSWERS.words
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_every_key_can_be_filled_in_and_is_read_back():
    document = tomllib.loads(SHIPPED.read_text())
    values = {(section, key): value for section, keys in document.items() for key, value in keys.items()}
    strange = {where: value + '\x7f"\\é' if isinstance(value, str) else value for where, value in values.items()}
    again = tomllib.loads(filled(SHIPPED.read_text(), strange))
    assert {(section, key): value for section, keys in again.items() for key, value in keys.items()} == strange


def test_a_broker_elsewhere_gets_its_login_and_its_password_a_file_of_its_own(tmp_path):
    path = tmp_path / "config.toml"
    broker = BrokerAnswer("broker.lan", 8884, tls=True, username="k", password="geheim")  # noqa: S106
    write(replace(ANSWERS, broker=broker), path)
    mqtt = config.load(path).mqtt
    assert (mqtt.host, mqtt.port, mqtt.tls, mqtt.username) == ("broker.lan", 8884, True, "k")
    assert mqtt.password_file == str(tmp_path / PASSWORD)
    assert (tmp_path / PASSWORD).read_text() == "geheim\n"
    assert stat.S_IMODE((tmp_path / PASSWORD).stat().st_mode) == 0o600
    assert "geheim" not in path.read_text()
    assert not (tmp_path / LOGINS).exists()
    assert "geheim" not in repr(broker)


def test_a_broker_of_our_own_gets_a_login_for_each_role_no_two_alike(tmp_path):
    write(replace(ANSWERS, broker=BrokerAnswer(is_ours=True)), tmp_path / "config.toml")
    logins = dict(line.split(":") for line in (tmp_path / LOGINS).read_text().splitlines())
    assert list(logins) == ["kitchen", "assistant", "reviewer", "dashboard"]
    assert len(set(logins.values())) == 4
    assert min(map(len, logins.values())) >= 24
    assert stat.S_IMODE((tmp_path / LOGINS).stat().st_mode) == 0o600
    assert (tmp_path / PASSWORD).read_text().strip() == logins["kitchen"]
    assert config.load(tmp_path / "config.toml").mqtt.username == "kitchen"


def test_a_file_that_is_there_is_never_overwritten_not_even_a_dangling_link(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("# mine\n")
    with pytest.raises(UsageError, match="it is never overwritten"):
        write(ANSWERS, path)
    assert path.read_text() == "# mine\n"
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="it is never overwritten"):
        write(ANSWERS, path)
    assert [file.name for file in tmp_path.iterdir()] == ["config.toml"]


def test_a_full_disk_leaves_no_half_a_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", str(tmp_path / "config.toml"))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecorderError, match="No space left on device; make room"):
        write(ANSWERS, tmp_path / "config.toml")
    assert list(tmp_path.iterdir()) == []
