"""CONTRIBUTING.md names what exists: every file, and on the walk the modules that a request really passes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.broker import Broker, Listener
from support.daemon import Device

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
REQUEST = ROOT / "tests" / "fixtures" / "hey-jarvis-request.wav"
NOTING = """
import sys, threading
files = set()
note = lambda frame, event, argument: files.add(frame.f_code.co_filename)
threading.setprofile(note)
sys.setprofile(note)
from device.__main__ import main
try:
    main()
finally:
    sys.setprofile(None)
    print(*files, sep="\\n")
"""
WALK = re.findall(r"^\| `(device/\S+)` \|", TEXT.split("## Where a change goes")[0], re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:device|tests|scripts|training|config)/[\w./-]*)", TEXT))))
def test_each_file_that_it_names_exists(name):
    assert (ROOT / name).exists()


def test_the_walk_has_at_most_ten_files_from_the_command_to_the_message():
    assert 5 <= len(WALK) <= 10
    assert (WALK[0], WALK[-1]) == ("device/cli/run.py", "device/message/envelope.py")


@pytest.mark.parametrize("name", WALK)
def test_a_request_passes_each_file_of_the_walk(name, passed):
    assert name in passed


@pytest.fixture(scope="module")
def passed(tmp_path_factory):
    """The project's files in which a function ran while a recording was heard and its request published."""
    folder = tmp_path_factory.mktemp("walk")
    with Broker(folder) as broker:
        Listener(broker.port, "wakeword/kitchen/request/+")  # else nobody has it
        arguments = ["run", "--config", Device(folder, broker.port).config, "--input", REQUEST, "--pace", "fast"]
        program = [sys.executable, "-c", NOTING, *arguments]
        done = subprocess.run(program, cwd=ROOT, check=False, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return {name.removeprefix(f"{ROOT}/") for name in done.stdout.splitlines()}
