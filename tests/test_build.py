"""Building parts from the configuration: what a part cannot use is told with the file that names it."""

from pathlib import Path

import pytest
from support.broker import make_certificates
from support.daemon import Device

from device import build
from device.config import settings as config
from device.errors import ConfigurationError

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def rubbish(tmp_path):
    path = tmp_path / "rubbish"
    path.write_text("no\ncertificate\n")
    return path


def problems(device):
    with pytest.raises(ConfigurationError) as caught:
        build.link_settings(config.load(device.config))
    assert all(problem.startswith(f"{device.config}: ") for problem in caught.value.problems)
    return [problem.removeprefix(f"{device.config}: ") for problem in caught.value.problems]


def test_every_file_for_the_broker_that_is_none_is_told_with_the_configuration(tmp_path, rubbish, certificates):
    pair = f'cert_file = "{certificates.certificate("client")}"\nkey_file = "{certificates.key("server")}"'
    login = f'username = "kitchen"\npassword_file = "{rubbish}"'
    device = Device(tmp_path, mqtt=f'tls = true\nca_file = "{rubbish}"\n{pair}\n{login}')
    password, authority, client = problems(device)
    assert password.startswith(f"[mqtt] password_file = '{rubbish}': has more than one line")
    assert authority.startswith(f"[mqtt] ca_file = '{rubbish}': cannot be used")
    assert "key values mismatch" in client
    rows = device.call("check").stdout.splitlines()
    assert {row[:6].strip() for row in rows} == {"ok", "FAILED"}  # all of it in the broker's one line


def test_an_empty_password_file_is_told_with_the_configuration(tmp_path):
    empty = tmp_path / "password"
    empty.touch()
    (problem,) = problems(Device(tmp_path, mqtt=f'username = "kitchen"\npassword_file = "{empty}"'))
    assert problem.startswith(f"[mqtt] password_file = '{empty}': is empty")


def test_certificates_that_can_be_used_are_taken(tmp_path, certificates):
    pair = f'cert_file = "{certificates.certificate("client")}"\nkey_file = "{certificates.key("client")}"'
    device = Device(tmp_path, mqtt=f'tls = true\nca_file = "{certificates.ca}"\n{pair}')
    assert build.link_settings(config.load(device.config)).ca_file == certificates.ca


@pytest.mark.parametrize(
    "command", [("run", "--input", FIXTURES / "near-misses.wav"), ("outbox", "send"), ("receive",)]
)
def test_a_certificate_that_is_none_ends_the_start_with_78_and_is_not_tried_for_ever(tmp_path, rubbish, command):
    device = Device(tmp_path, mqtt=f'tls = true\nca_file = "{rubbish}"')
    done = device.call(*command)
    assert done.returncode == 78
    assert done.stderr.startswith(f"error: {device.config}: [mqtt] ca_file = '{rubbish}': ")
    assert done.stderr.count("\n") == 1


def test_without_a_home_nothing_is_cached(monkeypatch):
    def nobody(uid):
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", nobody)
    for variable in ("HOME", "XDG_CACHE_HOME", "CACHE_DIRECTORY"):
        monkeypatch.delenv(variable, raising=False)
    assert build.cache_dir() is None
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/x")
    assert str(build.cache_dir()) == "/var/cache/x"
