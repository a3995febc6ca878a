"""Says in one line why this Python cannot run the project, before anything is downloaded; says nothing if it can.

The dependencies are installed from ready-made wheels alone. Where there are none, pip would try a compiler for minutes
and fail. scripts/setup runs this with each interpreter that it finds, setup.py with the one that pip builds for; it is
written for old ones too.
"""

import platform
import sys
import sysconfig

GLIBC = (2, 28)  # of the wheels of onnxruntime and numpy
MACHINES = ("aarch64", "x86_64")


def problem():
    """Return in one line what is wrong with this Python and what would be right; None if nothing is."""
    reason = _reason()
    return f"wakeword-recorder cannot be installed with {sys.executable}: {reason}" if reason else None


def _reason():
    version = platform.python_version()
    if sys.platform != "linux":
        return "it runs on Linux only"
    if sys.maxsize < 2**32:
        return "this is a 32-bit system, whatever its kernel; a 64-bit one is needed, as Raspberry Pi OS (64-bit) is"
    if platform.machine() not in MACHINES:
        return "there are no wheels for {}; only for {}".format(platform.machine(), " and ".join(MACHINES))
    if sys.implementation.name != "cpython" or not (3, 11) <= sys.version_info < (3, 15):
        found = platform.python_implementation()
        return f"this is {found} {version}; CPython 3.11 to 3.14 is needed: PYTHON=/path/to/it scripts/setup"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return f"this is the free-threaded Python {version}; the usual one is needed"
    library, libc = platform.libc_ver()
    if library != "glibc":
        return "there are no wheels for musl (Alpine); a system with glibc is needed, as Debian is"
    if tuple(map(int, libc.split(".")[:2])) < GLIBC:
        return "this system's glibc is {}; {}.{} or newer is needed (Debian 10)".format(libc, *GLIBC)
    return None


if __name__ == "__main__":
    sys.exit(problem())
