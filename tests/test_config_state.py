"""Where the state may lie when the configuration cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.config import settings as config
from device.config.state_folder import state_folders
from device.errors import ConfigurationError

WHOLE = '[device]\nid = "kitchen"\nstate_dir = "/data/state"\n[mqtt]\nhost = "broker"\n'
NAMED = Path("/data/state")


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    """The user's configuration, on a machine without the service, with nobody's variables."""
    monkeypatch.setattr(config, "SYSTEM_PATH", tmp_path / "etc" / "config.toml")
    monkeypatch.setattr(config, "SYSTEM_STATE", tmp_path / "var")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    return tmp_path / "config.toml"


def default(file: Path) -> Path:
    return file.parent / "xdg" / "wakeword-recorder"


def refused(file: Path) -> bool:
    with pytest.raises(ConfigurationError):
        config.load(file)
    return True


@pytest.mark.parametrize(
    "text",
    [
        WHOLE.replace("host", "hots"),
        WHOLE.replace('"broker"', "5"),
        WHOLE.replace("[mqtt]", "[mqqt]"),
        WHOLE.replace('"kitchen"', '"the kitchen"'),
        WHOLE.replace('"broker"', '"broker'),
        WHOLE + "[wake\n",
        WHOLE + "words = [\n",
        WHOLE.replace('"kitchen"', "kitchen"),
        "# state_dir = '/other'\n" + WHOLE.replace("[mqtt]", "[mqtt"),
        'device = { state_dir = "/data/state" }\n[mqtt\n',
        'device.state_dir = "/data/state"\n[mqtt\n',
    ],
)
def test_a_mistake_elsewhere_leaves_the_named_folder_certain(file, text):
    file.write_text(text)
    assert refused(file)
    found = state_folders(file)
    assert (found.folders, found.certain) == ((NAMED,), True)


@pytest.mark.parametrize(
    "text", ['[mqtt]\nhots = "broker"\n', '[mqtt]\nhost = "broker\n', "[device]\nid = 5\n", "\0[\n"[1:]]
)
def test_a_file_that_names_no_folder_means_the_default_for_certain(file, text):
    file.write_text(text)
    assert refused(file)
    found = state_folders(file)
    assert (found.folders, found.certain) == ((default(file),), True)


@pytest.mark.parametrize(
    "text",
    [
        WHOLE.replace("state_dir", "statedir"),
        WHOLE.replace("state_dir", "state-dir"),
        WHOLE.replace("state_dir", "state_path"),
        WHOLE.replace("[device]", "[devcie]"),
        WHOLE.replace("[device]\n", ""),
        WHOLE.replace("state_dir = ", "state_dir "),
        WHOLE.replace("state_dir = ", "state_dir: "),
        WHOLE.replace('/data/state"', "/data/state"),
        WHOLE.replace('"/data/state"', "/data/state"),
        WHOLE.replace('"/data/state"', '"/data/state"x'),
        "[device]\nstate_dir = '/data/state'\nstate_dir = '/data/state'\n",
    ],
)
def test_a_mistake_in_the_folder_s_own_line_makes_both_thinkable(file, text):
    file.write_text(text)
    assert refused(file)
    found = state_folders(file)
    assert (found.folders, found.certain) == ((NAMED, default(file)), False)


@pytest.mark.parametrize("value", ["5", '""', "[]", '"\\u0000"', '"~nobody-at-all/x"'])
def test_a_value_that_is_no_folder_leaves_the_default_thinkable_and_never_the_configuration_s_own(file, value):
    file.write_text(f"[device]\nstate_dir = {value}\n")
    assert refused(file)
    found = state_folders(file)
    assert (found.folders, found.certain) == ((default(file),), False)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_text_in_another_encoding_still_tells_its_folder(file, encoding):
    file.write_bytes(WHOLE.replace("host", "hots").encode(encoding))
    assert refused(file)
    assert state_folders(file).folders == (NAMED,)


def test_bytes_that_are_no_text_leave_everything_else_readable_but_nothing_certain(file):
    file.write_bytes(WHOLE.encode() + b"\xff\xfe")
    assert refused(file)
    assert state_folders(file).folders == (NAMED, default(file))
    file.write_bytes(WHOLE.encode("utf-16-le"))
    assert refused(file)
    found = state_folders(file)
    assert (found.folders, found.certain) == ((default(file),), False)


def test_systemd_s_folder_and_another_one_that_is_named_are_both_thinkable(file, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/other")
    file.write_text(WHOLE)
    assert refused(file)
    found = state_folders(file)
    assert (found.folders, found.certain) == ((NAMED, Path("/var/lib/other")), False)


def test_a_file_that_is_not_there_means_nothing_but_the_service_s_means_its_folder(file, monkeypatch):
    assert state_folders(file).folders == ()
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert state_folders(config.SYSTEM_PATH).folders == (config.SYSTEM_STATE,)


def test_the_service_s_folder_is_thinkable_for_root_only(file, monkeypatch):
    config.SYSTEM_STATE.mkdir()
    file.write_text(WHOLE.replace("state_dir", "statedir"))
    assert state_folders(file).folders == (NAMED, default(file))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert state_folders(file).folders == (NAMED, default(file), config.SYSTEM_STATE)


def test_root_s_commands_act_on_the_service_while_its_file_is_missing(file, monkeypatch):
    """The running service goes on without it; root's own folder would be another one."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(file.parent))
    config.SYSTEM_STATE.mkdir()
    assert config.load().device.state_dir == str(default(file))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert config.load().device.state_dir == str(config.SYSTEM_STATE)


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="replace")))
def test_whatever_a_file_holds_gives_folders_and_never_an_error(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("any") / "config.toml"
    file.write_bytes(content)
    found = state_folders(file)
    assert all(folder.is_absolute() for folder in found.folders)
    assert len(found.folders) == 1 or not found.certain
    assert os.fsencode(file.parent) not in map(os.fsencode, found.folders)
