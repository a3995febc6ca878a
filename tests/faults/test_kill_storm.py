"""Promises 3 and 4 under kill -9 of the daemon and of the broker: every id logged as stored arrives, with one sound."""

import json
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support.broker import Broker, Listener, await_true
from support.daemon import Device

from device.message.envelope import read_wav

FIXTURES = Path(__file__).parents[1] / "fixtures"
INPUTS = [FIXTURES / f"{name}.wav" for name in ("hey-jarvis-request", "two-requests", "no-gap", "short-request")]


class Storm:
    """A device whose daemon is killed again and again, and what the broker handed out meanwhile."""

    def __init__(self, folder, broker, rng):
        self.device = Device(folder, broker.port, review='default = "opted-in"')
        self.broker, self.rng = broker, rng
        self.log = folder / "log.jsonl"
        self.arrived = {}
        self.topics = {}
        self.listener = Listener(broker.port, "wakeword/kitchen/request/+")

    def run(self, lifetime_s):
        """Start the daemon on the recordings and kill it after a while, if it has not ended by itself."""
        arguments = [argument for path in INPUTS for argument in ("--input", path)]
        command = self.device.command(
            "run", *arguments, "--pace", "fast", "--log-format", "json", "--drain-timeout", 30
        )
        with self.log.open("ab") as log, subprocess.Popen(command, env=self.device.env, stderr=log) as process:
            try:
                process.wait(lifetime_s)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            return process.wait()

    def take(self):
        """Note what has arrived; an id seen before must have the same sound, and may only have tightened."""
        for message in self.listener.pending():
            tag, pcm = read_wav(message.payload)
            assert self.arrived.setdefault(tag.id, pcm) == pcm
            assert not (self.topics.get(tag.id) == "opted-out" and message.topic.endswith("reviewable"))
            self.topics[tag.id] = message.topic.rsplit("/", 1)[1]

    def mistagged(self):
        """How many arrived otherwise than the only choice ever made says."""
        return sum(topic != "reviewable" for topic in self.topics.values())

    def stored(self):
        """The ids that the daemon has logged as stored; a line cut by a kill was not logged."""
        ids = set()
        for line in self.log.read_bytes().splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if event.get("event") == "stored":
                ids.add(event["id"])
        return ids


def weather(folder, kills, seed, ledger):
    rng = random.Random(seed)
    broker_kills = 0
    with Broker(folder) as broker:
        storm = Storm(folder, broker, rng)
        for number in range(kills):
            storm.run(rng.uniform(0.1, 1.2))
            storm.take()
            if number % 4 == 3:
                broker.stop(how=signal.SIGKILL)
                storm.run(rng.uniform(0.1, 0.8))
                broker.start()
                broker_kills += 1
        began = time.monotonic()
        assert storm.run(60) == 0
        recovery_s = time.monotonic() - began
        stored = storm.stored()
        # The broker has handed out what it acknowledged; this process only has to read it.
        await_true(lambda: storm.take() or stored <= storm.arrived.keys(), "all that was stored has arrived")
        waiting = storm.device.call("outbox", "list").stdout
    assert waiting == ""
    assert len(stored) > kills // 4
    ledger(
        "kill -9 of daemon and broker", injected=kills + 2 * broker_kills, stored=len(stored),
        lost=len(stored - storm.arrived.keys()), mistagged=storm.mistagged(),
        recovery_s=recovery_s,
    )  # fmt: skip


def test_what_was_stored_arrives_however_often_the_daemon_is_killed(tmp_path, ledger):
    weather(tmp_path, 8, 1, ledger)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_what_was_stored_arrives_after_hundreds_of_kills(tmp_path, ledger):
    weather(tmp_path, 300, 2, ledger)
