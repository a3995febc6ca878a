"""Whatever the configuration accepts and whatever a stream is called, a request arrives: no limit is met underway."""

from __future__ import annotations

import re
import tempfile
import unicodedata
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.stores import MEMORY, JumpingClock, open_store, request_of, take

from device.config import settings as config
from device.edges.flac import flac, read_flac
from device.errors import ConfigurationError, UnstorableError
from device.hearing.request import SilencedHole
from device.hearing.words import LONGEST_NAME
from device.message import envelope, receive
from device.message.tag import source_name
from device.message.timestamps import Now, rfc3339

ENCODERS = {"wav": partial(envelope.wav, version="0"), "flac": partial(flac, version="0")}
anything = st.text(st.characters(exclude_categories=()), max_size=400)  # lone surrogates, too
printable = st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="/+#")
file_names = st.one_of(
    st.text(printable, min_size=1, max_size=130),
    st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1),
).filter(lambda name: len(name.encode()) <= 250)
prefixes = st.one_of(st.just("home/kitchen"), st.text(printable, min_size=1, max_size=140), st.text(min_size=1))


def accepted(folder: Path, **sections: dict) -> config.Settings | None:
    """Return what the configuration makes of it, None where it refuses, as the start would by status 78."""
    try:
        return config.validate({"device": {"state_dir": str(folder / "state")}, **sections}, None)
    except ConfigurationError as error:
        assert error.exit_status == 78
        return None


def arrives(folder: Path, settings: config.Settings, request, source: str, now: Now, age_s: float) -> receive.Received:
    """Store, claim, publish and receive; nothing on the way may take it for damage."""
    events: list = []
    clock = JumpingClock(now)
    with open_store(folder / "state", report=events.append, clock=clock) as store:
        stored = store.put(request, device=settings.device.id, source=source, age_s=age_s)
        store.refused(stored.tag.id, source)
    with open_store(folder / "state", report=events.append, clock=clock) as store:
        assert [each.id for each in store.waiting()] == [stored.tag.id]
        claimed = take(store)
        assert store.review().choice == "default"
    assert events == []
    encode = ENCODERS[settings.mqtt.format]
    message = envelope.message(claimed.tag, claimed.pcm, prefix=settings.mqtt.topic_prefix, encode=encode)
    for text in (message.topic, message.content_type, *(part for pair in message.user_properties for part in pair)):
        assert not [each for each in text if unicodedata.category(each) in ("Cc", "Cs")]  # what MQTT forbids
        assert not [each for each in text if ord(each) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(each) <= 0xFDEF]
        assert len(text.encode()) < 65_536
    return receive.check(
        message.topic, message.payload, message.content_type, message.user_properties, read_flac=read_flac
    )


@settings(deadline=None, max_examples=150)
@given(
    stem=file_names,
    prefix=prefixes,
    device=st.from_regex(r"[a-z0-9_-]{1,64}", fullmatch=True),
    form=st.sampled_from(["wav", "flac"]),
    source=anything,
    score=st.floats(),
    holes=st.lists(st.tuples(st.integers(0, 2**40), st.floats(1e-4, 1)), max_size=5),
    wall_ns=st.integers(-(2**62), 2**63 - 1),
    age_s=st.floats(0, 1e6),
)
@example("w" * 129, "wakeword", "k", "wav", "file:a.wav", 0.5, [], 0, 0.0)
@example("hey", "wakeword", "k", "flac", "\udce9" * 300, 7.5, [], 0, 0.0)
@example("\U0001f600" * 60, "a/b", "k", "wav", "mic:" + "\U0001f600" * 5000, float("inf"), [], 2**63 - 1, 1e9)
@example("hey", "w", "k", "wav", "x", 0.5, [(7 * n, 0.123456789) for n in range(20_000)], 0, 0.0)
def test_whatever_the_configuration_accepts_arrives(stem, prefix, device, form, source, score, holes, wall_ns, age_s):
    with tempfile.TemporaryDirectory(dir=MEMORY) as made:
        folder = Path(made)
        model = folder / f"{stem}.onnx"
        model.touch()
        here = accepted(
            folder, wake={"words": [str(model)]}, mqtt={"topic_prefix": prefix, "format": form}, device={
                "id": device, "state_dir": str(folder / "state")}
        )  # fmt: skip
        if here is None:
            return
        (word,) = config.word_names(here.wake.words)
        request = request_of(
            1,
            800,
            wake_word=word,
            score=score,
            holes=tuple(SilencedHole(start_sample=a, duration_s=b) for a, b in holes),
        )
        received = arrives(folder, here, request, source, Now(wall_ns, 10**12, "boot", synced=False), age_s)
        assert received.tag.wake_word == word
        assert received.tag.source == source_name(source)
        assert received.tag.device == device


@pytest.mark.parametrize(
    ("stem", "problem"),
    [("w" * (LONGEST_NAME + 1), "129 characters"), ("hey\tyou", "cannot be printed"), ("\u200b", "cannot be printed")],
)
def test_a_model_whose_file_has_an_impossible_name_is_refused_with_what_to_do(tmp_path, stem, problem):
    model = tmp_path / f"{stem}.onnx"
    model.touch()
    with pytest.raises(ConfigurationError, match=problem) as caught:
        config.validate({"wake": {"words": [str(model)]}}, None)
    assert re.search(r"\[wake\] words = .*; rename the file$", caught.value.problems[0])


@pytest.mark.parametrize("stem", ["w" * LONGEST_NAME, "嘿 你好", "où ça", "\U0001f600"])
def test_any_printable_name_of_a_model_that_fits_is_accepted(tmp_path, stem):
    model = tmp_path / f"{stem}.onnx"
    model.touch()
    assert config.word_names(accepted(tmp_path, wake={"words": [str(model)]}).wake.words) == (stem,)


@pytest.mark.parametrize("key", ["topic_prefix", "username"])
def test_a_string_that_brokers_refuse_is_refused_at_the_start(tmp_path, key):
    assert accepted(tmp_path, mqtt={key: "ki\x7ftchen"}) is None
    assert accepted(tmp_path, mqtt={key: "küche"}) is not None


@pytest.mark.parametrize(
    "broken",
    [
        {"wake_word": ""},
        {"wake_word": "w" * 129},
        {"wake_word": "a\nb"},
        {"ended_by": "whim"},
        {"start_sample": -1},
        {"end_sample": 7},
        {"wake_sample": -5},
        {"pcm": np.zeros(0, np.int16), "end_sample": 88_320},
    ],
    ids=str,
)
def test_what_could_not_be_read_again_is_never_stored_and_harms_nothing_that_is(tmp_path, broken):
    events: list = []
    with open_store(tmp_path, report=events.append) as store:
        store.put(request_of(1), device="kitchen", source="mic:USB", age_s=0)
        with pytest.raises(UnstorableError):
            store.put(request_of(2, **broken), device="kitchen", source="mic:USB", age_s=0)
        with pytest.raises(UnstorableError):
            store.put(request_of(2), device="Kitchen\n", source="mic:USB", age_s=0)
        assert store.count() == 1
        assert store.review().choice == "default"
    assert events == []


@pytest.mark.parametrize(
    ("wall_ns", "text"), [(-(2**80), "0001-01-01T00:00:00.000Z"), (2**80, "9999-12-31T23:59:59.999Z")]
)
def test_a_clock_gone_mad_gives_the_nearest_time_that_can_be_written(wall_ns, text):
    assert rfc3339(wall_ns) == text
