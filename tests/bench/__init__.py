"""The benchmark of ``scripts/bench``: see `bench.listening`."""
