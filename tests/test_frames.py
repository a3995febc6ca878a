"""Frames and the ring: nothing is lost, doubled or moved, however a stream is split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.hearing.frames import FRAME_SAMPLES, AudioRing, Rechunker, samples_of


def stream(samples: int) -> np.ndarray:
    return (np.arange(samples) % 65536 - 32768).astype(np.int16)


@given(st.lists(st.integers(0, 3 * FRAME_SAMPLES), max_size=12))
def test_n_full_frames_in_are_n_out_however_they_were_split(sizes):
    audio = stream(sum(sizes))
    chunks = Rechunker()
    frames, position = [], 0
    for size in sizes:
        frames += [frame.copy() for frame in chunks.push(audio[position : position + size])]
        position += size
    rest = chunks.flush()
    assert [len(frame) for frame in frames] == [FRAME_SAMPLES] * (len(audio) // FRAME_SAMPLES)
    assert np.array_equal(np.concatenate([*frames, rest]), audio)


def test_a_flushed_rest_is_forgotten():
    chunks = Rechunker()
    assert not list(chunks.push(stream(100)))
    assert len(chunks.flush()) == 100
    assert len(chunks.flush()) == 0


@given(st.integers(1, 500), st.lists(st.integers(1, 500), min_size=1, max_size=40), st.integers(0, 10_000))
def test_the_ring_holds_the_last_samples_at_their_positions(capacity, sizes, origin):
    sizes = [min(size, capacity) for size in sizes]
    audio = stream(sum(sizes))
    ring = AudioRing(capacity)
    ring.restart(origin)
    position = 0
    for size in sizes:
        ring.append(audio[position : position + size])
        position += size
        held = min(capacity, position)
        assert (ring.start, ring.end) == (origin + position - held, origin + position)
        assert np.array_equal(ring.slice(ring.start, ring.end), audio[position - held : position])


@pytest.mark.parametrize(("start", "end"), [(-1, 5), (0, 11), (6, 5)])
def test_the_ring_refuses_what_it_does_not_hold(start, end):
    ring = AudioRing(10)
    ring.append(stream(10))
    with pytest.raises(IndexError):
        ring.slice(start, end)


def test_seconds_become_the_nearest_sample():
    assert samples_of(0.15) == 2400
    assert samples_of(0.00004) == 1
