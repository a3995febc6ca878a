"""What MQTT may change of the wake words: only what is configured counts, from one frame to the next; it is stored."""

from __future__ import annotations

import math
import sqlite3
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pipelines import build, told
from support.stores import open_store, take_back

from device.edges.store.folder import DATABASE
from device.edges.wakeword import load_scorer
from device.hearing.frames import FRAME_SAMPLES
from device.hearing.pipeline import Heard
from device.hearing.request import Request
from device.hearing.tuning import ALL, UNCHANGED, Tuning, counting, listens_for, tuned
from device.hearing.wake import Detector
from device.hil.recordings import load_recordings

CONFIGURED = {"hey_jarvis": 0.5, "alexa": 0.4}
WORDS = tuple(CONFIGURED)
RECORDINGS = {recording.name: recording for recording in load_recordings(Path(__file__).parent / "fixtures")}
SCORE = st.floats(0.1, 1)
WORD = st.sampled_from([*WORDS, "gone"])
TUNINGS = st.builds(Tuning, word=st.none() | WORD, thresholds=st.dictionaries(WORD, SCORE))


def test_a_word_is_chosen_and_all_are_again_and_thresholds_stay():
    chosen = tuned(Tuning(thresholds={"alexa": 0.7}), word="alexa", threshold=None, words=WORDS)
    assert chosen == Tuning(word="alexa", thresholds={"alexa": 0.7})
    assert [listens_for(chosen, word) for word in WORDS] == [False, True]
    assert tuned(chosen, word=ALL, threshold=None, words=WORDS) == Tuning(thresholds={"alexa": 0.7})


def test_a_threshold_is_one_words_or_every_ones():
    one = tuned(Tuning(word="alexa"), word="hey_jarvis", threshold=0.6, words=WORDS)
    assert one == Tuning(word="alexa", thresholds={"hey_jarvis": 0.6})
    assert tuned(one, word=ALL, threshold=0.2, words=WORDS).thresholds == dict.fromkeys(WORDS, 0.2)


@given(TUNINGS)
def test_of_a_word_that_is_not_configured_nothing_counts(tuning):
    found = counting(tuning, CONFIGURED)
    assert found.word in (None, *WORDS)
    assert found.thresholds.keys() <= CONFIGURED.keys()
    assert any(listens_for(found, word) for word in WORDS)
    assert counting(found, CONFIGURED) == found


def test_what_is_as_configured_is_no_change():
    assert counting(Tuning(thresholds={"alexa": 0.4}), CONFIGURED) == UNCHANGED
    assert counting(Tuning(word="alexa"), {"alexa": 0.4}) == UNCHANGED


# Stored


def test_it_survives_and_is_undone(tmp_path):
    change = partial(tuned, word="alexa", threshold=0.3, words=WORDS)
    with open_store(tmp_path) as store:
        assert store.tunings.read() == UNCHANGED
        store.tunings.change(change)
    with open_store(tmp_path) as store:
        assert store.tunings.read() == Tuning(thresholds={"alexa": 0.3})
        before = store.change_counter()
        store.tunings.change(change)
        assert store.change_counter() == before  # the same again writes nothing
        assert store.tunings.reset() == Tuning(thresholds={"alexa": 0.3})
        assert store.tunings.read() == store.tunings.reset() == UNCHANGED


@pytest.mark.parametrize(
    "value", ["nonsense", '{"word": 3}', '{"thresholds": {"alexa": 0}}', '{"thresholds": {"a": 2}}']
)
def test_one_that_makes_no_sense_is_none(tmp_path, value):
    with open_store(tmp_path):
        pass
    with sqlite3.connect(tmp_path / DATABASE) as db:
        db.execute("INSERT INTO setting VALUES ('wake', ?)", (value,))
    db.close()
    with open_store(tmp_path) as store:
        assert store.tunings.read() == UNCHANGED


def test_a_database_of_before_has_no_change_and_takes_one(tmp_path):
    with open_store(tmp_path):
        pass
    with sqlite3.connect(tmp_path / DATABASE) as db:
        take_back(db, 6)
    db.close()
    with open_store(tmp_path) as store:
        assert store.tunings.read() == UNCHANGED
        store.tunings.change(lambda _: Tuning(word="alexa"))
        assert store.tunings.read() == Tuning(word="alexa")


# Heard


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    return load_scorer(WORDS, engine="streaming", cache_dir=tmp_path_factory.mktemp("cache"))


def retune(pipeline, **thresholds):
    """Have other thresholds count from here on."""
    first = tuple(thresholds.get(word, 0.5) for word in WORDS)
    detector = partial(Detector, WORDS, first, patience=1, refractory_samples=16_000)
    return list(pipeline.retune(detector, dict.fromkeys(WORDS, 0.5)))


def hear(scorer, name, at=None, **thresholds):
    """What is heard of a recording where thresholds change after so many samples."""
    pipeline, samples = build(scorer), RECORDINGS[name].samples
    events = list(pipeline.push(samples[:at]))
    if at is not None:
        events += [*retune(pipeline, **thresholds), *pipeline.push(samples[at:])]
    return told([*events, *pipeline.finish("end-of-input")])


def words_heard(events):
    return [event.word for event in events if isinstance(event, Heard)]


def test_of_both_words_only_the_one_that_is_listened_for_is_heard(scorer):
    both = words_heard(hear(scorer, "both-words"))
    assert set(both) == set(WORDS)
    for word in WORDS:
        other = next(one for one in WORDS if one != word)
        assert words_heard(hear(scorer, "both-words", 0, **{other: math.inf})) == [one for one in both if one == word]


def test_an_open_request_is_the_same_whatever_changes_meanwhile(scorer):
    whole = hear(scorer, "two-requests")
    first, second = (event for event in whole if isinstance(event, tuple))
    (_, wake, _, end, *_), at = first, (first[2] + first[3]) // 2
    assert wake < at < end
    assert hear(scorer, "two-requests", at, hey_jarvis=math.inf) == whole[: whole.index(first) + 1]
    assert second not in hear(scorer, "two-requests", at, hey_jarvis=math.inf)
    assert hear(scorer, "two-requests", at, alexa=math.inf) == whole


def test_a_word_that_has_just_fired_does_not_fire_again_by_a_change(scorer):
    whole = hear(scorer, "hey-jarvis-request")
    wake = next(event.wake_sample for event in whole if isinstance(event, Heard))
    for frames in range(4):
        assert hear(scorer, "hey-jarvis-request", wake + frames * FRAME_SAMPLES + 80, hey_jarvis=0.3) == whole


def test_what_came_before_a_change_is_decided_by_what_counted_then(scorer):
    """Frames may wait to be scored two at a time; the change must not reach back to them."""

    class Written:
        words, context_frames, segmenter = WORDS, scorer.context_frames, scorer.segmenter

        def reset(self):
            pass

        def score(self, frames):
            return np.array([[0.4, 0.0]] * len(frames), np.float32)

    for frames in (40, 41):
        pipeline = build(Written(), gated=False)
        assert list(pipeline.push(np.zeros(frames * FRAME_SAMPLES, np.int16))) == []
        assert retune(pipeline, hey_jarvis=0.3) == []
        (heard,) = (one for one in pipeline.push(np.zeros(4 * FRAME_SAMPLES, np.int16)) if not isinstance(one, Request))
        assert heard.wake_sample == (frames + 1) * FRAME_SAMPLES
