"""SECURITY.md names, for each promise of the contract, tests that exist and that pytest collects."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROMISES = 9


def rows():
    """What the table promises, each with the tests that it names."""
    table = re.findall(r"^\| (.+?) \| (.*::.*) \|$", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)
    return {promise: re.findall(r"`([^`]+)::(\w+)`", named) for promise, named in table}


def collected(file):
    """The names of a file's test functions, of which a later one of the same name would hide the first."""
    return [node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)]


def test_every_promise_names_tests_that_exist():
    for promise, named in rows().items():
        assert named, promise
        for file, name in named:
            assert Path(file).name.startswith("test_"), file
            assert name.startswith("test_"), name
            assert collected(file).count(name) == 1, f"{promise}: {file} has no {name}"


def test_every_promise_of_the_contract_stands_in_the_table():
    numbers = [int(found[1]) for promise in rows() if (found := re.match(r"(\d+)\. ", promise))]
    assert numbers == list(range(1, PROMISES + 1))
