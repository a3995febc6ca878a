"""What the documents say exists: each message in a table, each command and its options, each file that is linked.

Every command that ends by itself and changes nothing outside a folder is run, word for word.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

import pytest
from support.broker import Broker, Listener
from support.daemon import PROGRAM, Device
from support.document_commands import UNKNOWN, asked, commands, with_values

from device import __version__
from device.daemon.recorder import MAX_HELD
from device.daemon.sender import EVENTS_HELD
from device.edges.microphone.blocks import QUEUE_S
from device.edges.wakeword.words import find_words

ROOT = Path(__file__).parents[1]
FIXTURES = ROOT / "tests" / "fixtures"
DOCUMENTS = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    if name != "CHANGELOG.md"  # what it names may be gone since
)
ids = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
ALL = {command.words: command for path in DOCUMENTS for command in commands(path)}.values()
WAKEWORD = [command for command in ALL if command.words[0] == "wakeword-recorder" and len(command.words) > 1]
SCRIPTS = [command for command in ALL if command.words[0].startswith("scripts/")]
WITHOUT_ARGUMENTS = ("scripts/check", "scripts/fuzz", "scripts/package")
# What ends with 69 on a machine without a microphone, which is what these tests have; all others end with 0.
NEED_A_MICROPHONE = ("check", "meter", "wake try")
NEED_A_DAEMON = ("listen",)  # they end with 1 where none runs
NEED_A_REQUEST = ("outbox not-for-me",)  # of this id: they end with 2 where none waits
# Other programs in blocks, with the options that a document may use of them.
OTHERS = {
    "apt": "", "chmod": "", "chown": "", "cp": "-r", "echo": "", "git": "", "install": "-o -g -m",
    "ffprobe": "-v -show_entries -of", "mosquitto_passwd": "-c", "mosquitto_pub": "-h -q -t -m",
    "mosquitto_sub": "-u -P -t -F -h -V -q -N -C", "openssl": "-x509 -newkey -pkeyopt -nodes -days -subj "
    "-keyout -out -req -in -CA -CAkey -CAcreateserial -extfile", "systemctl": "--now", "sudoedit": "",
    "journalctl": "-fu",
}  # fmt: skip
SAYS = {"README.md": "symptom", "config/README.md": "message", "tests/README.md": "says"}


def sources():
    names = subprocess.run(
        ["git", "ls-files", "device", "scripts"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = [ROOT / name for name in names.stdout.split() if not name.endswith((".wav", ".npz"))]
    # A text that is split over lines, or whose quotes the source escapes, is one text all the same.
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text() for path in files)).replace("\\'", "'")


def messages(document, column):
    """The messages in the column of a document's tables that has this head: what stands there as code."""
    number = None
    for line in (ROOT / document).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            number = None
        elif number is None:
            number = cells.index(column) if column in cells else -1
        elif number >= 0:
            yield from re.findall(r"`([^`]+)`", cells[number])


MESSAGES = [message for document, column in SAYS.items() for message in messages(document, column)]


def test_there_are_messages_in_every_table_that_has_them():
    assert len(MESSAGES) > 25
    assert all(list(messages(document, column)) for document, column in SAYS.items())


@pytest.mark.parametrize("message", MESSAGES)
def test_every_message_in_a_table_is_one_that_the_program_has(message):
    parts = [re.escape(part) for part in message.split("…")]
    pattern = "[^\n]{1,60}?".join(parts)  # between them the source has what is filled in
    assert re.search(pattern, sources()), message


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A user's folder with what the documents name in it, a broker that somebody subscribes to, and no microphone."""
    folder = tmp_path_factory.mktemp("desk")
    for name in ("first.wav", "second.wav"):
        shutil.copy(FIXTURES / "hey-jarvis-request.wav", folder / name)
    (folder / "Downloads").mkdir()
    shutil.copy(find_words(["hey_jarvis"])[0].path, folder / "Downloads" / "computer.onnx")
    (folder / "bin").mkdir()
    (folder / "bin" / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (folder / "bin" / "sudo").chmod(0o755)
    # The one card that there is is not there, whatever this machine has.
    (folder / "asound.conf").write_text("pcm.default { type hw card 99 }\nctl.default { type hw card 99 }\n")
    (folder / ".config/wakeword-recorder").mkdir(parents=True)
    with Broker(folder) as broker, Listener(broker.port, "wakeword/kitchen/request/+"):
        device = Device(folder / ".config/wakeword-recorder", broker.port, review="sign = true")
        path = f"{folder / 'bin'}:{PROGRAM.parent}:{os.environ['PATH']}"
        sound = {"ALSA_CONFIG_PATH": str(folder / "asound.conf"), "PULSE_SERVER": "none", "JACK_NO_START_SERVER": "1"}
        home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / ".config"), "PATH": path}
        yield folder, {**device.env, **home, **sound}


@pytest.mark.parametrize("command", WAKEWORD, ids=str)
def test_every_command_of_the_program_does_what_it_is_for(command, desk):
    folder, env = desk
    line = command.line.replace("WORD", "hey_jarvis")
    name = " ".join(command.words[1:3]) if command.words[1] in ("wake", "outbox") else command.words[1]
    # Until Ctrl-C: only the options are looked at.
    for_ever = name in ("answer", "receive", "web") or command.words[1:] == ("run",)
    if for_ever:
        line += f" {UNKNOWN}"
    done = subprocess.run(["bash", "-c", line], cwd=folder, env=env, input="y\n", capture_output=True, text=True,
                          timeout=100, check=False)  # fmt: skip
    assert "Traceback" not in done.stderr
    if for_ever:
        assert f"No such option '{UNKNOWN}'" in done.stderr
    else:
        statuses = {69: NEED_A_MICROPHONE, 1: NEED_A_DAEMON, 2: NEED_A_REQUEST}
        expected = next((status for status, names in statuses.items() if name in names), 0)
        assert done.returncode == expected, done.stdout + done.stderr


@pytest.mark.parametrize("command", SCRIPTS, ids=str)
def test_every_script_is_there_and_takes_the_options_that_are_shown(command, tmp_path):
    words = with_values(command.words, tmp_path)
    assert os.access(ROOT / words[0], os.X_OK)
    if words[0] in WITHOUT_ARGUMENTS or len(words) == 1:
        assert words[1:] == []
        return
    words = [word for word in words if (words[0], word) != ("scripts/test", "--long")]  # its own; the rest is pytest's
    assert all((ROOT / word).exists() for word in words if word.startswith("tests/"))
    line, complaint = asked(words)
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
    done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode in (2, 4), done.stdout + done.stderr
    assert re.search(complaint, done.stderr, re.MULTILINE), done.stderr


@pytest.mark.parametrize(
    "command", [one for one in ALL if one not in {*WAKEWORD, *SCRIPTS} and " " in str(one)], ids=str
)
def test_every_other_program_is_known_with_its_options(command):
    program, *words = command.words
    if program == "pytest":
        assert all(word in offered_by_pytest() for word in words)
    elif "=$(" not in program:
        assert {word for word in words if word.startswith("-")} <= set(OTHERS[program].split()), command.line


@lru_cache
def offered_by_pytest():
    return subprocess.run([PROGRAM.with_name("pytest"), "--help"], capture_output=True, text=True, check=True).stdout


def test_the_certificates_that_the_broker_s_document_makes_are_right(tmp_path):
    lines = [one.line for one in commands(ROOT / "config/mosquitto/README.md") if one.words[0] in ("openssl", "echo")]
    assert len(lines) >= 4
    verify = ["openssl verify -CAfile ca.crt broker.crt", "openssl x509 -in broker.crt -noout -checkhost broker.lan"]
    script = "set -e\n" + "\n".join(lines + verify)
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "broker.crt: OK" in done.stdout
    assert "does match" in done.stdout


def rows_of_folders():
    """From device/README.md: each folder's name, and those that it may import from."""
    for line in (ROOT / "device/README.md").read_text().splitlines():
        if row := re.match(r"\| \[`(\w+)/`\].*\|(.*)\|$", line):
            yield row[1], set(re.findall(r"`(\w+)/`", row[2]))


def test_every_folder_of_the_program_is_described():
    folders = {path.parent.name for path in (ROOT / "device").glob("*/*") if path.parent.name != "__pycache__"}
    assert {name for name, _ in rows_of_folders()} == folders


@pytest.mark.parametrize(
    ("folder", "may"), list(rows_of_folders()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_folder_imports_from_those_alone_that_its_description_names(folder, may):
    others = {path.name for path in (ROOT / "device").iterdir() if path.is_dir()} - {folder}
    text = "\n".join(path.read_text() for path in (ROOT / "device" / folder).rglob("*.py"))
    assert set(re.findall(r"^ *(?:from|import) device\.(\w+)", text, re.MULTILINE)) & others <= may


def test_what_waits_is_bounded_as_the_description_says():
    text = (ROOT / "device/README.md").read_text()
    assert f"| from the microphone's callback | {QUEUE_S:g} s |" in text
    assert f"| requests that the disk has not taken | {MAX_HELD} |" in text
    assert f"| events for a broker | {EVENTS_HELD} |" in text


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_every_file_that_a_document_links_is_there(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_the_changelog_has_this_version_with_its_date_and_above_it_what_is_not_released():
    text = (ROOT / "CHANGELOG.md").read_text()
    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert heads[0] == "Unreleased"
    released = [re.fullmatch(r"(\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d", head)[1] for head in heads[1:]]
    assert released[:1] == [__version__]
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= kinds


def test_the_first_screen_says_what_it_is_and_how_to_try_it():
    first = (ROOT / "README.md").read_text().splitlines()[:40]
    assert any("scripts/demo" in line for line in first)
    assert any(line == "## Install on a Raspberry Pi" for line in first)
