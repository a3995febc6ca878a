"""Says answers aloud, one after the other, while the recorder on this device keeps out of requests what it says."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import wait
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from device.answering.answer import Answer, words_in
from device.edges import control
from device.errors import RecorderError
from device.tools.saying import Saying

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path
    from typing import Any

    from device.edges.microphone.loudspeaker import Sound
    from device.tools.asking import Asking

MOST_WAITING = 2  # answers; nobody wants to hear older ones
_LOOK_S = 0.2
_LATE_S = 5.0  # so much longer than its sound an answer may be under way, in an output's buffers


class Speaking:
    """Takes answers from one thread and says them in another, by ``run``.

    Args:
        asking: where the backend is asked.
        voice: gives a sound file in which a text is said.
        decode: makes a sound of it.
        speaker: the output.
        words: the recorder's wake words, by their models' names.
        state_dir: the recorder's, if one runs on this machine.
    """

    def __init__(
        self, asking: Asking, voice: Callable[[str], Coroutine[Any, Any, bytes]], decode: Callable[[bytes], Sound], *,
        speaker: str, words: Sequence[str], state_dir: Path,
    ) -> None:  # fmt: skip
        self._asking = asking
        self._voice = voice
        self._decode = decode
        self._speaker = speaker
        self._words = words
        self._state_dir = state_dir
        self._say = Saying()
        self._alone = False
        self._changed = threading.Condition()  # guards what follows
        self._waiting: deque[Answer] = deque(maxlen=MOST_WAITING)
        self._ended = False

    def take(self, answer: bytes) -> None:
        """Have an answer said, as it is published; returns at once."""
        with self._changed:
            self._waiting.append(msgspec.json.decode(answer, type=Answer))
            self._changed.notify_all()

    def end(self) -> None:
        """Have ``run`` return soon, in the middle of a word if need be."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def run(self) -> None:
        """Say answers until the end."""
        while answer := self._next():
            try:
                if answer.speech:
                    self._speak(answer)
            except RecorderError as error:
                self._say.problem("speaker", "not-spoken", f"[answer] speaker = {self._speaker!r}: {error}")

    def _next(self) -> Answer | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            return None if self._ended else self._waiting.popleft()

    def _speak(self, answer: Answer) -> None:
        asked = self._asking.begin(self._voice(answer.speech))
        while not wait([asked], _LOOK_S).done:
            if self._ended:
                asked.cancel()
                return
        sound = self._decode(asked.result())
        with ExitStack() as stack:
            interrupted = self._masked(stack, answer.speech, sound.seconds)
            whole = sound.play(self._speaker, lambda: self._ended or interrupted())
        self._say.over("speaker")
        if whole:
            self._say("spoken", f"said the answer to {answer.id}", id=answer.id)
        else:
            with self._changed:
                self._waiting.clear()
            self._say("interrupted", f"stopped saying the answer to {answer.id}", id=answer.id)

    def _masked(self, stack: ExitStack, speech: str, seconds: float) -> Callable[[], bool]:
        """Tell the recorder on this machine, if there is one; return what says whether somebody interrupts."""
        own = words_in(speech, self._words)
        try:
            return stack.enter_context(control.playing(self._state_dir, seconds + _LATE_S, own))
        except RecorderError as error:
            if not self._alone:  # which it may well be meant to be
                self._say("not-masked", f"no recorder is told of what is played: {error}")
            self._alone = True
            return lambda: False
