"""scripts/install in clean Debian systems: all of it unattended; and whatever stops it half-way, nothing is lost."""

from __future__ import annotations

import fcntl
import re
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.debian_root import CHECKOUT, SERVICES, SOUND, USER, DebianRoot, obstacle
from support.emulated_root import EmulatedRoot, emulation_obstacle

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(obstacle()), reason=obstacle()),
]
SUITES = ["bookworm", "trixie"]  # what Raspberry Pi OS is made of
LONGEST_S = 300
LEAN_MB = 250
OURS = ("opt/wakeword-recorder", "etc/wakeword-recorder", "var/lib/wakeword-recorder")
ASSISTANT = "$(sed -n 's/^assistant://p' /etc/wakeword-recorder/broker-logins)"
# The memory of all processes together, sampled; each page that several share counts for each of them.
WATCHED = """
(while :; do cat /proc/[0-9]*/status 2>/dev/null | awk '/^VmRSS/ {sum += $2} END {print int(sum / 1024)}'; sleep 0.1
done >/tmp/memory) &
"""
STARTED = "systemctl start mosquitto; systemctl start wakeword-recorder; "  # services end with each command here


@pytest.fixture
def debian(tmp_path):
    made = []

    def make(suite):
        root = DebianRoot(tmp_path, suite)
        made.append(root)
        root.install_systemd(SERVICES)
        root.install_microphone()
        (root.path / "run/systemd/system").mkdir(parents=True)
        return root

    with port_1883():
        yield make
    for root in made:
        root.close()


@contextmanager
def port_1883():
    """The port of a broker on this device, which all these systems share with this machine: one test at a time."""
    with Path("/tmp/wakeword-recorder-port-1883").open("w") as file:  # noqa: S108 - shared by all runs on purpose
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def owned(root):
    """What lies outside homes, has the program's name, and is no package's."""
    skipped = " ".join(f"-path {path} -prune -o" for path in ("/proc", "/run", Path(CHECKOUT).parent, "/var/log"))
    return set(root.run(f"find / -xdev {skipped} -name '*wakeword*' -print").splitlines())


def release(root, version, break_it=""):
    """Turn the checkout into another version."""
    line = f'__version__ = "{version}"'
    root.run(f"sed -i 's/^__version__.*/{line}/' device/__init__.py", user=USER)
    root.run(f"git checkout -q device/tools/checks.py; {break_it}", user=USER)


def fails(root, command, status=1, **options):
    done = root.attempt(command, **options)
    assert done.returncode == status, done.stdout
    assert "Traceback" not in done.stdout
    assert "unbound variable" not in done.stdout
    assert "goes on" in done.stdout
    return done.stdout


@pytest.mark.parametrize("suite", SUITES)
def test_from_nothing_to_a_request_on_the_broker_and_back_to_nothing(debian, suite):
    root = debian(suite)
    root.run("apt-get install -qq --no-install-recommends mosquitto-clients procps")  # the test's own
    before, began = owned(root), time.monotonic()
    said = root.run(
        f"{SOUND}{WATCHED} scripts/install --yes --microphone virtual --wake-word hey_jarvis --broker localhost\n"
        f"(timeout 40 mosquitto_sub -u assistant -P {ASSISTANT} -t 'wakeword/+/request/+' -C 1 -F 'got %t' & "
        "sub=$!; sleep 2; paplay --device=mouth tests/fixtures/hey-jarvis-request.wav; wait $sub)\n"
        "ps -o user:30= -C wakeword-record | sort -u; sort -n /tmp/memory | tail -1 | sed 's/^/peak /'"
    )
    took_s = time.monotonic() - began
    rows = re.findall(r"^ +(ok|FAILED|failed) +(\w+)", said, re.MULTILINE)
    assert rows[:7] == [
        ("ok", name) for name in ("configuration", "state", "models", "microphone", "broker", "clock", "review")
    ]
    assert "got wakeword/" in said
    assert "/request/opted-out" in said
    assert "wakeword-recorder" in said.splitlines()[-2]
    assert took_s < LONGEST_S
    size_mb = int(root.run("du -sm /opt").split()[0])
    assert size_mb < LEAN_MB
    peak_mb = int(re.findall(r"peak (\d+)", said)[-1])
    print(f"{suite}: {took_s:.0f} s, {size_mb} MB in /opt, {peak_mb} MB of memory at most")
    assert "sklearn" not in root.run("ls /opt/wakeword-recorder/current/.venv/lib/python3*/site-packages")

    # Again: everything is there, whatever the answers are now.
    config = (root.path / "etc/wakeword-recorder/config.toml").read_bytes()
    again = root.run(f"{SOUND}{STARTED} scripts/install --yes --wake-word alexa --broker elsewhere")
    assert "kept: /etc/wakeword-recorder/config.toml" in again
    assert (root.path / "etc/wakeword-recorder/config.toml").read_bytes() == config
    assert "restart wakeword-recorder" not in (root.path / "var/log/systemctl").read_text().splitlines()[-5:]

    root.run("scripts/install --uninstall --yes")
    assert not (root.path / "opt/wakeword-recorder").exists()
    assert (root.path / "etc/wakeword-recorder/config.toml").read_bytes() == config
    assert (root.path / "var/lib/wakeword-recorder/recorder.db").exists()
    assert "nothing is installed here" in root.run("scripts/install --upgrade --yes", status=1)
    root.run("scripts/install --uninstall --purge --yes")
    assert owned(root) - before == set()
    assert "wakeword-recorder" not in (root.path / "etc/passwd").read_text()


def test_an_upgrade_that_fails_its_check_goes_back_and_one_that_passes_stays(debian):
    root = debian("bookworm")
    root.run(f"{SOUND} scripts/install --yes")
    unit = root.path / "etc/systemd/system/wakeword-recorder.service"
    before = unit.read_text()
    first = (root.path / "opt/wakeword-recorder/current").readlink()
    root.run("wakeword-recorder review opt-out")

    breaks = "sed -i 's/ok=True, found=test()/ok=False, found=test(), status=1/' device/tools/checks.py"
    release(root, "9.8.7", breaks + "; sed -i 's/^Description=.*/Description=newer/' systemd/*.service")
    said = fails(
        root, f"{SOUND}{STARTED} scripts/install --upgrade; s=$?; systemctl is-active wakeword-recorder && exit $s"
    )
    assert "FAILED" in said
    assert "the version before is back" in said
    assert (root.path / "opt/wakeword-recorder/current").readlink() == first
    assert unit.read_text() == before
    assert "9.8.7" not in root.run("wakeword-recorder --version")

    release(root, "9.8.7", "sed -i 's/^def main.*/&\\n    raise SystemExit(1)/' device/cli/run.py")
    said = fails(root, f"{SOUND}{STARTED} touch /run/services/refuse-wakeword-recorder; scripts/install --upgrade")
    assert "'Start' failed" in said
    assert (root.path / "opt/wakeword-recorder/current").readlink() == first
    root.run("rm /run/services/refuse-wakeword-recorder")

    release(root, "9.8.7")
    root.run(f"{SOUND}{STARTED} scripts/install --upgrade; systemctl is-active wakeword-recorder")
    assert "9.8.7" in root.run("wakeword-recorder --version")
    assert "chosen" in root.run("wakeword-recorder review status")
    assert len(list((root.path / "opt/wakeword-recorder/versions").iterdir())) == 1
    assert sorted(path.name for path in (root.path / "opt/wakeword-recorder").iterdir()) == ["current", "versions"]


def test_an_upgrade_that_is_killed_at_its_check_is_finished_or_taken_back_by_the_next(debian):
    root = debian("bookworm")
    root.run(f"{SOUND} scripts/install --yes")
    first = (root.path / "opt/wakeword-recorder/current").readlink()
    hangs = "sed -i 's/^def _clock.*/&\\n    import time; time.sleep(600)/' device/tools/checks.py"
    # In brackets, or the line of shell that looks for it is found.
    kill = "until [ -e /opt/wakeword-recorder/undo/whole ] && pgrep -f '[d]evice check'; do sleep 0.1; done"
    root.run("apt-get install -qq procps")
    release(root, "9.8.7", hangs)
    for signal in ("TERM", "KILL"):
        root.attempt(
            f"{SOUND}{STARTED} scripts/install --upgrade & pid=$!; {kill}; "
            f"kill -{signal} $pid; pkill -{signal} -f '[d]evice check'; wait $pid"
        )
        undone = (root.path / "opt/wakeword-recorder/current").readlink() == first
        assert undone is (signal == "TERM")
    release(root, "9.8.8", "sed -i 's/ok=True, found=test()/ok=False, found=test(), status=1/' device/tools/checks.py")
    fails(root, f"{SOUND}{STARTED} scripts/install --upgrade")
    assert (root.path / "opt/wakeword-recorder/current").readlink() == first
    release(root, "9.8.9")
    root.run(f"{SOUND}{STARTED} scripts/install --upgrade")
    assert "9.8.9" in root.run("wakeword-recorder --version")


def test_whatever_stops_it_the_same_command_goes_on(debian):
    root = debian("trixie")
    command = "scripts/install --yes"
    config = root.path / "etc/wakeword-recorder/config.toml"

    said = fails(root, "unshare --net scripts/install --yes", status=100)
    assert "'Debian packages' failed: there is no network" in said
    full = "mkdir -p /opt/wakeword-recorder; mount -t tmpfs -o size=120m none /opt/wakeword-recorder; "
    assert "120 MB are free on the disk of /opt, 500 MB are needed" in fails(
        root, "mount -t tmpfs -o size=120m none /opt; " + command
    )
    said = fails(root, full + command)
    assert "the disk of /opt" in said or "No space left" in said
    little = (
        "sed 's/^MemAvailable:.*/MemAvailable: 90000 kB/; s/^SwapFree:.*/SwapFree: 1000 kB/' /proc/meminfo >/tmp/m; "
    )
    said = fails(root, little + "mount --bind /tmp/m /proc/meminfo; " + command)
    assert "88 MB of memory and swap are free, 250 MB are needed; add swap: fallocate" in said.replace("89 MB", "88 MB")
    said = fails(
        root, "(exec 9>>/run/wakeword-recorder-install.lock; flock 9; echo 77 >&9; sleep 60) & sleep 1; " + command
    )
    assert "another scripts/install is at work (process 77)" in said
    for moment in ("[p]ip install", "[e]nsurepip"):
        root.run("apt-get install -qq procps")
        said = root.attempt(
            f"{SOUND} setsid env --default-signal=INT {command} & pid=$!; "  # a shell has its & ignore it
            f"until pgrep -f '{moment}' >/dev/null; do sleep 0.05; done; kill -INT -- -$pid; wait $pid"
        ).stdout
        assert "broken off; sudo scripts/install --yes goes on" in said
    assert "no microphone is here" in fails(root, command, status=69)
    assert not config.exists()
    said = fails(root, f"{SOUND} (sleep 0.1) & scripts/install --yes --broker 127.0.0.1:1", status=69)
    assert "127.0.0.1:1: nothing listens there" in said
    assert not config.exists()
    (root.path / "run/services").mkdir(exist_ok=True)
    (root.path / "run/services/refuse-mosquitto").touch()
    assert "mosquitto does not start" in fails(root, SOUND + command)
    (root.path / "run/services/refuse-mosquitto").unlink()
    kept = config.read_bytes()
    assert re.search("kept: .*ok +broker", root.run(SOUND + command), re.DOTALL)
    assert config.read_bytes() == kept


def test_an_installation_of_an_older_readme_is_taken_over_and_comes_back_if_the_check_fails(debian):
    root = debian("bookworm")
    root.run("apt-get install -qq python3-venv libportaudio2")
    unit = root.path / "etc/systemd/system/wakeword-recorder.service"
    root.run(f"git config --global --add safe.directory '*'; git clone -q {CHECKOUT} /opt/wakeword-recorder")
    root.run("/opt/wakeword-recorder/scripts/setup --packages none")
    root.run("install -D -m 644 systemd/sysusers.d/wakeword-recorder.conf -t /etc/sysusers.d; systemd-sysusers")
    root.run("sed s,/current,, systemd/wakeword-recorder.service | tee /etc/systemd/system/wakeword-recorder.service")
    root.run("install -D -m 644 config/config.toml /etc/wakeword-recorder/config.toml")
    root.run("ln -s /opt/wakeword-recorder/.venv/bin/wakeword-recorder /usr/local/bin")
    old, config = unit.read_text(), root.path / "etc/wakeword-recorder/config.toml"
    shipped = config.read_bytes()
    start = "apt-get install -qq mosquitto >/dev/null; systemctl start mosquitto; systemctl start wakeword-recorder; "

    said = fails(
        root, "systemctl start wakeword-recorder; scripts/install --yes", status=69
    )  # neither microphone nor broker
    assert "the version before is back" in said
    assert unit.read_text() == old
    assert root.run("readlink -f /usr/local/bin/wakeword-recorder").startswith("/opt/wakeword-recorder/.venv/")
    said = root.run(f"{start}{SOUND} scripts/install --yes; systemctl is-active wakeword-recorder")
    assert "kept: " in said
    assert config.read_bytes() == shipped
    assert sorted(path.name for path in (root.path / "opt/wakeword-recorder").iterdir()) == ["current", "versions"]
    assert "/current/" in unit.read_text()
    assert "/current/" in (unit.parent / "wakeword-recorder.service").read_text()
    root.run("wakeword-recorder --version")


def test_a_mosquitto_with_a_configuration_of_its_own_is_left_alone(debian):
    root = debian("trixie")
    root.run("apt-get install -qq mosquitto")
    conf = root.path / "etc/mosquitto/conf.d/home.conf"
    conf.write_text("listener 1885\nallow_anonymous true\n")
    said = fails(root, f"{SOUND} scripts/install --yes", status=69)
    assert (
        "mosquitto has a configuration of its own here (/etc/mosquitto/conf.d/home.conf), which is left alone" in said
    )
    assert sorted(path.name for path in conf.parent.iterdir()) == ["README", "home.conf"]


def test_a_card_is_prepared_without_a_running_systemd(debian):
    """As pi-gen does, in a chroot: all is in place for the first boot, and the check alone says what is missing."""
    root = debian("trixie")
    (root.path / "run/systemd/system").rmdir()
    root.run("install -D -m 644 config/config.toml /etc/wakeword-recorder/config.toml")
    done = root.attempt("scripts/install --yes")
    assert done.returncode == 69, done.stdout
    wants = root.path / "etc/systemd/system/multi-user.target.wants/wakeword-recorder.service"
    assert wants.is_symlink()
    assert (root.path / "usr/local/share/man/man1/wakeword-recorder.1").exists()


@pytest.mark.skipif(bool(emulation_obstacle()), reason=emulation_obstacle())
def test_the_demo_runs_on_an_emulated_arm64_system(tmp_path):
    trixie = DebianRoot(tmp_path, "trixie")
    root = EmulatedRoot(tmp_path, trixie.path)
    assert root.run("uname -m") == "aarch64\n"
    said = root.run("scripts/demo")
    assert re.search(r"\nThe request: /root/\S+\.wav\n$", said)
    assert '"review": {' in said
    trixie.close()
    shutil.rmtree(root.path)
