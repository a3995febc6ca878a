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
    from device.edges.wav import AudioFile
    from device.tools.trial import Moment, Trial

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
        self._trial = self._build()
        self._lines: list[str] = []  # one for each attempt
        self._stop = threading.Event()

    def run(self, recordings: Sequence[Path]) -> int:
        """Hear the recordings, or the microphone if there are none, and report; return the exit status."""
        from device.edges.wav import AudioFile

        sources = [AudioFile(path, self._settings.microphone.channel) for path in recordings]
        for source in sources:
            source.look()
        signals.stop_in_order(self._stop.set)
        self._hear_what_was_not_meant()
        try:
            if sources:
                self._hear_recordings(sources)
            else:
                self._hear_microphone()
        except RecorderError:
            if self._trial.attempts:
                self._report()
            raise
        self._report()
        return 0

    def _build(self) -> Trial:
        from device import build
        from device.edges.vad import WebrtcVad
        from device.tools.trial import Trial

        wake = self._settings.wake
        pipeline = build.build_pipeline(self._settings, build.build_scorer(self._settings), None)
        classifier = WebrtcVad(self._settings.vad.aggressiveness)
        return Trial(pipeline, classifier, threshold=self._threshold, patience=wake.patience)

    def _hear_what_was_not_meant(self) -> None:
        """Take into account what `outbox not-for-me` has kept of this word."""
        from device import build
        from device.edges.wav import AudioFile
        from device.tools.not_for_me import sounds

        kept = sounds(build.state_dir(self._settings), self._word)
        for path in kept:
            self._trial.not_the_word(path.name, AudioFile(path))
        if kept:
            many = f"{len(kept)} sound{'s' * (len(kept) != 1)}"
            score = f"the highest score is {self._trial.other_score:.2f}"
            remark(f"{many} that {'were' if len(kept) > 1 else 'was'} not for the device: {score}", self._log_format)

    def _hear_recordings(self, sources: Sequence[AudioFile]) -> None:
        for source in sources:
            before = len(self._trial.attempts)
            self._trial.recording(source.path.name, takewhile(lambda _: not self._stop.is_set(), source))
            if self._stop.is_set():
                del self._trial.attempts[before:]  # it was not heard to its end
                return
            self._say(self._new_lines(None))
            for line in source.remarks:
                remark(f"{source.path}: {line}", self._log_format, level="warning")

    def _hear_microphone(self) -> None:
        from device.edges import terminal

        trial = self._trial
        every = (moment for block in listen(self._settings, trial, self._stop) for moment in trial.push(block))
        if terminal.is_one() and not self._as_json:
            self._draw(every)
        else:
            todo = f"say {self._word!r} {TIMES} times, and after each nothing until its line appears"
            remark(f"{todo}; Ctrl-C ends it", self._log_format)
            for _ in takewhile(self._goes_on, every):
                self._say(self._new_lines(TIMES))
        trial.break_off()
        self._say(self._new_lines(TIMES))

    def _goes_on(self, _: Moment) -> bool:
        return not self._stop.is_set() and len(self._lines) < TIMES

    def _draw(self, moments: Iterator[Moment]) -> None:
        """Show on the whole terminal how it stands; the attempts' lines stay on it afterwards."""
        from device.edges.terminal import Screen
        from device.tools.trial_report import screen, todo

        try:
            with Screen() as terminal:
                keys = "q or Ctrl-C ends it." if terminal.has_keys else "Ctrl-C ends it."
                for moment in takewhile(self._goes_on, moments):
                    self._new_lines(TIMES)
                    head = todo(self._word, moment, len(self._lines), TIMES)
                    notes = [f"! {self._trial.remark}", keys] if self._trial.remark else [keys]
                    terminal.draw(screen(moment, head, self._lines, notes, self._threshold, *terminal.size()))
                    if "q" in terminal.keys().lower():
                        self._stop.set()
        finally:
            self._say(self._lines)

    def _new_lines(self, of: int | None) -> list[str]:
        """Return a line for each attempt that has none yet."""
        from device.tools.trial_report import attempt_line

        known = len(self._lines)
        self._lines += [attempt_line(one, n, of) for n, one in enumerate(self._trial.attempts[known:], known + 1)]
        return self._lines[known:]

    def _say(self, lines: list[str]) -> None:
        for line in lines:
            if self._as_json:
                remark(line, self._log_format)
            else:
                click.echo(line)
        sys.stdout.flush()

    def _report(self) -> None:
        from device.tools.own_words import configuration_file, written_words
        from device.tools.trial_report import configuration_lines, report, summary

        result = report(self._word, self._threshold, self._trial.attempts, self._trial.other_score)
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
