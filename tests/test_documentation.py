"""What the documents say exists: each message in a table, each command and its options, each file that is linked."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from device.__main__ import COMMANDS, cli

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *(ROOT / name / "README.md" for name in ("config", "config/mosquitto", "systemd"))]
ids = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


def sources():
    names = subprocess.run(
        ["git", "ls-files", "device", "scripts"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = [ROOT / name for name in names.stdout.split() if not name.endswith((".wav", ".npz"))]
    # A text that is split over lines, or whose quotes the source escapes, is one text all the same.
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text() for path in files)).replace("\\'", "'")


def messages(path):
    """The messages of a table whose first column is so headed."""
    rows = [line for line in path.read_text().splitlines() if line.startswith("| ")]
    start = rows.index("| message | what to do |")
    return [re.match(r"\| `(.*?)` \|", row)[1] for row in rows[start + 2 :]]


@pytest.mark.parametrize("message", messages(ROOT / "config" / "README.md"))
def test_every_message_in_the_table_is_one_that_the_program_has(message):
    parts = [re.escape(part) for part in message.split("…")]
    pattern = "[^\n]{1,60}?".join(parts)  # between them the source has what is filled in
    assert re.search(pattern, sources()), message


def commands(path):
    """The commands of a document that are the program's, in its blocks and its lines."""
    text = path.read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(
        r"`((?:sudo )?(?:wakeword-recorder|scripts/install)\b[^`]*)`", re.sub("```sh.*?```", "", text, flags=re.DOTALL)
    )
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[:1] == ["sudo"]:
            words = words[1:]
        if words and words[0] in ("wakeword-recorder", "scripts/install"):
            yield words


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_every_command_and_option_that_a_document_names_exists(path):
    help_text = subprocess.run([ROOT / "scripts/install", "--help"], capture_output=True, text=True, check=True).stdout
    for words in commands(path):
        if words[0] == "scripts/install":
            assert all(word in help_text for word in words if word.startswith("--")), words
        elif len(words) > 1 and words[1] not in ("--version", "--help"):
            assert words[1] in COMMANDS, words
            command = cli.get_command(click.Context(cli), words[1])
            rest = [word for word in words[2:] if word not in ("…", "|")]
            if rest:
                command.make_context(words[1], rest, resilient_parsing=False)


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_every_file_that_a_document_links_is_there(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_the_first_screen_says_what_it_is_and_how_to_try_it():
    first = (ROOT / "README.md").read_text().splitlines()[:40]
    assert any("scripts/demo" in line for line in first)
    assert any(line == "## Install on a Raspberry Pi" for line in first)
