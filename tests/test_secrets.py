"""Secrets and sound stay where they belong: the password in its file, the state in mode 0600, sent audio nowhere."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.broker import Broker, Listener, await_true
from support.daemon import Daemon, Device

from device.message.envelope import read_wav

FIXTURES = Path(__file__).parent / "fixtures"
REQUEST = FIXTURES / "hey-jarvis-request.wav"
PASSWORD = "Xylophon-Quark-4711"  # noqa: S105 - the tests' own
RUN = 64  # samples of sound: no other file holds 128 bytes of it by chance


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path, anonymous=False)
    broker.settings.append(broker.password_file(kitchen=PASSWORD))
    with broker:
        yield broker


def device_of(folder, broker, password=PASSWORD, mode=0o600, **settings):
    file = folder / "password"
    file.write_text(password + "\n")
    file.chmod(mode)
    login = f'username = "kitchen"\npassword_file = "{file}"\nno_subscriber = "drop"'
    return Device(folder, broker.port, mqtt=login, **settings)


def everything(done):
    return done.stdout + done.stderr


@pytest.fixture
def brief(tmp_path):
    """The request without the quiet around it, for a daemon at a microphone's pace."""
    path = tmp_path / "brief.wav"
    soundfile.write(path, soundfile.read(REQUEST, start=18_000, stop=60_000, dtype="int16")[0], 16_000)
    return path


# --- the password ---


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_password_is_in_no_argument_variable_or_log(tmp_path, broker, log_format):
    device = device_of(tmp_path, broker, log='level = "debug"')
    with Daemon(device, "--input", REQUEST) as daemon:
        daemon.wait_for("broker-connected")
        process = Path("/proc", str(daemon.process.pid))
        assert PASSWORD.encode() not in (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        daemon.stop()
    assert PASSWORD not in json.dumps(daemon.events)
    done = device.call("run", "--input", REQUEST, "--pace", "fast", "--log-format", log_format)
    assert done.returncode == 0
    assert PASSWORD not in everything(done)


@pytest.mark.parametrize(
    "command", [("check",), ("check", "--json"), ("outbox", "send"), ("receive", "--timeout", 0.2)]
)
def test_no_command_shows_the_password(tmp_path, broker, command):
    done = device_of(tmp_path, broker, log='level = "debug"').call(*command)
    assert PASSWORD not in everything(done)
    if command[0] == "check":
        assert "published and acknowledged" in done.stdout


def test_a_wrong_password_is_told_and_not_shown(tmp_path, broker):
    wrong = "Wrong-" + PASSWORD
    device = device_of(tmp_path, broker, password=wrong, log='level = "debug"')
    done = device.call("check")
    assert "refused" in done.stdout
    assert "password" in done.stdout
    assert PASSWORD not in everything(done)
    events = device.hear(REQUEST, arguments=("--drain-timeout", 0.5), status=69)
    assert any(event.get("event") == "broker-unavailable" for event in events)
    assert PASSWORD not in json.dumps(events)


@pytest.mark.parametrize("content", ["", f"kitchen\n{PASSWORD}\nmore", PASSWORD + "\udcff", PASSWORD * 5000])
def test_an_unusable_password_file_is_told_without_its_content(tmp_path, broker, content):
    device = device_of(tmp_path, broker)
    (tmp_path / "password").write_bytes(content.encode(errors="surrogateescape"))
    done = device.call("outbox", "send")
    assert done.returncode == 78
    assert "password_file" in done.stderr
    assert "Traceback" not in done.stderr
    assert PASSWORD not in everything(done)


def test_a_password_put_into_the_configuration_is_an_error_that_does_not_repeat_it(tmp_path):
    device = Device(tmp_path, mqtt=f'username = "kitchen"\npassword = "{PASSWORD}"')
    done = device.call("check")
    assert done.returncode == 78
    assert "password_file" in done.stderr
    assert PASSWORD not in everything(done)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True), (0o666, True)])
def test_a_password_file_that_everybody_may_read_is_warned_of(tmp_path, broker, mode, warned):
    done = device_of(tmp_path, broker, mode=mode).call("outbox", "send")
    assert done.returncode == 0
    assert ("chmod o-rwx" in done.stderr) is warned


def test_the_systemd_credential_is_the_password_where_no_file_is_named(tmp_path, broker):
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "mqtt-password").write_text(PASSWORD)
    (credentials / "mqtt-password").chmod(0o440)
    credentials.chmod(0o500)
    device = Device(tmp_path, broker.port, mqtt='username = "kitchen"\nno_subscriber = "drop"')
    assert "refused" in device.call("check").stdout
    done = device.call("check", env=device.env | {"CREDENTIALS_DIRECTORY": str(credentials)})
    assert "published and acknowledged" in done.stdout
    assert "chmod" not in everything(done)
    assert PASSWORD not in everything(done)


# --- the state folder ---


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_state_is_the_users_alone_whatever_the_umask(tmp_path, umask):
    device = Device(tmp_path)
    done = device.call("run", "--input", REQUEST, "--pace", "fast", "--drain-timeout", 0, umask=umask)
    assert done.returncode == 69
    device.call("microphone", "mute", umask=umask)
    device.call("review", "opt-out", umask=umask)
    state = tmp_path / "state"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in state.iterdir()}
    assert {"recorder.db", "muted"} <= files.keys()
    assert set(files.values()) == {0o600}, files


def test_while_the_daemon_runs_its_files_are_the_users_alone_too(tmp_path):
    (tmp_path / "state").mkdir(mode=0o755)  # as another program may have left it
    device = Device(tmp_path)
    previous = os.umask(0)
    try:
        with Daemon(device, "--input", REQUEST, "--pace", "fast") as daemon:
            daemon.wait_for("stored")
            state = tmp_path / "state"
            assert stat.S_IMODE(state.stat().st_mode) == 0o700
            files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in state.iterdir()}
            assert "recorder.db-wal" in files
            assert set(files.values()) == {0o600}, files
    finally:
        os.umask(previous)


# --- the sound ---


def sound_in(folder, pcm):
    """The files under a folder that hold any run of this sound; there are several in each page of the database."""
    samples = np.frombuffer(pcm, "<i2")
    runs = [samples[start : start + RUN] for start in range(0, len(samples) - RUN, 8 * RUN)]
    telling = [run.tobytes() for run in runs if len(np.unique(run)) > RUN // 2]
    assert len(telling) > 10
    contents = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    return [file for file, content in contents.items() if any(run in content for run in telling)]


@pytest.fixture
def device(tmp_path):
    """A device whose home and temporary files are in its own folder, with a broker outside it."""
    (tmp_path / "device").mkdir()
    with Broker(tmp_path) as broker:
        device = Device(tmp_path / "device", broker.port)
        device.env |= {"HOME": str(device.folder), "TMPDIR": str(device.folder)}
        device.listener = Listener(broker.port, "wakeword/kitchen/request/+")
        device.broker = broker
        yield device


def test_sent_sound_is_in_no_file_while_the_daemon_goes_on(device, brief):
    quiet = [argument for _ in range(10) for argument in ("--input", FIXTURES / "quiet-room.wav")]
    with Daemon(device, "--input", brief, *quiet) as daemon:
        daemon.wait_for("sent")
        _, pcm = read_wav(device.listener.next().payload)
        await_true(lambda: not sound_in(device.folder, pcm), "no file holds the sound", timeout_s=5.0)
        assert daemon.process.poll() is None
        daemon.process.kill()  # and it was no orderly end that cleaned up
    assert sound_in(device.folder, pcm) == []


def test_sound_is_on_disk_while_it_waits_and_in_no_file_once_it_was_sent(device, tmp_path):
    device.broker.stop()
    recordings = [REQUEST, FIXTURES / "two-requests.wav", FIXTURES / "pauses-inside.wav"]
    device.hear(*recordings, arguments=("--drain-timeout", 0), status=69)
    before = shutil.copytree(device.folder, tmp_path / "before")
    device.broker.start()
    listener = Listener(device.broker.port, "wakeword/kitchen/request/+")
    device.hear(FIXTURES / "quiet-room.wav")
    for _ in range(4):
        _, pcm = read_wav(listener.next().payload)
        assert sound_in(before, pcm)
        assert sound_in(device.folder, pcm) == []


def test_sound_deleted_by_hand_is_in_no_file(device):
    device.hear(REQUEST)
    _, pcm = read_wav(device.listener.next().payload)
    device.broker.stop()
    device.hear(REQUEST, arguments=("--drain-timeout", 0), status=69)  # the same sound once more
    assert sound_in(device.folder, pcm)
    assert device.call("outbox", "delete", "--all").returncode == 0
    assert sound_in(device.folder, pcm) == []
