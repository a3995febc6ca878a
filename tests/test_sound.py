"""Levels without the mean, and what is wrong with audio said in words."""

from __future__ import annotations

import math

import numpy as np
import pytest

from device.hearing.sound import SILENT_DBFS, Sound, level_dbfs

RNG = np.random.default_rng(1)
TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)  # -9 dBFS
NOISE = RNG.normal(0, 0.001, 32_000)  # a quiet room's, -60 dBFS


def as_int16(values):
    return np.round(values * 32_767).astype(np.int16)


def remarks(*channels, channel=1, split=1):
    sound = Sound()
    for block in np.array_split(np.stack(channels, axis=1), split):
        sound.add(block)
    return sound.remarks(channel)


@pytest.mark.parametrize("offset", [0, 1500, -12_000])
def test_a_constant_offset_changes_no_level_and_alone_is_silence(offset):
    assert level_dbfs(as_int16(TONE) + np.int16(offset)) == pytest.approx(-9.03, abs=0.01)
    assert level_dbfs(np.full(16_000, offset, np.int16)) == -math.inf
    assert level_dbfs(np.full(16_000, offset / 32_768, np.float32)) == -math.inf
    assert remarks(np.full(16_000, offset, np.int16), split=7)[0].startswith("it is silent")


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_each_channel_is_measured_by_itself_in_blocks_of_any_length(kind):
    scale = 32_768 if kind is np.int16 else 1
    channels = np.stack([TONE / 2 + 0.2, NOISE - 0.3, TONE], axis=1)
    values = np.round(channels * scale).astype(kind) if kind is np.int16 else channels.astype(kind)
    sound = Sound()
    for block in np.split(values, [7, 8, 5_000, 5_001, 20_000]):
        sound.add(block)
    for number, channel in enumerate(values.T.astype(float) / scale, 1):
        assert sound.level_dbfs(number) == pytest.approx(20 * math.log10(np.std(channel)), abs=0.001)


def test_dither_alone_is_silence_and_a_quiet_room_is_not():
    assert level_dbfs(RNG.integers(0, 2, 16_000).astype(np.int16)) < SILENT_DBFS
    assert level_dbfs(as_int16(NOISE)) > SILENT_DBFS
    assert remarks(as_int16(NOISE)) == []


def test_a_silent_channel_beside_one_with_sound_names_that_one():
    silent, said = np.zeros_like(TONE), TONE
    assert remarks(silent, said) == ["channel 1 is silent, but channel 2 holds sound: set [microphone] channel = 2"]
    assert remarks(silent, silent, said + 0.2, channel=2)[0].endswith("channel = 3")
    assert remarks(silent, said, channel=2) == []


def test_a_channel_with_hum_only_beside_a_loud_one_is_asked_about():
    assert "channel 2 is 51 dB louder than channel 1" in remarks(NOISE, TONE)[0]
    assert remarks(0.1 * TONE, TONE) == []


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_clipping_is_named_and_a_loud_voice_is_not(kind):
    loud, clipped = 1.9 * TONE, np.clip(4 * TONE, -1, 1)
    of = as_int16 if kind is np.int16 else np.float32
    assert remarks(of(loud)) == []
    assert "it clips" in remarks(of(clipped))[0]
    assert "it clips" in remarks(of(4 * TONE) if kind is np.float32 else of(clipped))[0]


def test_a_single_click_at_full_scale_is_no_clipping():
    click = NOISE.copy()
    click[100:102] = 1.0
    assert remarks(click) == []


def test_what_is_no_number_is_counted_and_does_not_hide_the_rest():
    odd = TONE.astype(np.float32)
    odd[10:13] = np.nan, np.inf, -np.inf
    assert remarks(odd)[0].startswith("3 of its samples are no numbers")
    assert level_dbfs(odd) == pytest.approx(-9.03, abs=0.01)
    assert [line.split(":")[0].split(" of")[0] for line in remarks(np.full(100, np.nan))] == ["it is silent", "100"]


@pytest.mark.filterwarnings("error")  # standard error holds JSON only
def test_a_signalling_nan_is_counted_without_a_warning():
    assert remarks(np.array([0x7FA00000, 0], np.uint32).view(np.float32))[-1].startswith("1 of its samples")


def test_nothing_heard_gives_nothing_to_say():
    assert Sound().remarks() == []
    assert Sound().level_dbfs() == -math.inf
