"""A fuzzer's target, run by test_hostile_input: ``fuzz_readers.py wav|flac|tag [libFuzzer options] CORPUS``."""

import sys

import atheris

with atheris.instrument_imports(include=["device"]):
    from device.core.envelope import parse_tag, read_wav
    from device.edges.flac import read_flac
    from device.errors import TagError

READERS = {"wav": read_wav, "flac": read_flac, "tag": parse_tag}


def main() -> None:
    reader = READERS[sys.argv.pop(1)]

    def one_input(data: bytes) -> None:
        try:
            reader(data)
        except TagError:
            return

    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
