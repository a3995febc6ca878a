"""A fuzzer's targets, run by scripts/fuzz: ``fuzz_readers.py wav|flac|tag|stream [libFuzzer options] CORPUS``."""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["device"]):
    from device.core.envelope import parse_tag, read_wav, tag_json, wav
    from device.edges.flac import flac, read_flac
    from device.edges.mqtt.stream import Stream
    from device.errors import TagError

from support.tags import VERSION, tag_of

PCM = bytes(range(256)) * 8
TAG = tag_of(PCM)
SEEDS = {
    "wav": wav(TAG, PCM, version=VERSION),
    "flac": flac(TAG, PCM, version=VERSION),
    "tag": tag_json(TAG).encode(),
    "stream": b"\x20\x03\x00\x00\x00\x40\x04\x03\xe8\x10\x00\xd0\x00\x40\x02\x03\xe9",
}


class Said:
    """A socket on which a broker said these bytes, some at a time, and closed."""

    def __init__(self, data: bytes) -> None:
        self._left = data

    def recv(self, size: int) -> bytes:
        piece, self._left = self._left[:7], self._left[7:]
        return piece


def read_stream(data: bytes) -> None:
    """Every byte is either in an answer or paho's to read, and the end is seen."""
    stream, bytes_seen = Stream(Said(data)), 0
    for _ in range(len(data) + 2):
        stream.fill()
        while True:
            try:
                answer = stream.answer()
            except ValueError:
                return  # an answer too long to be one
            if answer is not None:
                bytes_seen += len(answer)
            elif stream.for_paho():
                piece = stream.recv(5)
                if not piece:
                    return
                bytes_seen += len(piece)
            else:
                break
    raise AssertionError(f"no end is seen after {bytes_seen} of {len(data)} bytes")


READERS = {"wav": read_wav, "flac": read_flac, "tag": parse_tag, "stream": read_stream}


def main() -> None:
    name = sys.argv.pop(1)
    reader = READERS[name]
    (Path(sys.argv[-1]) / "seed").write_bytes(SEEDS[name])

    def one_input(data: bytes) -> None:
        try:
            reader(data)
        except TagError:
            return

    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
