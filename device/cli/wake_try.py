"""``wake try``: the word is said a few times, and what the recorder makes of it is shown."""

from __future__ import annotations

import sys
import threading
from itertools import takewhile
from typing import TYPE_CHECKING

import click
import msgspec

from device import signals
from device.cli.common import remark
from device.cli.listening import listen
from device.config import settings as configuration
from device.config.words import word_names
from device.errors import RecorderError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from device.config.settings import Settings
    from device.edges.wav import Recording
    from device.tools.trial import Attempt, Moment, Trial

TIMES = 5


class Tryout:
    """One call of the command.

    Args:
        target: the word, or the path of its model.
        settings: the configuration, which may name other words.
        log_format: how what is no result is written.
        as_json: print the report as JSON.
    """

    def __init__(self, target: str, settings: Settings, log_format: str, *, as_json: bool) -> None:
        from device.tools.own_words import find

        found = find(target, settings)
        self._configured = settings
        wake = msgspec.structs.replace(settings.wake, words=(found,))
        self._settings = msgspec.structs.replace(settings, wake=wake)
        self._word = word_names(wake.words)[0]
        self._threshold = configuration.thresholds(wake)[0]
        self._log_format = log_format
        self._as_json = as_json
        self._attempts: list[Attempt] = []
        self._stop = threading.Event()

    def run(self, recordings: Sequence[Path]) -> int:
        """Hear the recordings, or the microphone if there are none, and report; return the exit status."""
        from device.edges.wav import Recording

        sources = [Recording(path, self._settings.microphone.channel) for path in recordings]
        for source in sources:
            source.look()
        trial = self._build()
        signals.stop_in_order(self._stop.set)
        try:
            if sources:
                self._hear_recordings(trial, sources)
            else:
                self._hear_microphone(trial)
        except RecorderError:
            if self._attempts:
                self._report(trial)
            raise
        self._report(trial)
        return 0

    def _build(self) -> Trial:
        from device import build
        from device.edges.vad import WebrtcVad
        from device.tools.trial import Trial

        wake = self._settings.wake
        pipeline = build.build_pipeline(self._settings, build.build_scorer(self._settings), None)
        classifier = WebrtcVad(self._settings.vad.aggressiveness)
        return Trial(pipeline, classifier, threshold=self._threshold, patience=wake.patience)

    def _hear_recordings(self, trial: Trial, sources: Sequence[Recording]) -> None:
        for source in sources:
            found = trial.recording(source.path.name, takewhile(lambda _: not self._stop.is_set(), source))
            if self._stop.is_set():
                return  # it was not heard to its end
            self._say(self._keep(found, None))
            for line in source.remarks:
                remark(f"{source.path}: {line}", self._log_format, level="warning")

    def _hear_microphone(self, trial: Trial) -> None:
        from device.edges import terminal

        blocks = listen(self._settings, trial, self._stop)
        every = (moment for block in blocks for moment in trial.push(block))
        moments = takewhile(lambda _: not self._stop.is_set() and len(self._attempts) < TIMES, every)
        if terminal.is_one() and not self._as_json:
            self._draw(trial, moments)
        else:
            todo = f"say {self._word!r} {TIMES} times, and after each nothing until its line appears"
            remark(f"{todo}; Ctrl-C ends it", self._log_format)
            for moment in moments:
                self._say(self._keep(moment.attempts, TIMES))
        self._say(self._keep(trial.break_off(), TIMES))

    def _draw(self, trial: Trial, moments: Iterator[Moment]) -> None:
        """Show on the whole terminal how it stands; the attempts' lines stay on it afterwards."""
        from device.edges.terminal import Screen
        from device.tools.trial_report import screen, todo

        lines: list[str] = []
        try:
            with Screen() as terminal:
                keys = "q or Ctrl-C ends it." if terminal.has_keys else "Ctrl-C ends it."
                for moment in moments:
                    lines += self._keep(moment.attempts, TIMES)
                    head = todo(self._word, moment, len(lines), TIMES)
                    notes = [f"! {trial.remark}", keys] if trial.remark else [keys]
                    terminal.draw(screen(moment, head, lines, notes, self._threshold, *terminal.size()))
                    if "q" in terminal.keys().lower():
                        self._stop.set()
        finally:
            self._say(lines)

    def _keep(self, attempts: list[Attempt], of: int | None) -> list[str]:
        """Keep attempts for the report; return a line for each."""
        from device.tools.trial_report import attempt_line

        first = len(self._attempts) + 1
        self._attempts += attempts
        return [attempt_line(attempt, number, of) for number, attempt in enumerate(attempts, first)]

    def _say(self, lines: list[str]) -> None:
        for line in lines:
            if self._as_json:
                remark(line, self._log_format)
            else:
                click.echo(line)
        sys.stdout.flush()

    def _report(self, trial: Trial) -> None:
        from device.tools.own_words import configuration_file, written_words
        from device.tools.trial_report import configuration_lines, report, summary

        result = report(self._word, self._threshold, self._attempts, trial.other_score)
        if self._as_json:
            click.echo(msgspec.json.format(msgspec.json.encode(result), indent=0).decode())
            return
        click.echo("\n".join(["", *summary(result)]))
        wake = self._configured.wake
        thresholds = dict(zip(word_names(wake.words), configuration.thresholds(wake), strict=True))
        if lines := configuration_lines(result, written_words(self._configured), thresholds):
            where = configuration_file(self._settings)
            click.echo(
                "\n".join([f"To use it, put this under [wake] into {where}, and restart the recorder:", "", *lines])
            )
