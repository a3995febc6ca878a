"""Refuses, where pip builds it, a machine for which the dependencies have no wheels; the rest is in pyproject.toml."""

import runpy
import sys

from setuptools import setup

if problem := runpy.run_path("scripts/supported.py")["problem"]():
    sys.exit(problem)
setup()
