"""Stands in for a Python that makes environments and installs into them, for tests of scripts/setup without an index.

It does as it is told by files in the folder ``$STUB``: ``no-venv`` (it cannot make one, as on Debian without
python3-venv), ``abi`` (another Python than this), ``pip`` (what its pip does). What pip was asked for is added to
``calls``.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

STUB = Path(os.environ["STUB"])
HERE = Path(sys.argv[0]).parent
ABI = "stub-311"


def told(name, default=""):
    file = STUB / name
    return file.read_text() if file.exists() else default


def make_environment(folder):
    for entry in folder.glob("*"):
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for name in ("bin", "lib"):
        (folder / name).mkdir(parents=True)
    (folder / "lib" / "pip").touch()
    (folder / "lib" / "abi").write_text(told("abi", ABI))
    shutil.copy(sys.argv[0], folder / "bin" / "python")


def install(arguments):
    requirements = Path(arguments[arguments.index("-r") + 1]).read_text().split() if "-r" in arguments else []
    with (STUB / "calls").open("a") as calls:
        print(*arguments, *requirements, file=calls)
    what = told("pip")
    if what == "finds no network":
        sys.exit(1)
    if what:
        (HERE.parent / "lib" / "half a package").touch()
    if what == "is killed":
        os.kill(os.getppid(), signal.SIGKILL)
        sys.exit(1)
    if what == "finds the disk full":
        sys.exit(1)
    if "-e" in arguments:
        (HERE / "wakeword-recorder").touch(mode=0o755)


def main(arguments):
    if arguments[0].startswith("scripts/"):
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606
    if arguments[:2] == ["-m", "venv"]:
        make_environment(Path(arguments[-1]))
    elif arguments[:2] == ["-m", "pip"]:
        install(arguments[3:])
    elif "ensurepip" in arguments[1]:
        sys.exit(1 if told("no-venv") else 0)
    elif "import pip" in arguments[1]:
        if not (HERE.parent / "lib" / "pip").exists():
            sys.exit(1)
        print((HERE.parent / "lib" / "abi").read_text())
    else:
        print(told("abi", ABI))


main(sys.argv[1:])
