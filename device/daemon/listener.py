"""The pipeline's thread: reads the microphone or recordings, and does everything up to the store."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from device.daemon.worker import Worker
from device.edges.microphone import Block, Gap, Hole, Mark
from device.errors import RecordingError
from device.hearing import words
from device.hearing.capture import NoSpeech
from device.hearing.confirm import Unconfirmed
from device.hearing.frames import FRAME_SAMPLES, RATE_HZ
from device.hearing.holes import LONGEST_SAMPLES
from device.hearing.pipeline import Heard
from device.hearing.request import Request
from device.message.tag import source_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from queue import SimpleQueue

    from device.daemon.recorder import Recorder
    from device.edges.microphone import Microphone
    from device.edges.wav import AudioFile
    from device.events import Events
    from device.hearing.frames import Samples
    from device.hearing.pipeline import Finding, Pipeline

Ask = Callable[["Pipeline"], Iterable["Finding"]]  # what somebody asks of the pipeline, in its thread
READ_TIMEOUT_S = 0.25  # how soon the thread sees that it shall stop
CATCH_UP_S = 3.0  # with what was heard before the stop; less than what `stop` waits


class Listener:
    """Owns the pipeline and runs it in one thread, started by ``start`` and ended by ``stop`` or the input's end.

    Args:
        pipeline: hears; touched by this thread only.
        recorder: takes the requests.
        events: says what was heard.
        asked: what the pipeline is to do between two blocks of a recording; a microphone has marks for that.
        due: returns what it is to do before it hears more.
        on_wake: called when a wake word was heard.

    Attributes:
        worker: its thread.
        unreadable: how many recordings could not be read.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        recorder: Recorder,
        events: Events,
        asked: SimpleQueue[Ask],
        *,
        due: Callable[[], Iterable[Ask]],
        on_wake: Callable[[], None],
    ) -> None:
        self._pipeline = pipeline
        self._recorder = recorder
        self._events = events
        self._stop = threading.Event()
        self._source = ""
        self._asked = asked
        self._due = due
        self._on_wake = on_wake
        self._work: Callable[[], None] = lambda: None
        self.worker = Worker("listener", self._listen)
        self.unreadable = 0

    def start(self, work: Callable[[], None]) -> None:
        """Run ``work`` (one of this object's two ways to listen) in the thread."""
        self._work = work
        self.worker.start()

    def _listen(self) -> None:
        self._work()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread: an open request is stored with ``ended_by: shutdown``."""
        self._stop.set()
        self.worker.join_started(timeout_s)

    def microphone(self, microphone: Microphone) -> None:
        """Listen to a microphone until stopped."""
        self._source = source_name(microphone.source_name)
        for item in self._brought(microphone):
            match item:
                case Block(samples):
                    self._do_due()
                    self._source = source_name(microphone.source_name)
                    self._handle(self._pipeline.push(samples))
                case Hole(samples):
                    self._report_hole(samples)
                    self._handle(self._pipeline.hole(samples))
                case Mark(action):
                    self._handle(action(self._pipeline))
                case Gap():
                    self._handle(self._pipeline.gap())
        self._handle(self._pipeline.finish("shutdown"))

    def _do_due(self) -> None:
        for action in self._due():
            self._handle(action(self._pipeline))

    def _report_hole(self, samples: int) -> None:
        bridged = samples <= LONGEST_SAMPLES
        missing_s = samples / RATE_HZ
        self._events(
            "overflow",
            f"this machine was too slow: {missing_s:.2f} s of the microphone's audio is missing"
            f"{', and silence stands in its place' if bridged else '; an open request ends there'}",
            level=logging.WARNING,
            missing_s=round(missing_s, 3),
            bridged=bridged,
        )

    def _brought(self, microphone: Microphone) -> Iterator[Block | Hole | Mark | Gap | None]:
        """Yield what the microphone brings until the stop, then what was heard before it and is not read yet."""
        while not self._stop.is_set():
            yield microphone.read(READ_TIMEOUT_S)
        limit_s = time.monotonic() + CATCH_UP_S
        while (item := microphone.read(0)) is not None and time.monotonic() < limit_s:
            yield item

    def recordings(self, paths: Iterable[Path], read: Callable[[Path], AudioFile], *, realtime: bool) -> None:
        """Listen to recordings, each a stream of its own; one that cannot be read is said and passed over.

        Args:
            paths: the recordings.
            read: makes one of its path.
            realtime: at the pace of a microphone; else as fast as can be.
        """
        for path in paths:
            if self._stop.is_set():
                return
            self._source = source_name(f"file:{path.name}")
            self._events("input", f"reading {path}", source=self._source)
            recording = read(path)
            try:
                for block in paced(recording, self._stop) if realtime else recording:
                    while not self._asked.empty():
                        self._handle(self._asked.get()(self._pipeline))
                    self._do_due()
                    self._handle(self._pipeline.push(block))
                    if self._stop.is_set():
                        break
                for remark in recording.remarks:
                    message = f"recording {str(path)!r}: {remark}"
                    self._events("input-odd", message, level=logging.WARNING, source=self._source)
            except RecordingError as error:
                self.unreadable += 1
                self._events("input-unreadable", str(error), level=logging.ERROR, source=self._source)
            self._handle(self._pipeline.finish("shutdown" if self._stop.is_set() else "end-of-input"))

    def _handle(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            if isinstance(finding, Heard):
                self._on_wake()
            match finding:
                case Request():
                    self._recorder.take(finding, self._source, self._pipeline.position)
                case Heard(again=True):
                    pass
                case Heard(word=words.BUTTON):
                    self._say("wake", "the button was pressed", finding)
                case Heard():
                    self._say("wake", f"heard {finding.word!r} (score {finding.score:.2f})", finding)
                case Unconfirmed():
                    scores = f"score {finding.score:.2f}, confirmed {finding.confirmed:.2f}"
                    self._say("not-confirmed", f"took {finding.word!r} for another word ({scores})", finding)
                case NoSpeech():
                    self._say("no-speech", f"nothing was said after {finding.word!r}", finding)

    def _say(self, event: str, message: str, finding: Heard | Unconfirmed | NoSpeech) -> None:
        facts: dict[str, Any] = {"wake_word": finding.word}
        if not isinstance(finding, NoSpeech):
            confirmed = None if finding.confirmed is None else round(finding.confirmed, 4)
            facts |= {"score": round(finding.score, 4), "confirmed": confirmed}
        self._events(event, message, **facts, wake_sample=finding.wake_sample, source=self._source)


def paced(blocks: Iterable[Samples], stop: threading.Event) -> Iterator[Samples]:
    """Give out the blocks frame by frame, each at the time a microphone would have delivered it."""
    began = time.monotonic()
    position = 0
    for block in blocks:
        for start in range(0, len(block), FRAME_SAMPLES):
            frame = block[start : start + FRAME_SAMPLES]
            position += len(frame)
            if stop.wait(max(began + position / RATE_HZ - time.monotonic(), 0)):
                return
            yield frame
