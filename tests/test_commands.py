"""Commands over MQTT: remote only tightens, and nothing that arrives raises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.commands import LEVELS, Command, Ignored, parse


@pytest.mark.parametrize("retained", [False, True])
@pytest.mark.parametrize(
    ("level", "payload", "command"),
    [
        ("review/set", b"opt-out", Command.OPT_OUT),
        ("review/set", b" opt-out\r\n", Command.OPT_OUT),
        ("microphone/set", b"mute", Command.MUTE),
    ],
)
def test_what_tightens_is_obeyed_always(level, payload, command, retained):
    assert parse(level, payload, retained=retained, allow_remote_opt_in=False) is command


@pytest.mark.parametrize(("allowed", "retained"), [(False, False), (False, True), (True, True)])
def test_opting_in_is_not_obeyed_unless_configured_and_fresh(allowed, retained):
    assert isinstance(parse("review/set", b"opt-in", retained=retained, allow_remote_opt_in=allowed), Ignored)
    assert parse("review/set", b"opt-in", retained=False, allow_remote_opt_in=True) is Command.OPT_IN


def test_unmuting_is_never_possible_and_says_where_it_is():
    ignored = parse("microphone/set", b"unmute", retained=False, allow_remote_opt_in=True)
    assert "on the device" in ignored.problem


@pytest.mark.parametrize(
    ("level", "payload"), [("review/set", b"mute"), ("microphone/set", b"opt-out"), ("review/set", b"OPT-OUT\xff")]
)
def test_a_known_word_at_the_wrong_place_is_no_command(level, payload):
    ignored = parse(level, payload, retained=False, allow_remote_opt_in=True)
    assert "known: " in ignored.problem


@given(
    level=st.sampled_from(LEVELS) | st.text(max_size=200),
    payload=st.binary(max_size=300) | st.sampled_from([b"opt-in", b"opt-out", b"mute", b"unmute"]),
    retained=st.booleans(),
    allowed=st.booleans(),
)
def test_whatever_arrives_gives_a_command_or_one_short_line(level, payload, retained, allowed):
    result = parse(level, payload, retained=retained, allow_remote_opt_in=allowed)
    if isinstance(result, Ignored):
        assert result.problem.isascii()
        assert result.problem.isprintable()
        assert len(result.problem) < 1000
    if result is Command.OPT_IN:
        assert allowed
        assert not retained
