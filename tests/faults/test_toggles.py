"""A device whose owner changes their mind at random, beside a reviewer that keeps all it may."""

import functools
import random
import tempfile
import threading
from pathlib import Path

import pytest
from support.broker import Broker, await_true
from support.receiving import Command
from support.sending import link_to
from support.stores import MEMORY, open_store, put
from support.tags import VERSION

from device.daemon.sender import Sender
from device.message.envelope import message, read_wav, wav

TOGGLES = 10_000
REQUEST_SHARE, DRAIN_SHARE = 0.3, 0.3  # of the steps; so that much is sent as reviewable, and much retagged before


@pytest.mark.long
@pytest.mark.timeout(900)
def test_in_ten_thousand_random_toggles_nothing_opted_out_is_ever_kept_and_a_withdrawal_leaves_nothing(tmp_path):
    envelope = functools.partial(message, prefix="wakeword", encode=functools.partial(wav, version=VERSION))
    kept = tmp_path / "kept"
    with (
        Broker(tmp_path) as broker,
        Command(broker.port, "--for-review", "--sample", "1", "--save-to", kept) as reviewer,
        tempfile.TemporaryDirectory(dir=MEMORY) as state,  # every choice is synced: 20,000 times to a disk take minutes
        open_store(Path(state), history_days=30) as store,
    ):
        threading.Thread(target=reviewer.process.stdout.read, daemon=True).start()  # a full pipe would hold it up
        link = link_to(broker.port, no_subscriber="drop")  # nobody takes what is opted out
        sender = Sender(store, link, envelope, lambda _: None, lambda *_, **__: None)
        sender.start()
        shown, private = live(store, sender)
        store.choose(False)
        last = put(store, 0, samples=320).tag.id
        sender.notify()
        await_true(lambda: last in (line["id"] for line in reviewer.events("kept")), timeout_s=60)
        shown.add(last)
        names = {path.stem for path in kept.iterdir()}
        assert len(names) > 100
        assert names <= shown
        assert len(names) < len(shown)
        assert all(not read_wav(path.read_bytes())[0].review.opt_out for path in kept.iterdir())
        assert {entry.id for entry in store.history.entries() if not entry.opt_out} >= names
        store.choose(True, withdraw=True)
        sender.notify()
        await_true(lambda: not store.history.to_erase(), timeout_s=60)
        await_true(lambda: not list(kept.iterdir()), timeout_s=60)
        sender.stop()
    print(f"{len(shown)} stored as reviewable, {len(private)} opted out, {len(names)} kept")


def live(store, sender):
    """Toggle, record and let what waits be sent, in random order; return the ids by how they were stored."""
    mind = random.Random(15)  # the same in every run
    shown, private, toggles, number = set(), set(), 0, 0
    while toggles < TOGGLES:
        step = mind.random()
        if step < REQUEST_SHARE:
            tag = put(store, number := number + 1, samples=320).tag
            (private if tag.review.opt_out else shown).add(tag.id)
        elif step < REQUEST_SHARE + DRAIN_SHARE:
            await_true(sender.drained, timeout_s=60)
        else:
            store.choose(mind.random() < 0.5)
            toggles += 1
        sender.notify()
    await_true(sender.drained, timeout_s=60)
    return shown, private
