"""Cutting exactly what was said: a fixed part of the corpus, with the thresholds the project promises."""

from functools import partial

import pytest
from support.cutting import cut_ours, cut_silero, hear_all, tally
from support.scenes import WORDS, sample_scenes

from device.edges.wakeword import load_scorer

STEADY = ("white", "pink", "brown", "hum")


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    return load_scorer(tuple(WORDS), engine="streaming", cache_dir=tmp_path_factory.mktemp("cache"))


def table(counts):
    return "\n".join(f"{name}: {value}" for name, value in vars_of(counts))


def vars_of(counts):
    return [(name, getattr(counts, name)) for name in type(counts).__dataclass_fields__]


def test_requests_in_steady_noise_of_10_to_30_db_are_cut_as_promised(scorer):
    scenes = sample_scenes(96, 20, noises=STEADY, snrs_db=(10.0, 15.0, 20.0, 30.0))
    heard = list(hear_all(scenes, scorer))
    assert len(heard) > 48
    counts = tally((one, cut_ours(one, scorer)) for one in heard)
    assert counts.missing == counts.start_cut == counts.end_late == 0, table(counts)
    assert counts.end_cut <= counts.requests / 100, table(counts)
    assert counts.wake_left <= counts.requests / 10, table(counts)
    assert counts.start_excess_s <= 0.25, table(counts)
    assert counts.end_excess_s <= 0.25, table(counts)


def test_in_babble_and_at_5_db_requests_are_cut_no_worse_than_by_silero(scorer):
    babble = sample_scenes(24, 21, noises=("babble",), snrs_db=(10.0, 20.0, 30.0))
    faint = sample_scenes(24, 22, noises=STEADY, snrs_db=(5.0,))
    heard = [*hear_all(babble, scorer), *hear_all(faint, scorer)]
    ours, silero = (tally((one, cut(one)) for one in heard) for cut in (partial(cut_ours, scorer=scorer), cut_silero))
    ours_wrong, silero_wrong = (sum(value for _, value in vars_of(counts)[1:6]) for counts in (ours, silero))
    assert ours_wrong <= silero_wrong, f"ours\n{table(ours)}\nsilero\n{table(silero)}"
