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
EACH = 5  # toggles for each request


@pytest.mark.long
@pytest.mark.timeout(900)
def test_in_ten_thousand_random_toggles_nothing_opted_out_is_ever_kept_and_a_withdrawal_leaves_nothing(tmp_path):
    envelope = functools.partial(message, prefix="wakeword", encode=functools.partial(wav, version=VERSION))
    kept = tmp_path / "kept"
    private, shown = set(), set()
    with (
        Broker(tmp_path) as broker,
        Command(broker.port, "--for-review", "--sample", "1", "--save-to", kept) as reviewer,
        tempfile.TemporaryDirectory(dir=MEMORY) as state,  # every choice is synced: 20,000 times to a disk take minutes
        open_store(Path(state), history_days=30) as store,
    ):
        sender = Sender(store, link_to(broker.port, no_subscriber="drop"), envelope, lambda _: None, lambda *_, **__: None)
        sender.start()
        toggling = threading.Thread(target=toggle, args=(store, sender))
        toggling.start()
        for number in range(TOGGLES // EACH):
            tag = put(store, number, samples=320).tag
            (private if tag.review.opt_out else shown).add(tag.id)
            sender.notify()
        toggling.join()
        await_true(sender.drained, timeout_s=300)
        names = await_true(lambda: names_in(kept, reviewer), timeout_s=60)
        assert names
        assert names <= shown
        assert all(not read_wav(path.read_bytes())[0].review.opt_out for path in kept.iterdir())
        assert {entry.id for entry in store.history.entries() if not entry.opt_out} >= names
        store.choose(True, withdraw=True)
        sender.notify()
        await_true(lambda: not store.history.to_erase(), timeout_s=60)
        await_true(lambda: not list(kept.iterdir()), timeout_s=60)
        sender.stop()
    print(f"{len(shown)} stored as reviewable, {len(private)} opted out, {len(names)} kept")


def toggle(store, sender):
    mind = random.Random(15)  # the same in every run
    for _ in range(TOGGLES):
        store.choose(mind.random() < 0.5)
        sender.notify()


def names_in(folder, reviewer):
    """What is kept, once all that came is."""
    names = {path.stem for path in folder.iterdir()}
    return names if len(reviewer.events("kept")) == len(names) else None
