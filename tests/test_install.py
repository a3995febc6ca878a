"""scripts/install: what it refuses, writes and goes back to; `faults/test_install_clean.py` runs all of it."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from support.broker import Broker, Listener

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "install"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may")
# Every place that it writes to, below a test's folder, and a systemctl that notes what it is asked for.
ELSEWHERE = """
. {script}
opt={folder}/opt etc={folder}/etc state={folder}/state cache={folder}/cache unit={folder}/unit users={folder}/users
units={folder}/units
command={folder}/bin/command undo=$opt/undo pages=({folder}/share/{{1,2,3,4}}) mosquitto={folder}/mosquitto
log={folder}/log lock={folder}/lock said={folder}/said
broker_files=($mosquitto/wakeword.acl $mosquitto/wakeword.passwd $mosquitto/conf.d/wakeword.conf)
systemctl() {{ echo "$*" >>{folder}/systemctl; case $1 in is-active) [ -e {folder}/active ] ;; esac; }}
identity=2.0.0-new target=$opt/versions/2.0.0-new
"""


def install(*arguments, status=0, user=None):
    """Call the script itself without a terminal."""
    command = ["bash", SCRIPT, *arguments]
    if user is not None:
        command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stderr if status else done.stdout


class Place:
    """A folder in the place of the whole system."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("opt/versions", "etc", "state", "bin", "units", "mosquitto/conf.d"):
            (folder / name).mkdir(parents=True)

    def run(self, command, status=0):
        text = ELSEWHERE.format(script=SCRIPT, folder=self.folder) + command
        done = subprocess.run(
            ["bash", "-c", text], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def version(self, name, migrations=3):
        """A program that is installed there."""
        folder = self.folder / "opt" / "versions" / name
        (folder / ".venv" / "bin").mkdir(parents=True)
        (folder / "systemd").mkdir()
        unit = f"[Service]\nExecStart={self.folder}/opt/current/.venv/bin/wakeword-recorder run\n# {name}\n"
        (folder / "systemd" / "wakeword-recorder.service").write_text(unit)
        for program, says in (("wakeword-recorder", name), ("python", migrations)):
            (folder / ".venv" / "bin" / program).write_text(f"#!/bin/sh\necho {says}\n")
            (folder / ".venv" / "bin" / program).chmod(0o755)
        return unit

    def make_current(self, name):
        unit = self.version(name)
        (self.folder / "opt" / "current").symlink_to(f"versions/{name}")
        (self.folder / "unit").write_text(unit)
        (self.folder / "active").touch()

    def read(self, name):
        return (self.folder / name).read_text()

    @property
    def current(self):
        return str((self.folder / "opt" / "current").readlink())

    @property
    def calls(self):
        return self.read("systemctl").splitlines()


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_help_is_the_head_of_the_script():
    said = install("--help")
    assert said.startswith("Installs wakeword-recorder as a service")
    for option in set(re.findall(r"--[a-z-]+(?=[ )=|])", SCRIPT.read_text().split("parse() {")[1].split("\n}")[0])):
        assert option in said or option == "--help"
    assert "shellcheck" not in said


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--broke", "x"], "unknown argument '--broke'; see scripts/install --help"),
        (["--broker"], "--broker needs a value"),
        (["--upgrade", "--uninstall"], "--upgrade and --uninstall exclude each other"),
        (["--purge"], "--purge only goes with --uninstall"),
        (["--upgrade", "--wake-word", "alexa"], "--wake-word only goes with an installation"),
        (["--uninstall", "--broker=x"], "--broker only goes with an installation"),
    ],
)
def test_a_wrong_use_is_one_line_and_status_2(arguments, complaint):
    said = install(*arguments, status=2)
    assert complaint in said
    assert said.count("\n") == 1


@as_root
def test_who_is_not_root_is_told_the_command_with_sudo_and_its_arguments_as_given():
    said = install("--yes", "--microphone", "USB PnP", status=1, user=65534)
    assert said == r"scripts/install: this needs root: sudo scripts/install --yes --microphone USB\ PnP" + "\n"


@as_root
@pytest.mark.skipif(Path("/etc/wakeword-recorder/config.toml").exists(), reason="it is installed here")
def test_without_a_terminal_every_question_needs_its_option_before_anything_is_done():
    said = install("--microphone", "x", "--wake-word=alexa", status=2)
    assert said.rstrip().endswith("nobody can be asked here, standard input is no terminal: give --broker, or --yes")
    assert "--microphone" in install(status=2)


@as_root
def test_too_little_memory_or_disk_is_said_before_anything_is_done_with_what_to_do(place):
    (place.folder / "meminfo").write_text("MemTotal: 425000 kB\nMemAvailable: 150000 kB\nSwapFree: 20000 kB\n")
    awk = f'awk() {{ command awk "${{@:1:$#-1}}" {place.folder}/meminfo; }}\n'
    said = place.run(f"{awk} look", status=1)
    assert "166 MB of memory and swap are free, 250 MB are needed; add swap: fallocate -l 512M" in said
    said = place.run("free_mb() { echo 300; }; look", status=1)
    assert "300 MB are free on the disk of /opt, 500 MB are needed; make room" in said
    assert "there is no systemd here" in place.run("command() { return 1; }; look", status=1)


def test_a_second_run_at_once_is_refused_and_the_first_ones_number_said(place):
    (place.folder / "lock").write_text("4711\n")
    with subprocess.Popen(["flock", place.folder / "lock", "sh", "-c", "echo; cat"], stdin=-1, stdout=-1) as holder:
        holder.stdout.readline()
        assert "another scripts/install is at work (process 4711)" in place.run("prepare", status=1)
        holder.stdin.close()
    place.run("prepare")


def test_a_failed_step_shows_what_it_said_last_and_how_to_go_on(place):
    say = "talk() { for n in {1..30}; do echo line $n; done; false; }; again='X goes on'; steps=3; step Talking talk"
    said = place.run(say, status=1)
    assert "[1/3] Talking" in said
    assert "      line 30\n" in said
    assert "      line 20\n" in said
    assert "line 10\n" not in said
    assert "'Talking' failed\n" in said
    assert "once that is mended, X goes on" in said
    assert "line 1\n" in place.read("log")


def test_a_command_that_fails_amid_a_step_ends_it(place):
    place.run("two() { false; touch $opt/reached; }; step Two two", status=1)
    assert not (place.folder / "opt" / "reached").exists()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Temporary failure resolving 'deb.debian.org'", "there is no network"),
        ("ERROR: Max retries exceeded with url", "there is no network"),
        ("E: Release file for http://x is not valid yet", "this device's clock is wrong"),
        ("certificate verify failed: certificate is not yet valid", "this device's clock is wrong"),
        ("E: Could not get lock /var/lib/dpkg/lock-frontend", "another program is installing packages"),
        ("MemoryError", "there was too little memory"),
    ],
)
def test_the_usual_failures_are_explained(place, line, reason):
    said = place.run(f'talk() {{ echo "{line}"; return 1; }}; step Talking talk', status=1)
    assert f"'Talking' failed: {reason}" in said


def test_a_full_disk_is_explained_before_all_else(place):
    said = place.run("free_mb() { echo 3; }; talk() { echo no network: Max retries; false; }; step T talk", status=1)
    assert "the disk of /opt is full: make room" in said or "the disk of /var is full: make room" in said


def test_packages_that_are_there_need_no_network(place):
    said = place.run("apt-get() { echo called; false; }; dpkg-query() { echo installed; }; packages mosquitto")
    assert said == "all there\n"


def test_an_index_that_cannot_be_had_whole_is_no_reason_to_stop(place):
    apt = (
        'apt-get() { echo "apt $*"; [ $4 != update ]; }; dpkg() { echo "dpkg $*"; }; dpkg-query() { false; }; packages'
    )
    said = place.run(apt)
    assert "dpkg --configure -a" in said
    assert "not every package list could be had" in said
    assert "DPkg::Lock::Timeout=600 install -y --no-install-recommends python3 python3-venv libportaudio2" in said


def test_a_change_of_any_file_is_another_version_but_a_cache_is_none(place):
    checkout = place.folder / "checkout"
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in names:
        if not name.startswith(("tests/", "training/")):
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, checkout / name, follow_symlinks=False)
    first = place.run(f"cd {checkout}; identify")
    (checkout / "device" / "__pycache__").mkdir()
    (checkout / "device" / "__pycache__" / "x.pyc").touch()
    assert place.run(f"cd {checkout}; identify") == first
    (checkout / "device" / "new.py").touch()
    assert place.run(f"cd {checkout}; identify") != first


def test_a_first_installation_remembers_nothing_and_writes_unit_command_and_pages(place):
    place.version("2.0.0-new")
    place.run("remember; switch")
    assert place.current == "versions/2.0.0-new"
    assert place.read("unit").endswith("# 2.0.0-new\n")
    assert (place.folder / "bin" / "command").readlink() == place.folder / "opt/current/.venv/bin/wakeword-recorder"
    assert not (place.folder / "opt" / "undo").exists()
    assert place.calls == ["daemon-reload"]


def test_an_upgrade_stops_the_service_and_going_back_brings_the_old_one_up_again(place):
    place.make_current("1.0.0-old")
    place.version("2.0.0-new")
    place.run("remember; switch")
    assert (place.current, place.read("unit")[-12:]) == ("versions/2.0.0-new", "# 2.0.0-new\n")
    said = place.run("go_back")
    assert "the version before is back: 1.0.0" in said
    assert (place.current, place.read("unit")[-12:]) == ("versions/1.0.0-old", "# 1.0.0-old\n")
    assert "stop wakeword-recorder" in place.calls
    assert place.calls[-1] == "start wakeword-recorder"
    assert not (place.folder / "opt" / "undo").exists()
    assert not (place.folder / "unit.old").exists()


def test_what_an_interrupted_upgrade_remembered_is_what_the_next_one_goes_back_to(place):
    place.make_current("1.0.0-old")
    place.version("2.0.0-new")
    place.version("3.0.0-newer")
    place.run("remember; switch")  # and killed
    place.run("identity=3.0.0-newer target=$opt/versions/3.0.0-newer; remember; switch; go_back")
    assert place.current == "versions/1.0.0-old"


def test_a_database_that_the_new_version_changes_comes_back_with_the_old_and_later_choices_stay(place):
    place.make_current("1.0.0-old")
    place.version("2.0.0-new", migrations=4)
    state = place.folder / "state"
    (state / "recorder.db").write_text("old form")
    (state / "recorder.db-wal").write_text("old log")
    (state / "chosen-1-reviewable").touch()
    place.run("remember; switch")
    (state / "recorder.db").write_text("new form")
    (state / "recorder.db-wal").unlink()
    (state / "recorder.db-shm").touch()
    (state / "chosen-1-reviewable").rename(state / "chosen-2-opted-out")
    place.run("go_back")
    found = {file.name: file.read_text() for file in state.iterdir()}
    assert found == {"recorder.db": "old form", "recorder.db-wal": "old log", "chosen-2-opted-out": ""}


def test_a_database_of_the_same_form_is_left_alone(place):
    place.make_current("1.0.0-old")
    place.version("2.0.0-new")
    (place.folder / "state" / "recorder.db").write_text("before")
    place.run("remember; switch")
    (place.folder / "state" / "recorder.db").write_text("a request more")
    place.run("go_back")
    assert place.read("state/recorder.db") == "a request more"


def test_a_unit_that_somebody_changed_is_kept_beside_the_new_one(place):
    place.make_current("1.0.0-old")
    place.version("2.0.0-new")
    (place.folder / "unit").write_text(place.read("unit") + "Nice=5\n")
    assert "changes belong into systemctl edit" in place.run("remember; switch")
    assert place.read("unit.old").endswith("Nice=5\n")


def test_a_unit_whose_program_is_gone_is_nothing_to_go_back_to(place):
    place.version("2.0.0-new")
    (place.folder / "unit").write_text("[Service]\nExecStart=/opt/gone/wakeword-recorder run\n")
    place.run("remember; switch")
    assert not (place.folder / "opt" / "undo").exists()
    assert "gone" in place.read("unit.old")


def test_a_command_of_somebody_elses_is_not_overwritten(place):
    place.version("2.0.0-new")
    (place.folder / "bin" / "command").write_text("mine")
    assert "somebody else's file" in place.run("remember; switch", status=1)
    assert place.read("bin/command") == "mine"


def test_what_is_left_at_the_end_is_the_version_that_counts_and_nothing_of_an_older_readmes_checkout(place):
    place.make_current("1.0.0-old")
    place.version("2.0.0-new")
    opt = place.folder / "opt"
    for name in (".git", ".venv", "device", "downloads", "versions/.copying", "undo"):
        (opt / name).mkdir()
    place.run("place versions/2.0.0-new $target/systemd/wakeword-recorder.service; tidy")
    assert sorted(path.name for path in opt.iterdir()) == ["current", "versions"]
    assert [path.name for path in (opt / "versions").iterdir()] == ["2.0.0-new"]


OTHERS = ("wakeword-recorder-answer.service", "wakeword-recorder-web.service", "wakeword-recorder-web.socket")


def test_the_other_units_come_and_go_with_the_program_and_are_started_by_nobody_but_its_user(place):
    place.version("2.0.0-new")
    for name in OTHERS:
        (place.folder / "opt/versions/2.0.0-new/systemd" / name).write_text("[Service]\n")
    place.run("switch; start")
    assert {path.name for path in (place.folder / "units").iterdir()} == set(OTHERS)
    assert not [
        call for call in place.calls if call.startswith(("enable", "start")) and ("answer" in call or "web" in call)
    ]
    place.run("remove_program")
    assert f"disable --now wakeword-recorder {' '.join(OTHERS)}" in place.calls
    assert list((place.folder / "units").iterdir()) == []


def test_a_disabled_service_is_not_started_by_an_upgrade(place):
    said = place.run('systemctl() { echo "$*"; [ "$1" != is-enabled ]; }; task=upgrade; start')
    assert "it is disabled, and stays so" in said
    assert "restart" not in said


@as_root
@pytest.mark.skipif(shutil.which("mosquitto_passwd") is None, reason="not installed: mosquitto")
def test_the_broker_on_this_device_has_the_access_list_for_this_device_and_the_generated_logins(place, tmp_path):
    (place.folder / "etc" / "broker-logins").write_text("attic:pw1\nassistant:pw2\nreviewer:pw3\ndashboard:pw4\n")
    stubs = f"target={ROOT}; packages() {{ :; }}; await_broker() {{ :; }}; chgrp() {{ :; }}; local_broker"
    place.run(stubs)
    folder = place.folder / "mosquitto"
    assert {path.name for path in folder.iterdir()} == {"conf.d", "wakeword.acl", "wakeword.passwd"}
    assert stat.S_IMODE((folder / "wakeword.passwd").stat().st_mode) == 0o640
    assert ":pw" not in (folder / "wakeword.passwd").read_text()
    conf = (folder / "conf.d" / "wakeword.conf").read_text()
    settings = [
        line for line in conf.splitlines() if line and not line.startswith(("#", "listener", "allow_anonymous"))
    ]
    assert "listener 1883 127.0.0.1" in conf.splitlines()
    assert place.calls == ["enable mosquitto", "restart mosquitto"]
    settings = [line.replace("/etc/mosquitto", str(folder)) for line in settings]
    with Broker(tmp_path, *settings, anonymous=False) as broker:
        login = {"username": "assistant", "password": "pw2"}
        with (
            Listener(broker.port, "wakeword/+/request/+", **login) as assistant,
            Listener(broker.port, username="attic", password="pw1") as device,  # noqa: S106
        ):
            assert device.publish("wakeword/kitchen/request/opted-out", b"x") == 135
            assert device.publish("wakeword/attic/request/opted-out", b"x") == 0
            assert assistant.next().topic == "wakeword/attic/request/opted-out"
    (folder / "wakeword.acl").write_text("# mine, too\n")
    place.run(stubs)
    assert (folder / "wakeword.acl").read_text() == "# mine, too\n"
    (folder / "conf.d" / "wakeword.conf").unlink()  # broken off
    place.run(stubs)
    assert (folder / "wakeword.acl").read_text() == "# mine, too\n"
    assert (folder / "conf.d" / "wakeword.conf").exists()
    place.run("remove_local_broker")
    assert [path.name for path in folder.iterdir()] == ["conf.d"]
