"""The scripts that run a program of tests/support: they make its environment first, and say a wrong use in one line."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from bench import listening
from support import bench_cutting, fleet, make_corpus, make_fixtures, soak
from support.speech import missing_synthesisers

from training import learn_segments

SCRIPTS = Path(__file__).parents[1] / "scripts"
PROGRAMS = {  # the Debian packages and the extras that each one's environment has
    "bench-cutting": ("support.bench_cutting", "speech", "reference"),
    "describe-mqtt": ("support.describe_mqtt", "none", "test"),
    "fleet": ("support.fleet", "test", "test"),
    "hil": ("device.hil", "hil", "hil"),
    "make-corpus": ("support.make_corpus", "speech", ""),
    "make-fixtures": ("support.make_fixtures", "speech", ""),
    "record-fixture": ("support.record_fixture", "run", ""),
    "soak": ("support.soak", "test", "test"),
    "train-segments": ("training.learn_segments", "speech", "learn"),
}
RECORDINGS = ["--recordings", "/no/such"]
speaks = pytest.mark.skipif(bool(missing_synthesisers()), reason=f"not installed: {' '.join(missing_synthesisers())}")

# Stands in for the real one, which would install: says how it was called and makes a Python that does the same.
SETUP = """#!/bin/sh
cd "$(dirname "$0")/.."  # as the real one: VENV is meant from there
mkdir -p "${VENV:-.venv}/bin"
printf '#!/bin/sh\\necho "$0 $PWD $PYTHONPATH $*"\\n' >"${VENV:-.venv}/bin/python"
chmod +x "${VENV:-.venv}/bin/python"
echo "$*"
"""


@pytest.mark.parametrize("venv", [None, "of-my-own", "/…/elsewhere"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_in_a_new_clone_the_environment_is_made_and_paths_are_the_callers(tmp_path, name, venv):
    venv = venv and venv.replace("/…", str(tmp_path))
    clone = tmp_path / "clone"
    (clone / "scripts").mkdir(parents=True)
    for script in (name, "program"):
        shutil.copy(SCRIPTS / script, clone / "scripts")
    (clone / "scripts" / "setup").write_text(SETUP)
    (clone / "scripts" / "setup").chmod(0o755)
    env = {**os.environ, "VENV": venv or "", "CDPATH": str(tmp_path)}
    command = [f"clone/scripts/{name}", "--out", "x y"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    setup, program = done.stdout.splitlines()
    module, packages, extras = PROGRAMS[name]
    assert setup.rstrip() == f"--packages {packages} --extras {extras}".rstrip()
    python = clone / (venv or ".venv") / "bin" / "python"
    assert program == f"{python} {tmp_path} {clone}/tests:{clone} -P -m {module} --out x y"


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="not installed: shellcheck")
def test_shellcheck_finds_nothing_in_the_shell_scripts():
    files = [*SCRIPTS.iterdir(), SCRIPTS.parent / ".ci" / "run", *(SCRIPTS.parent / "bin").iterdir()]
    shell = [file for file in files if re.match(rb"#(!.*\b(ba)?sh\n| shellcheck shell=)", file.read_bytes())]
    assert {"setup", "install", "install-steps", "test", "run", "wakeword-recorder"} <= {file.name for file in shell}
    done = subprocess.run(["shellcheck", "--external-sources", *shell], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def complaint_of(main, arguments, capsys):
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = ended.code
    said, complaint = capsys.readouterr()
    assert (status, said, complaint.count("\n")) == (2, "", 1)
    return complaint


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--snr-db", "nan"], "'--snr-db': nan is not a number of dB from -60 to 120"),
        (["--snr-db", "10", "--snr-db", "inf"], "'--snr-db': inf is not"),
        (["--snr-db", "loud"], "'--snr-db': loud is not"),
        (["--seed", "-1"], "'--seed': -1 is not in the range x>=0"),
        (["--size", "0"], "'--size': 0 is not in the range x>=1"),
        (["--sise", "3"], "No such option '--sise'"),
    ],
)
def test_a_corpus_of_what_is_no_number_is_refused(arguments, complaint, capsys):
    assert complaint in complaint_of(make_corpus.main, arguments, capsys)


@pytest.mark.parametrize(
    ("main", "arguments", "complaint"),
    [
        (
            bench_cutting.main,
            ["--size", "few"],
            "'--size': 'few' is not a valid integer range; see scripts/",
        ),
        (bench_cutting.main, ["--recordings", "/no/such"], "--recordings /no/such: no manifest.json"),
        (bench_cutting.main, ["--without", "luck"], "'--without': 'luck' is not one of"),
        (learn_segments.main, [], "Missing option '--recordings'; see scripts/train-segments --help"),
        (learn_segments.main, [*RECORDINGS, "--jobs", "0"], "'--jobs': 0 is not in the range x>=1"),
        (learn_segments.main, [*RECORDINGS, "--size", "19"], "--size 19: too few to learn from; 300 or more"),
        (learn_segments.main, [*RECORDINGS, "--out", "/no/such/x.npz"], "--out /no/such/x.npz: cannot be written"),
        (learn_segments.main, RECORDINGS, "--recordings /no/such: no manifest.json"),
        (soak.main, ["--hours", "0"], "'--hours': 0 is not a number above 0 and up to 10000; see scripts/soak --help"),
        (soak.main, ["--every", "nan"], "'--every': nan is not a number above 30"),
        (soak.main, ["--room", "/no/such.wav"], "'--room': /no/such.wav cannot be read as a recording"),
        (soak.main, ["--csv", "/no/such/a.csv"], "--csv /no/such/a.csv: there is no folder /no/such"),
        (fleet.main, ["--broker", ":1883"], "--broker :1883: not HOST or HOST:PORT; such as broker.lan:1883"),
        (listening.main, ["--quik"], "No such option '--quik'"),
    ],
)
def test_a_wrong_use_of_a_bench_is_refused_in_a_line(main, arguments, complaint, capsys):
    assert complaint in complaint_of(main, arguments, capsys)


@speaks
@pytest.mark.parametrize("main", [make_corpus.main, make_fixtures.main])
def test_a_folder_that_is_none_is_refused_before_anything_is_made(tmp_path, capsys, main):
    file = tmp_path / "file"
    file.write_text("precious")
    assert f"--out {file}: it is no folder" in complaint_of(main, ["--out", str(file)], capsys)
    assert f"--out {file / 'x'}: not a directory" in complaint_of(main, ["--out", str(file / "x")], capsys)
    assert file.read_text() == "precious"


@speaks
@pytest.mark.parametrize("main", [make_corpus.main, make_fixtures.main])
def test_a_folder_that_is_not_ours_is_refused_before_anything_is_made(tmp_path, capsys, monkeypatch, main):
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & os.W_OK)  # as if not root, who may write anywhere
    assert f"--out {tmp_path}: nothing can be written there" in complaint_of(main, ["--out", str(tmp_path)], capsys)


@speaks
def test_the_demos_file_is_no_folder(tmp_path, capsys):
    arguments = ["--out", str(tmp_path), "--demo", str(tmp_path)]
    assert f"--demo {tmp_path}: it is a folder" in complaint_of(make_fixtures.main, arguments, capsys)
    assert list(tmp_path.iterdir()) == []


@speaks
@pytest.mark.parametrize("manifest", ["{", "[]", "{}", '{"recordings": [1]}'])
def test_a_manifest_that_is_not_a_corpuss_is_kept(tmp_path, capsys, manifest):
    (tmp_path / "manifest.json").write_text(manifest)
    assert "manifest.json is not a corpus's" in complaint_of(make_corpus.main, ["--out", str(tmp_path)], capsys)
    assert [path.read_text() for path in tmp_path.iterdir()] == [manifest]
