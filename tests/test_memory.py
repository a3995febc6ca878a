"""The C library's memory: threads share one heap."""

import subprocess
import sys

PROGRAM = """
import ctypes, sys, threading
from pathlib import Path
from device.edges.memory import keep_little

def heaps():  # glibc begins each at a multiple of 64 MiB
    maps = Path("/proc/self/maps").read_text().splitlines()
    return sum(int(line.split("-")[0], 16) % 2**26 == 0 and "rw-p" in line for line in maps)

if sys.argv[1] == "little":
    keep_little()
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


def heaps_of_four_threads(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_threads_share_one_heap():
    assert heaps_of_four_threads("much") > 0
    assert heaps_of_four_threads("little") == 0
