"""A fuzzer's targets, run by scripts/fuzz: ``fuzz_readers.py wav|flac|tag|broker [libFuzzer options] CORPUS``."""

import socket
import sys
from pathlib import Path
from unittest import mock

import atheris

with atheris.instrument_imports(include=["device"]):
    from device.edges.flac import flac, read_flac
    from device.edges.mqtt import Connection, LinkSettings, Lost
    from device.errors import TagError
    from device.message.envelope import parse_tag, read_wav, tag_json, wav

from support.tags import VERSION, tag_of

PCM = bytes(range(256)) * 8
TAG = tag_of(PCM)
SEEDS = {
    "wav": wav(TAG, PCM, version=VERSION),
    "flac": flac(TAG, PCM, version=VERSION),
    "tag": tag_json(TAG).encode(),
    "broker": b"\x20\x03\x00\x00\x00\x90\x04\x00\x01\x00\x01\x40\x04\x00\x01\x10\x00\xd0\x00\x30\x05\x00\x01a\x00b",
}


def hear_broker(data: bytes) -> None:
    """Whatever a broker says before it closes, the connection ends, and nothing is raised."""
    ours, theirs = socket.socketpair()
    connection = Connection(LinkSettings(host="broker", port=1883, base_topic="a", client_id="a"), "5")
    with theirs, mock.patch("socket.create_connection", return_value=ours):
        connection.open()
        connection.subscribe(["a"])
        connection.publish("a", b"", qos=1)
        theirs.sendall(data[:60_000])
        theirs.shutdown(socket.SHUT_WR)
        for _ in range(len(data) + 10):
            connection.step(1)
            if any(isinstance(incoming, Lost) for incoming in connection.take()):
                connection.close(say_goodbye=False)
                return
    raise AssertionError("the connection does not end")


READERS = {"wav": read_wav, "flac": read_flac, "tag": parse_tag, "broker": hear_broker}


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
