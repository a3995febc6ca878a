"""What came of saying a wake word a few times, for people and for programs."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from msgspec import Struct, json

from device.config.wording import bare
from device.tools.meter_view import bar, filled, wrapped
from device.tools.threshold import Suggestion, suggest
from device.tools.trial import Attempt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from device.tools.trial import Moment

FAINT_DBFS = -40.0  # below it a voice is faint
NEAR_ROOM_DB = 10.0  # by no more than that above the room it drowns


class Report(Struct, frozen=True, kw_only=True):
    """Everything about a trial.

    Attributes:
        word: the wake word.
        threshold: the one it was tried with.
        attempts: each time it was said.
        heard: how many of them were heard.
        silent: how many of those gave silence, no request, as a bare word should.
        requests: how many gave a request.
        other_score: the highest score where the word was not said.
        suggestion: the threshold that this suggests.
    """

    word: str
    threshold: float
    attempts: list[Attempt]
    heard: int
    silent: int
    requests: int
    other_score: float
    suggestion: Suggestion


def report(word: str, threshold: float, attempts: list[Attempt], other_score: float) -> Report:
    """Sum up a trial."""
    outcomes = [attempt.outcome for attempt in attempts]
    return Report(
        word=word,
        threshold=threshold,
        attempts=attempts,
        heard=sum(attempt.heard for attempt in attempts),
        silent=outcomes.count("silence"),
        requests=outcomes.count("request"),
        other_score=round(other_score, 4),
        suggestion=suggest([attempt.held for attempt in attempts], other_score, threshold),
    )


def attempt_line(attempt: Attempt, number: int, of: int | None) -> str:
    """Say one attempt in a line.

    Args:
        attempt: what was heard.
        number: its own, from 1.
        of: how many there shall be; None: nobody knows, and it is named by its recording.
    """
    outcome = {
        "silence": "heard; then silence, no request",
        "request": f"heard; then a REQUEST of {attempt.request_s:.2f} s" if attempt.request_s else "",
        "interrupted": "heard; what came after it was not waited for",
        "not heard": "NOT heard",
    }[attempt.outcome]
    where = f"{number} of {of}" if of else f"{attempt.source} {attempt.start_s:6.1f} s"
    clips = ", clips" if attempt.clips else ""
    return f"{where}  {attempt.level_dbfs:4.0f} dBFS{clips}  score {attempt.score:.2f}  {outcome}"


def summary(result: Report) -> list[str]:
    """Say what all attempts come to, and what to do about it, a line each."""
    if not result.attempts:
        return [f"{result.word!r} was not said; the highest score was {result.other_score:.2f}"]
    count = len(result.attempts)
    lines = [f"{result.word}: heard {result.heard} of {count}, threshold {result.threshold:g}"]
    suggested = result.suggestion.threshold
    lines.append(f"threshold: {'no suggestion' if suggested is None else f'{suggested:g}'}, {result.suggestion.reason}")
    if result.silent + result.requests:
        ok = "as it should" if not result.requests else f"but {result.requests} gave a request"
        lines.append(f"a bare word: {result.silent} of {result.silent + result.requests} gave silence, {ok}")
    return lines + _advice(result)


def _advice(result: Report) -> list[str]:
    lines = []
    levels = sorted(attempt.level_dbfs for attempt in result.attempts)
    above = sorted(attempt.level_dbfs - attempt.room_dbfs for attempt in result.attempts)
    if result.requests:
        lines.append("If nobody spoke after it, raise [vad] aggressiveness, or look where the noise comes from.")
    if levels[len(levels) // 2] < FAINT_DBFS:
        lines.append(
            f"At {levels[len(levels) // 2]:.0f} dBFS it is faint: bring the microphone nearer, or raise its gain."
        )
    elif above[len(above) // 2] < NEAR_ROOM_DB:
        lines.append(f"It is only {above[len(above) // 2]:.0f} dB louder than the room.")
    if any(attempt.clips for attempt in result.attempts):
        lines.append("It clips: turn the microphone's gain down.")
    return lines


def configuration_lines(result: Report, words: Sequence[str], thresholds: Mapping[str, float]) -> list[str]:
    """Return what to put under [wake] for the suggested threshold; nothing where it is the one that is set.

    Args:
        result: the trial's.
        words: those that the configuration listens for, as it has them.
        thresholds: theirs, by name.
    """
    suggested = result.suggestion.threshold
    if suggested is None or suggested == result.threshold:
        return []
    every = {**thresholds, result.word: suggested}
    listened = result.word in thresholds
    table = ", ".join(f"{bare(word)} = {value:g}" for word, value in every.items())
    lines = [f"threshold = {suggested:g}" if len(every) == 1 else f"threshold = {{ {table} }}"]
    return lines if listened else [f"words = {json.encode([*words, result.word]).decode()}", *lines]


def todo(word: str, moment: Moment, done: int, of: int) -> str:
    """Say what to do now.

    Args:
        word: the wake word.
        moment: how it stands.
        done: how many times the word was said.
        of: how many times it shall be.
    """
    if moment.since_heard_s is None:
        return f'Say "{word}", and nothing after it: {min(done + 1, of)} of {of}.'
    return f"Heard. Say nothing until its line appears ({moment.since_heard_s:.0f} s)."


def screen(
    moment: Moment, head: str, said: Sequence[str], notes: Sequence[str], threshold: float, columns: int, rows: int
) -> list[str]:
    """Draw how it stands for a terminal: what to do now, the level and the score, what was heard so far.

    Args:
        moment: how it stands.
        head: what to do now.
        said: a line for each attempt.
        notes: what is wrong, and what ends it.
        threshold: the word's, marked in its bar.
        columns: the terminal's width.
        rows: its height.

    Returns:
        At most ``rows`` lines, each narrower than the terminal.
    """
    width = max(min(columns - 30, 50), 8)
    drawn = [
        *textwrap.wrap(head, max(columns - 1, 1)),
        "",
        *wrapped(columns, f"{'level':6} {bar(filled(moment.level_dbfs), width)}", f"{moment.level_dbfs:4.0f} dBFS"),
        *wrapped(columns, f"{'score':6} {bar(moment.score, width, threshold)}", f"{moment.score:4.2f}"),
        "",
        *said,
        *([""] if said else []),
        *(line for note in notes for line in textwrap.wrap(note, max(columns - 1, 1))),
    ]
    return [line[: columns - 1] for line in drawn[:rows]]
