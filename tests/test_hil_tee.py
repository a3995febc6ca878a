"""The bench's witness: what the daemon reads from its microphone is known at the pipe's other end, to the sample."""

from __future__ import annotations

import os

import numpy as np
import pytest

from device.edges.microphone import Block, Gap, Hole
from device.hil.tee import TappedSound, witnessed

BLOCKS = [np.arange(1_000, dtype=np.int16), np.arange(-500, 500, dtype=np.int16)]


class Microphone:
    """Delivers two blocks with a hole between them, and a gap."""

    def __init__(self):
        self.items = [Block(BLOCKS[0]), Hole(300), None, Block(BLOCKS[1]), Gap("lost")]

    def read(self, timeout_s):
        return self.items.pop(0)


@pytest.fixture
def heard():
    outlet, inlet = os.pipe()
    with os.fdopen(inlet, "wb") as pipe:
        microphone = witnessed(Microphone, pipe)()
        kinds = [type(microphone.read(0.1)) for _ in range(5)]
    assert kinds == [Block, Hole, type(None), Block, Gap]  # the daemon gets them all the same
    heard = TappedSound(outlet)
    heard.join()
    return heard


def test_samples_have_the_stream_s_numbers_and_holes_are_silent(heard):
    assert heard.end == 2_300
    assert np.array_equal(heard.slice(0, 1_000), BLOCKS[0])
    assert not heard.slice(1_000, 1_300).any()
    assert np.array_equal(heard.slice(1_250, 1_400)[50:], BLOCKS[1][:100])
    assert heard.holes == [(1_000, 300), (2_300, 0)]


def test_what_is_forgotten_is_silent_and_the_rest_stays(heard):
    heard.forget(before=1_400)
    assert not heard.slice(0, 1_000).any()
    assert np.array_equal(heard.slice(1_300, 2_300), BLOCKS[1])


def test_a_position_is_told_by_the_machine_s_clock(heard):
    assert heard.position_at(heard.began_s + 0.1) == 1_600
    assert heard.position_at(heard.began_s - 5) == 0
