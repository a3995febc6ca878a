"""The commands, one module each: nothing but arguments, calls and printing."""

import os

# Before anything imports numpy: its OpenBLAS otherwise starts a thread for each core, which wait for work by spinning,
# 40 ms of a start on two cores. What is multiplied here is far too small to be shared out.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
