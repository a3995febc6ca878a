"""Prints what pip is to install beside the project, a line each: its dependencies and those of some extras.

Left out is openwakeword, of which the service only uses the model files: scripts/setup installs it by itself, without
the scikit-learn and scipy that nobody but its own code needs (170 MB). An extra that names it brings it whole.
"""

import sys
import tomllib
from pathlib import Path

FILES_ALONE = "openwakeword"


def dependencies(project, extras):
    """Return the requirements of a project's table in pyproject.toml with some of its extras.

    Raises:
        SystemExit: there is no such extra.
    """
    known = project["optional-dependencies"]
    found = [one for one in project["dependencies"] if not one.startswith(FILES_ALONE)]
    wanted = list(extras)
    for extra in wanted:  # grows by the extras that an extra names
        if extra not in known:
            sys.exit(f"scripts/setup: there is no extra '{extra}'; there are {', '.join(known)}")
        for one in known[extra]:
            name, bracket, inner = one.partition("[")
            if bracket and name == project["name"]:
                wanted += [extra for extra in inner.strip("]").split(",") if extra not in wanted]
            else:
                found.append(one)
    return found


if __name__ == "__main__":
    document = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    print("\n".join(dependencies(document["project"], filter(None, sys.argv[1].split(",")))))
