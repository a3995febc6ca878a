"""Commands over MQTT: remote only tightens, and nothing that arrives raises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.message.commands import LEVELS, WAKE, Action, Command, Ignored, parse


@pytest.mark.parametrize("retained", [False, True])
@pytest.mark.parametrize(
    ("level", "payload", "action"),
    [
        ("review/set", b"opt-out", Action.OPT_OUT),
        ("review/set", b" opt-out\r\n", Action.OPT_OUT),
        ("microphone/set", b"mute", Action.MUTE),
    ],
)
def test_what_tightens_is_obeyed_always(level, payload, action, retained):
    command = parse(level, payload, retained=retained, allow_remote_opt_in=False)
    assert command == Command(action, level, payload, retained)


@pytest.mark.parametrize(("allowed", "retained"), [(False, False), (False, True), (True, True)])
def test_opting_in_is_not_obeyed_unless_configured_and_fresh(allowed, retained):
    assert isinstance(parse("review/set", b"opt-in 3", retained=retained, allow_remote_opt_in=allowed), Ignored)


@pytest.mark.parametrize("payload", [b"opt-in 3", b" opt-in\t 3\n", b"opt-in 003"])
def test_an_opt_in_names_the_revision_that_it_changes(payload):
    command = parse("review/set", payload, retained=False, allow_remote_opt_in=True)
    assert (command.action, command.revision) == (Action.OPT_IN, 3)


@pytest.mark.parametrize(
    "payload", [b"opt-in", b"opt-in ", b"opt-in -1", b"opt-in 3.0", b"opt-in x", b"opt-in3", b"opt-in " + b"9" * 50]
)
def test_an_opt_in_that_names_none_is_refused_and_told_how(payload):
    ignored = parse("review/set", payload, retained=False, allow_remote_opt_in=True)
    assert "`opt-in 3`" in ignored.problem or "opt-in REVISION" in ignored.problem


@pytest.mark.parametrize("level", LEVELS)
def test_an_empty_message_says_that_the_broker_keeps_no_command_any_more(level):
    assert parse(level, b"", retained=False, allow_remote_opt_in=False) == Command(Action.CLEARED, level)


def test_unmuting_is_never_possible_and_says_where_it_is():
    ignored = parse("microphone/set", b"unmute", retained=False, allow_remote_opt_in=True)
    assert "on the device" in ignored.problem


@pytest.mark.parametrize(
    ("level", "payload"),
    [
        ("review/set", b"mute"),
        ("microphone/set", b"opt-out"),
        ("microphone/set", b"opt-in 3"),
        ("review/set", b"OPT-OUT\xff"),
    ],
)
def test_a_known_word_at_the_wrong_place_is_no_command(level, payload):
    ignored = parse(level, payload, retained=False, allow_remote_opt_in=True)
    assert "known: " in ignored.problem


WORDS = ("hey_jarvis", "hey computer 2", "größe 0.5")


def about_wake(payload, *, words=WORDS, retained=False):
    return parse(WAKE, payload, retained=retained, allow_remote_opt_in=False, wake_words=words)


@pytest.mark.parametrize("word", [*WORDS, "all"])
def test_a_configured_wake_word_or_all_is_chosen_and_thresholds_are_changed(word):
    chosen = about_wake(f" listen  {word}\n".encode())
    assert (chosen.action, chosen.word, chosen.threshold) == (Action.LISTEN, word, None)
    changed = about_wake(f"threshold {word} 0.62".encode())
    assert (changed.action, changed.word, changed.threshold) == (Action.THRESHOLD, word, 0.62)


@pytest.mark.parametrize("score", ["0.1", "1", "1.0", ".5", "0.30000000000000004"])
def test_a_threshold_is_0_1_to_1(score):
    assert about_wake(f"threshold all {score}".encode()).threshold == pytest.approx(float(score))


@pytest.mark.parametrize(
    ("payload", "right"),
    [
        (b"threshold hey_jarvis 0.09", "a threshold of 0.09; over MQTT it is 0.1 to 1"),
        (b"threshold all 1.01", "0.1 to 1"),
        (b"threshold all " + b"9" * 400, "0.1 to 1"),
        (b"listen alexa", "'alexa' is no wake word that the configuration names; known: `listen WORD`"),
        (b"threshold alexa 0.5", "WORD: hey_jarvis, hey computer 2"),
        (b"threshold hey_jarvis nan", "`threshold WORD SCORE`"),
        (b"threshold hey_jarvis", "`threshold WORD SCORE`"),
        (b"threshold hey_jarvis -0.5", "`threshold WORD SCORE`"),
        (b"listen", "`listen WORD`"),
        (b"listen hey_jarvis\xff", "is no wake word"),
        (b"listen " + b"x" * 100_000, "unknown command"),
        (b"{}", "unknown command"),
    ],
)
def test_what_cannot_be_of_a_wake_word_is_refused_with_what_would_be_right(payload, right):
    ignored = about_wake(payload)
    assert right in ignored.problem


def test_a_retained_change_of_the_wake_words_is_not_obeyed_and_its_removal_is_no_command():
    for payload in (b"listen hey_jarvis", b"threshold all 0.5"):
        assert "without the retain flag" in about_wake(payload, retained=True).problem
    assert about_wake(b"") == Command(Action.CLEARED, WAKE)


def test_where_it_is_not_allowed_nothing_is_a_command_there():
    assert isinstance(about_wake(b"listen hey_jarvis", words=()), Ignored)


@given(
    level=st.sampled_from([*LEVELS, WAKE]) | st.text(max_size=200),
    payload=st.binary(max_size=300)
    | st.sampled_from([b"opt-in", b"opt-in 3", b"opt-out", b"mute", b"unmute", b""])
    | st.builds(lambda word, rest: f"{word} {rest}".encode(), st.sampled_from(["listen", "threshold"]), st.text()),
    retained=st.booleans(),
    allowed=st.booleans(),
)
def test_whatever_arrives_gives_a_command_or_one_short_line(level, payload, retained, allowed):
    words = [*WORDS, "ä" * 128] if allowed else []
    result = parse(level, payload, retained=retained, allow_remote_opt_in=allowed, wake_words=words)
    if isinstance(result, Ignored):
        assert result.problem.isascii()
        assert result.problem.isprintable()
        assert len(result.problem) < 1000
    elif result.action is Action.OPT_IN:
        assert allowed
        assert not retained
        assert result.revision is not None
