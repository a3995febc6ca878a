"""scripts/setup heals what is not whole, and stops at what is missing before it downloads anything."""

from __future__ import annotations

import os
import platform
import pty
import runpy
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parent.parent
STUB = ROOT / "tests" / "support" / "stub_python.py"
# Stands in for Debian's, which would install on this machine.
APT_GET = """#!/bin/sh
echo "$*" >>"$STUB/apt-calls"
if [ -e "$STUB/no-apt" ]; then exit 100; fi
rm -f "$STUB/no-venv"
"""


class Checkout:
    """A copy of what scripts/setup reads, and the stubs in front of the PATH; ``calls`` are pip's."""

    def __init__(self, folder):
        self.folder = folder / "a checkout"
        self.stub = folder / "stub"
        (self.folder / "scripts").mkdir(parents=True)
        self.stub.mkdir()
        for name in ("setup", "supported.py", "dependencies.py"):
            shutil.copy(ROOT / "scripts" / name, self.folder / "scripts")
        (self.folder / "bin").mkdir()
        for name in ("pyproject.toml", "setup.py", "constraints.txt", "bin/wakeword-recorder"):
            shutil.copy(ROOT / name, self.folder / name)
        self.program("python3", f"#!{sys.executable} -S\n" + STUB.read_text())
        self.program("apt-get", APT_GET)
        self.env = {**os.environ, "STUB": str(self.stub), "PATH": f"{self.stub}:{os.environ['PATH']}"}
        for name in ("PYTHON", "VENV"):
            self.env.pop(name, None)

    def program(self, name, text):
        (self.stub / name).write_text(text)
        (self.stub / name).chmod(0o755)

    def tell(self, name, what=""):
        (self.stub / name).write_text(what)

    def setup(self, *arguments, status=0, **env):
        command = [self.folder / "scripts" / "setup", "--packages", "none", *arguments]
        done = subprocess.run(command, env=self.env | env, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def refusal(self, *arguments, status=1, **env):
        """What it says where it stops: one line, and nothing was begun."""
        done = self.setup(*arguments, status=status, **env)
        assert (done.stdout, done.stderr.count("\n")) == ("", 1)
        assert self.calls == []
        return done.stderr.removeprefix("scripts/setup: ").rstrip()

    @property
    def calls(self):
        file = self.stub / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def forget(self):
        (self.stub / "calls").unlink(missing_ok=True)

    @property
    def venv(self):
        return self.folder / ".venv"


EXTRAS = ("demo", "plot", "answer", "sign", "web", "hil", "reference", "test", "learn", "bench", "dev")


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_it_installs_once(checkout):
    said = checkout.setup().stdout
    assert "65 MB to download, 235 MB on disk" in said
    assert (checkout.venv / "bin" / "wakeword-recorder").exists()
    assert len(checkout.calls) == 2
    assert checkout.setup().stdout == ""
    assert len(checkout.calls) == 2


def test_the_service_has_openwakewords_files_without_its_dependencies_and_the_tests_have_it_whole(checkout):
    checkout.setup()
    others, files = checkout.calls
    assert "numpy>=2.0" in others
    assert "openwakeword" not in others
    assert files.endswith("--no-deps openwakeword -e .")
    checkout.forget()
    checkout.setup("--extras", "test")
    assert {"openwakeword==0.4.0", "amqtt>=0.12", "pytest>=8"} <= set(checkout.calls[0].split())


def test_every_package_comes_ready_made_as_pinned(checkout):
    checkout.setup()
    assert all("--only-binary :all: -c constraints.txt" in call for call in checkout.calls)


def test_extras_are_the_same_in_any_order(checkout):
    for extras in ("plot,demo", "demo,plot,", "demo"):
        checkout.setup("--extras", extras)
    assert len(checkout.calls) == 2


def test_extras_add_up(checkout):
    checkout.setup("--extras", "demo")
    checkout.setup("--extras", "plot")
    assert {"amqtt>=0.12", "matplotlib>=3.9"} <= set(checkout.calls[2].split())
    checkout.forget()
    checkout.setup("--extras", "plot,demo")
    checkout.setup()
    assert checkout.calls == []


def test_what_pyproject_asks_for_anew_is_installed_into_the_same_environment(checkout):
    checkout.setup()
    (checkout.venv / "lib" / "kept").touch()
    with (checkout.folder / "constraints.txt").open("a") as file:
        file.write("\n# changed\n")
    checkout.setup()
    assert len(checkout.calls) == 4
    assert (checkout.venv / "lib" / "kept").exists()


@pytest.mark.parametrize("what", ["is killed", "finds the disk full"])
@pytest.mark.parametrize("before", [False, True], ids=["the first", "a later"])
def test_an_installation_that_was_broken_off_is_begun_anew(checkout, what, before):
    if before:
        checkout.setup()
    checkout.tell("pip", what)
    checkout.setup("--extras", "demo", status=-9 if what == "is killed" else 1)
    assert (checkout.venv / "lib" / "half a package").exists()
    checkout.tell("pip")
    assert before is False or "is not whole" in checkout.setup("--extras", "demo").stdout
    checkout.setup("--extras", "demo")
    assert not (checkout.venv / "lib" / "half a package").exists()
    checkout.forget()
    checkout.setup("--extras", "demo")
    assert checkout.calls == []


def test_without_a_network_a_whole_environment_stays_whole(checkout):
    checkout.setup()
    (checkout.venv / "lib" / "kept").touch()
    checkout.tell("pip", "finds no network")
    checkout.setup("--extras", "plot", status=1)
    checkout.setup()
    checkout.tell("pip")
    checkout.setup("--extras", "plot")
    assert (checkout.venv / "lib" / "kept").exists()


def test_half_an_environment_is_made_anew(checkout):
    """As `python3 -m venv` leaves one where Debian's python3-venv is missing: a Python without pip."""
    checkout.setup()
    (checkout.venv / "lib" / "pip").unlink()
    assert "is not whole" in checkout.setup().stdout
    assert (checkout.venv / "lib" / "pip").exists()


def test_an_environment_of_another_python_or_place_is_made_anew(checkout, tmp_path):
    checkout.setup()
    checkout.tell("abi", "stub-313")
    assert checkout.setup().stdout == ""  # another default is no reason
    assert "of another place or Python" in checkout.setup(PYTHON="python3").stdout
    assert (checkout.venv / "lib" / "abi").read_text() == "stub-313"
    checkout.folder = checkout.folder.rename(tmp_path / "moved")
    assert "of another place or Python" in checkout.setup().stdout
    assert checkout.setup().stdout == ""


def test_two_at_once_take_turns(checkout):
    command = [checkout.folder / "scripts" / "setup", "--packages", "none"]
    processes = [subprocess.Popen(command, env=checkout.env, stdout=subprocess.DEVNULL) for _ in range(3)]
    assert [process.wait(30) for process in processes] == [0, 0, 0]
    assert len(checkout.calls) == 2


def test_without_venv_it_says_what_to_install_and_leaves_nothing(checkout):
    checkout.tell("no-venv", "yes")
    checkout.tell("no-apt")
    done = checkout.setup(status=1)
    assert done.stderr == "scripts/setup: missing Debian packages; as root: apt-get install python3-venv\n"
    assert not checkout.venv.exists()
    (checkout.stub / "no-venv").unlink()  # somebody has installed it
    checkout.setup()
    assert (checkout.venv / "bin" / "wakeword-recorder").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may install")
def test_where_it_may_it_installs_what_is_missing(checkout):
    checkout.tell("no-venv", "yes")
    checkout.setup()
    assert (checkout.stub / "apt-calls").read_text().endswith("install -y --no-install-recommends python3-venv\n")
    assert (checkout.venv / "bin" / "wakeword-recorder").exists()


def test_a_missing_library_stops_nobody_and_is_named_last_too(checkout):
    checkout.tell("no-apt")
    (checkout.folder / "scripts" / "setup").write_text(
        (checkout.folder / "scripts" / "setup").read_text().replace("libportaudio.so.2", "libnone.so.2")
    )
    done = checkout.setup("--packages", "run")
    line = "scripts/setup: missing Debian packages; as root: apt-get install libportaudio2\n"
    assert done.stderr == 2 * line
    assert (checkout.venv / "bin" / "wakeword-recorder").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ("--extras", "plto"),
            "there is no extra 'plto'; there are " + ", ".join(EXTRAS),
        ),
        (("--extras",), "--extras needs a value; see scripts/setup --help"),
        (("--packages", "all"), "--packages takes run, speech, test, long, hil, virtual or none, not 'all'"),
        (("--extra", "plot"), "unknown argument '--extra'; see scripts/setup --help"),
    ],
)
def test_a_wrong_use_is_one_line_and_changes_nothing(checkout, arguments, complaint):
    checkout.setup()
    checkout.forget()
    before = (checkout.venv / ".installed").read_text()
    status = 1 if "plto" in arguments else 2
    assert checkout.refusal(*arguments, status=status) == complaint
    assert (checkout.venv / ".installed").read_text() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_environment_that_is_another_users_is_one_line(checkout):
    checkout.setup()
    checkout.forget()
    checkout.venv.chmod(0o500)
    assert f"{checkout.venv} cannot be written" in checkout.refusal("--extras", "demo")
    checkout.venv.chmod(0o700)


# Runs the script that it is given under a Python that says other things of itself.
DISGUISED = """#!{python}
import os, platform, runpy, sys, sysconfig
if sys.argv[1].endswith("supported.py"):
    {disguise}
    runpy.run_path(sys.argv[1], run_name="__main__")
else:
    os.execv("{python}", ["{python}", *sys.argv[1:]])
"""


@pytest.mark.parametrize(
    ("disguise", "complaint"),
    [
        ("sys.maxsize = 2**31 - 1", "this is a 32-bit system, whatever its kernel"),
        ("sys.version_info = (3, 15, 0)", "CPython 3.11 to 3.14 is needed: PYTHON=/path/to/it scripts/setup"),
        ("sys.version_info = (3, 10, 9)", "CPython 3.11 to 3.14 is needed: PYTHON=/path/to/it scripts/setup"),
        ("sys.implementation.name = 'pypy'", "CPython 3.11 to 3.14 is needed"),
        ("platform.machine = lambda: 'riscv64'", "there are no wheels for riscv64; only for aarch64 and x86_64"),
        ("platform.libc_ver = lambda: ('', '')", "there are no wheels for musl (Alpine)"),
        ("platform.libc_ver = lambda: ('glibc', '2.24')", "this system's glibc is 2.24; 2.28 or newer is needed"),
        ("sysconfig.get_config_var = lambda _: 1", "this is the free-threaded Python"),
        ("sys.platform = 'darwin'", "it runs on Linux only"),
    ],
)
def test_a_machine_without_wheels_is_one_line_before_anything_is_downloaded(checkout, disguise, complaint):
    checkout.tell("no-venv", "yes")
    checkout.program("python3", DISGUISED.format(python=sys.executable, disguise=disguise))
    for version in range(11, 15):
        checkout.program(f"python3.{version}", "#!/bin/sh\nexit 127\n")
    assert complaint in checkout.refusal()
    assert not (checkout.stub / "apt-calls").exists()
    assert not checkout.venv.exists()


def test_pip_refuses_such_a_machine_too_before_it_downloads_dependencies(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(platform, "machine", lambda: "armv7l")
    monkeypatch.setitem(sys.modules, "setuptools", SimpleNamespace(setup=None))  # which pip has there, not every venv
    with pytest.raises(SystemExit, match="there are no wheels for armv7l"):
        runpy.run_path("setup.py", run_name="__main__")


def test_this_machine_is_supported():
    assert sysconfig.get_platform().startswith("linux")
    assert runpy.run_path(ROOT / "scripts" / "supported.py")["problem"]() is None


@pytest.mark.parametrize("terminal", [False, True])
def test_on_a_terminal_pip_shows_its_progress(checkout, terminal):
    leader, follower = pty.openpty() if terminal else os.pipe()
    command = [checkout.folder / "scripts" / "setup", "--packages", "none"]
    subprocess.run(command, env=checkout.env, stdout=follower, check=True)
    os.close(follower)
    os.close(leader)
    assert all(("--quiet" in call) is not terminal for call in checkout.calls)
    assert all("--progress-bar off" not in call for call in checkout.calls)
