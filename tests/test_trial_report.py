"""What a trial comes to: a line for each attempt, a summary with advice, what to put into the configuration."""

from __future__ import annotations

import tomllib

import pytest

from device.tools.threshold import Suggestion
from device.tools.trial import Attempt, Moment
from device.tools.trial_report import attempt_line, configuration_lines, report, screen, summary, todo


def attempt(**changes) -> Attempt:
    usual = {
        "source": "one.wav", "start_s": 1.2, "level_dbfs": -24.0, "room_dbfs": -60.0, "clips": False, "score": 0.97,
        "held": 0.97, "heard": True, "outcome": "silence",
    }  # fmt: skip
    return Attempt(**usual | changes)


UNHEARD = attempt(score=0.31, held=0.31, heard=False, outcome="not heard")
REQUEST = attempt(outcome="request", request_s=0.8)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (attempt(), "2 of 5   -24 dBFS  score 0.97  heard; then silence, no request"),
        (REQUEST, "2 of 5   -24 dBFS  score 0.97  heard; then a REQUEST of 0.80 s"),
        (attempt(outcome="interrupted"), "2 of 5   -24 dBFS  score 0.97  heard; what came after it was not waited for"),
        (UNHEARD, "2 of 5   -24 dBFS  score 0.31  NOT heard"),
        (attempt(clips=True), "2 of 5   -24 dBFS, clips  score 0.97  heard; then silence, no request"),
    ],
)
def test_a_line_says_what_became_of_an_attempt(said, line):
    assert attempt_line(said, 2, 5) == line
    assert attempt_line(said, 2, None) == line.replace("2 of 5", "one.wav    1.2 s")


def told(*attempts: Attempt, other: float = 0.01, threshold: float = 0.5):
    return report("alexa", threshold, list(attempts), other)


def test_the_summary_counts_what_was_heard_and_what_gave_silence():
    lines = summary(told(attempt(), attempt(), REQUEST, UNHEARD, attempt(outcome="interrupted")))
    assert lines[0] == "alexa: heard 4 of 5, threshold 0.5"
    assert lines[1].startswith("threshold: 0.2, lower than 0.5: all 5 scored 0.31 or more")
    assert lines[2] == "a bare word: 2 of 3 gave silence, but 1 gave a request"
    assert "If nobody spoke after it" in lines[3]
    assert summary(told(attempt()))[2:] == ["a bare word: 1 of 1 gave silence, as it should"]


def test_patience_counts_in_the_suggestion():
    held_less = attempt(score=0.97, held=0.4)
    assert told(held_less).suggestion.threshold == 0.3


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        (attempt(level_dbfs=-52.0, room_dbfs=-80.0), "At -52 dBFS it is faint"),
        (attempt(room_dbfs=-30.0), "only 6 dB louder than the room"),
        (attempt(clips=True), "It clips"),
    ],
)
def test_a_bad_level_is_named_with_what_to_do(said, advice):
    assert advice in summary(told(said))[-1]


def test_nothing_said_is_no_failure():
    assert summary(told()) == ["'alexa' was not said; the highest score was 0.01"]


@pytest.mark.parametrize(
    ("words", "thresholds", "lines"),
    [
        (["alexa"], {"alexa": 0.5}, ["threshold = 0.35"]),
        (["alexa", "hey mia"], {"alexa": 0.5, "hey mia": 0.7}, ['threshold = { alexa = 0.35, "hey mia" = 0.7 }']),
        (
            ["hey_jarvis"],
            {"hey_jarvis": 0.5},
            ['words = ["hey_jarvis","alexa"]', "threshold = { hey_jarvis = 0.5, alexa = 0.35 }"],
        ),
    ],
)
def test_a_suggestion_comes_as_lines_for_the_configuration(words, thresholds, lines):
    weak = attempt(score=0.45, held=0.45)
    assert configuration_lines(told(weak), words, thresholds) == lines
    tomllib.loads("\n".join(lines))
    assert configuration_lines(told(attempt()), words, thresholds) == []
    assert told(weak).suggestion == Suggestion(threshold=0.35, reason=told(weak).suggestion.reason)


@pytest.mark.parametrize("columns", [10, 33, 80, 200])
@pytest.mark.parametrize("rows", [1, 4, 24])
def test_a_screen_fits_into_any_terminal(columns, rows):
    moment = Moment(-33.0, 0.42, None)
    drawn = screen(moment, todo("alexa", moment, 1, 5), ["1 of 5 heard " * 9], ["! muted", "q"], 0.5, columns, rows)
    assert len(drawn) <= rows
    assert all(len(line) < columns for line in drawn)


def test_a_screen_says_what_to_do_and_shows_level_score_and_what_was_heard():
    for since, head in (
        (None, 'Say "alexa", and nothing after it: 2 of 5.'),
        (2.6, "Heard. Say nothing until its line"),
    ):
        moment = Moment(-45.0, 0.5, since)
        drawn = screen(
            moment, todo("alexa", moment, 1, 5), ["1 of 5  heard"], ["! muted there", "q ends it"], 0.75, 60, 24
        )
        assert drawn[0].startswith(head)
        assert drawn[2] == f"level  {15 * '#'}{15 * '.'}   -45 dBFS"
        assert "|" in drawn[3]
        assert "0.50" in drawn[3]
        assert {"1 of 5  heard", "! muted there", "q ends it"} <= set(drawn)
