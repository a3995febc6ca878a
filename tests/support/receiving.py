"""What the tests of subscribers share: a device of paho's making, and ``receive`` in a process of its own."""

import json
import os
import subprocess
import sys
import threading
from itertools import count

from device.message.review import Review
from support import publisher
from support.broker import PATIENCE_S, await_true
from support.tags import tag_of

PCM = bytes(range(256)) * 20
TAG = tag_of(PCM)
OPTED_IN = Review(opt_out=False, choice="user", revision=4, changed_at="2026-01-01T00:00:00.000Z")
_numbers = count()


def sent(tag=TAG, pcm=PCM, *options, **named):
    return publisher.sent(tag, pcm, *options, **named)


def new_tag(pcm=PCM, **changes):
    return tag_of(pcm, id=f"{next(_numbers):08x}-1111-7abc-8def-0123456789ab", **changes)


class Command:
    """The command ``receive`` in a process of its own; what it says is read as it comes."""

    def __init__(self, port, *options, config=os.devnull, await_subscription=True):
        program = [sys.executable, "-m", "device", "receive", "--config", config, "--log-format", "json"]
        address = ["--host", "127.0.0.1", "--port", str(port)]
        self.process = subprocess.Popen(
            [*program, *address, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.said = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        if await_subscription:
            self.await_event("subscribed")

    def _read(self):
        self.said.extend(json.loads(line) for line in iter(self.process.stderr.readline, ""))

    def events(self, name):
        return [line for line in self.said if line.get("event") == name]

    def await_event(self, name, times=1):
        await_true(lambda: len(self.events(name)) >= times or self.process.poll() is not None, name)
        assert len(self.events(name)) >= times, self.said

    def line(self):
        return json.loads(self.process.stdout.readline())

    def status(self):
        status = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        self.process.stdout.close()
        self.process.stderr.close()
