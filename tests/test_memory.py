"""Threads share one heap; code that was needed once goes, and nothing that was changed with it."""

import shutil
import subprocess
import sys
from pathlib import Path

COMMAND = Path(__file__).parents[1] / "bin/wakeword-recorder"
PROGRAM = """
import ctypes, threading
from pathlib import Path

def heaps():  # glibc begins each at a multiple of 64 MiB
    maps = Path("/proc/self/maps").read_text().splitlines()
    return sum(int(line.split("-")[0], 16) % 2**26 == 0 and "rw-p" in line for line in maps)

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
before = heaps()
barrier = threading.Barrier(5)
def work():
    piece = libc.malloc(1000)
    barrier.wait()
    barrier.wait()
    libc.free(piece)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
barrier.wait()
print(heaps() - before)
barrier.wait()
for thread in threads: thread.join()
"""


def heaps_of_four_threads(*program: object) -> int:
    done = subprocess.run([*program, "-c", PROGRAM], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_the_command_s_threads_share_one_heap(tmp_path):
    command, python = Path(shutil.copy(COMMAND, tmp_path)), tmp_path / "python"
    python.write_text(f'#!/bin/sh\nshift 3  # -P -m device\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    assert heaps_of_four_threads(sys.executable) > 0
    assert heaps_of_four_threads(command) == 0


RELEASE = """
import ctypes, mmap, sys
from pathlib import Path
from device.edges.memory import release_code
import numpy, sqlite3, ssl

def resident_kb(kind):
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields[kind].split()[0])

size = 2**20
Path(sys.argv[1]).write_bytes(b"x" * size)
with open(sys.argv[1], "rb") as file:
    changed = mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE)
    plain = mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE, mmap.PROT_READ)
changed[5] = ord("y")
address = ctypes.addressof(ctypes.c_char.from_buffer(changed))
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), mmap.PROT_READ) == 0
assert plain[:] == b"x" * size
before = resident_kb("RssFile")
release_code()
print(before - resident_kb("RssFile"), ctypes.string_at(address, 7).decode(), plain[:7].decode())
print(numpy.linalg.det(numpy.eye(50)), sqlite3.connect(":memory:").execute("SELECT 1").fetchone())
"""


def test_code_needed_once_is_given_back_and_what_was_changed_is_kept(tmp_path):
    command = [sys.executable, "-c", RELEASE, str(tmp_path / "file")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    released, works = done.stdout.splitlines()
    kilobytes, changed, plain = released.split()
    assert int(kilobytes) > 5_000
    assert (changed, plain) == ("xxxxxyx", "xxxxxxx")
    assert works == "1.0 (1,)"
