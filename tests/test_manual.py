"""The manual page and the completions are made from the commands, every one and every option of them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from device.__main__ import COMMANDS, cli

SCRIPT = Path(__file__).parents[1] / "scripts" / "manual.py"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("share")
    names = [
        "man1/wakeword-recorder.1",
        "bash/wakeword-recorder",
        "zsh/_wakeword-recorder",
        "fish/wakeword-recorder.fish",
    ]
    paths = [folder / name for name in names]
    env = os.environ | {"SOURCE_DATE_EPOCH": "86400"}
    subprocess.run([sys.executable, "-P", SCRIPT, *paths], env=env, check=True)
    return paths


def shown(page):
    """The page as a person reads it."""
    command = ["man", "--local-file", "--encoding=utf-8", "--warnings=all", page]
    env = os.environ | {"MANWIDTH": "200", "LC_ALL": "C.UTF-8", "MAN_KEEP_FORMATTING": ""}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.skipif(shutil.which("man") is None, reason="not installed: man-db")
def test_the_page_has_every_command_and_option_and_nothing_that_troff_complains_of(pages):
    text = shown(pages[0])
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert f"wakeword-recorder {name} [OPTIONS]" in text
        for option in (option for parameter in command.params for option in parameter.opts if option.startswith("--")):
            assert option in text, f"{name} {option}"
    assert "1970-01-02" in text
    assert "78     The configuration" in text


@pytest.mark.parametrize(("number", "shell"), [(1, "bash"), (2, "zsh"), (3, "fish")])
def test_the_completions_are_what_each_shell_reads(pages, number, shell):
    text = pages[number].read_text()
    assert f"_WAKEWORD_RECORDER_COMPLETE={shell}_complete" in text
    if shutil.which(shell):
        subprocess.run([shell, "-n", pages[number]], check=True)


def test_bash_completes_commands_and_options_by_the_program_itself(pages):
    bin_dir = Path(sys.executable).parent
    line = f". {pages[1]}; COMP_WORDS=(wakeword-recorder conf); COMP_CWORD=1; "
    line += '_wakeword_recorder_completion wakeword-recorder; echo "${COMPREPLY[@]}"'
    env = os.environ | {"PATH": f"{bin_dir}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", line], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "configure\n"
