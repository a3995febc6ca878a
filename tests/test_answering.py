"""What is answered: nothing old, one device of several, one question after another in one conversation."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tags import tag_of

from device.answering import answer
from device.answering.age import age_s
from device.answering.answer import MOST_CHARACTERS, Reply
from device.answering.arbitration import Arbitration
from device.answering.turns import FOLLOW_UP_S, REPEAT_S, Conversations, WakePhrases
from device.message.timestamps import NS_PER_S, Now

PCM = bytes(32_000)
SAID_S = 1_795_811_001  # 2026-11-27T20:23:21Z


def moment(boot_s, wall_s=SAID_S, *, synced=True):
    return Now(wall_ns=int(wall_s * NS_PER_S), boot_ns=int(boot_s * NS_PER_S), boot_id="one", synced=synced)


def said(waited_s, *, synced=True):
    return tag_of(PCM, captured_at="2026-11-27T20:23:21.000Z", clock_synced=synced, waited_s=waited_s)


def test_the_time_on_the_device_and_the_time_here_add_up():
    assert age_s(said(3.0), moment(100), moment(107.5)) == 10.5


@pytest.mark.parametrize("waited_s", [None, "absent"])
def test_nobody_knows_the_age_of_a_request_that_does_not_say_how_long_it_waited(waited_s):
    tag = tag_of(PCM) if waited_s == "absent" else said(waited_s)
    assert age_s(tag, moment(100), moment(100)) is None


def test_how_long_it_lay_on_the_broker_counts_where_both_clocks_are_set():
    tag = said(0.2)  # it lasts 1 s
    assert age_s(tag, moment(100, SAID_S + 61), moment(100, SAID_S + 61)) == 60
    assert age_s(tag, moment(100, SAID_S + 61, synced=False), moment(100, SAID_S + 61, synced=False)) == 0.2
    assert age_s(said(0.2, synced=False), moment(100, SAID_S + 61), moment(100, SAID_S + 61)) == 0.2


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(-1e6, 1e6))
def test_a_wall_clock_never_makes_a_request_younger(waited_s, here_s, wall_s):
    age = age_s(said(waited_s), moment(0), moment(here_s, SAID_S + wall_s))
    assert age >= waited_s + int(here_s * NS_PER_S) / NS_PER_S


def heard_by(device, score, word="hey_jarvis", request_id=None):
    return tag_of(PCM, id=request_id or device, device=device, score=score, wake_word=word)


def test_of_several_devices_the_best_score_is_answered_when_the_time_is_over():
    round_ = Arbitration(0.5)
    round_.offer(heard_by("kitchen", 0.7), 10.0)
    round_.offer(heard_by("hall", 0.9), 10.2)
    round_.offer(heard_by("cellar", 0.6), 10.49)
    assert round_.due(10.49) == []
    assert round_.next_s() == 10.5
    (decision,) = round_.due(10.5)
    assert (decision.winner, decision.outdone) == ("hall", ("kitchen", "cellar"))
    assert (round_.due(20.0), round_.next_s()) == ([], None)


def test_of_equal_scores_the_first_is_answered():
    round_ = Arbitration(0.5)
    for device in ("kitchen", "hall"):
        round_.offer(heard_by(device, 0.9), 10.0)
    assert [decision.winner for decision in round_.due(11.0)] == ["kitchen"]


@pytest.mark.parametrize(
    ("later", "at_s"),
    [
        (heard_by("hall", 0.9), 10.5),  # too late for the round
        (heard_by("hall", 0.9, "alexa"), 10.1),  # another wake word
        (heard_by("kitchen", 0.9, request_id="second"), 10.1),  # the same device once more
    ],
)
def test_what_is_no_repeat_by_another_device_is_answered_too(later, at_s):
    round_ = Arbitration(0.5)
    round_.offer(heard_by("kitchen", 0.7, request_id="first"), 10.0)
    round_.offer(later, at_s)
    assert {decision.winner for decision in round_.due(12.0)} == {"first", later.id}


def test_buttons_that_are_pressed_at_once_are_no_repeats_of_each_other():
    round_ = Arbitration(0.5)
    for device in ("kitchen", "hall"):
        round_.offer(heard_by(device, 1.0, "button"), 10.0)
    assert [decision.winner for decision in round_.due(11.0)] == ["kitchen", "hall"]
    assert WakePhrases().of("button", "kitchen", age_s=0.1, first=True, now_s=0.0) == ""


def test_without_a_window_everything_is_answered_at_once():
    round_ = Arbitration(0.0)
    for device in ("kitchen", "hall"):
        round_.offer(heard_by(device, 0.9), 10.0)
    assert [decision.winner for decision in round_.due(10.0)] == ["kitchen", "hall"]


def test_a_conversation_goes_on_for_its_device_until_it_is_over():
    open_ = Conversations()
    assert open_.open("kitchen", 0.0) is None
    open_.note("kitchen", "c1", 0.0)
    assert open_.open("kitchen", FOLLOW_UP_S - 1) == "c1"
    assert open_.open("hall", 1.0) is None
    assert open_.open("kitchen", FOLLOW_UP_S) is None


def test_a_conversation_without_a_number_is_none():
    open_ = Conversations()
    open_.note("kitchen", "", 0.0)
    assert open_.open("kitchen", 1.0) is None


def test_a_wake_word_is_named_as_it_is_said_once_for_a_device_in_a_while():
    phrases = WakePhrases()

    def named(device, now_s, *, age_s=0.1, first=True):
        return phrases.of("hey_jarvis", device, age_s=age_s, first=first, now_s=now_s)

    assert named("kitchen", 0.0) == "hey jarvis"
    assert named("hall", 0.1) == "hey jarvis"  # for Home Assistant to refuse
    assert named("kitchen", 0.2) == ""  # its next request, which is no repeat
    assert named("kitchen", REPEAT_S) == "hey jarvis"


def test_a_request_that_waited_or_is_asked_once_more_is_no_repeat_of_what_is_under_way():
    phrases = WakePhrases()
    assert phrases.of("alexa", "kitchen", age_s=REPEAT_S, first=True, now_s=0.0) == ""
    assert phrases.of("alexa", "kitchen", age_s=0.1, first=False, now_s=0.0) == ""


def test_what_is_published_names_the_request_the_texts_and_how_long_it_took():
    reply = Reply("turn on the light", "Turned on the light")
    content = answer.published("an id", reply, backend="home-assistant", took_s=0.43219)
    assert json.loads(content) == {
        "id": "an id",
        "text": "turn on the light",
        "speech": "Turned on the light",
        "backend": "home-assistant",
        "took_s": 0.432,
    }
    assert answer.topic("a/b", "kitchen") == "a/b/kitchen/answer"


def test_a_text_of_a_megabyte_is_cut_and_one_that_is_no_text_is_made_one():
    content = json.loads(answer.published("x", Reply("ä" * 1_000_000, "\ud800"), backend="b", took_s=0))
    assert content["text"] == "ä" * (MOST_CHARACTERS - 1) + "…"
    assert content["speech"] == "?"
