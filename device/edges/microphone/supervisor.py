"""Keeps one microphone listening: looks for it, opens it, notices its loss, closes it for a mute.

After a USB unplug PortAudio either ends the stream or falls silent while the stream stays active and its thread burns a
core (both measured), so what counts is what `health.Judge` sees of the stream.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Self

from device.edges.microphone import portaudio
from device.edges.microphone.blocks import Block, BlockQueue, Converter, Gap, Mark, Missing, RawBlock, StreamFormat
from device.edges.microphone.listing import find
from device.edges.microphone.stream import Stream
from device.errors import MicrophoneUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.edges.microphone.blocks import Hole
    from device.hearing.frames import Samples

BACKOFF_S = (0.5, 3.0)  # the first and the longest pause between two tries to open; they double
CALL_LIMIT_S = 10.0  # a call into PortAudio that takes longer will not return: a dead device may hold it for ever

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MicrophoneState:
    """Whether anybody is heard.

    Attributes:
        name: ``listening`` from the first frame on, ``muted`` once closed on purpose, else ``lost``.
        since: the wall time at which it began, UTC.
        reason: why it is lost, in one line; else empty.
        is_open: it is lost though its stream is open: it gives frames, but no sound.
    """

    name: Literal["listening", "muted", "lost"]
    since: datetime
    reason: str = ""
    is_open: bool = False


class Microphone:
    """A microphone that is listened to until it is muted or closed, and looked for whenever it is not there.

    ``start`` begins; as a context manager it starts and closes. Everything may be called from any thread; ``read`` from
    one at a time.

    Attributes:
        warnings: what is odd about the device that was opened last, a line each.
        heard: the samples that ``read`` gave last; None before any of this stream.
    """

    def __init__(
        self,
        name: str,
        channel: int,
        *,
        muted: bool = False,
        once: bool = False,
        on_state: Callable[[MicrophoneState], None] | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            name: a part of the device's name before ``(hw:``, in any case; empty: the system's default.
            channel: which of its channels, from 1.
            muted: begin muted: the device stays closed until ``unmute``.
            once: for a command that tries it: where it is not there, or lost, ``read`` raises that.
            on_state: called with each change of state, also of the reason alone, on the owner's thread; what it raises
                comes out of ``read``.
        """
        self._name = name
        self._channel = channel
        self._once = once
        self._on_state = on_state
        # Makes every call into PortAudio, from start() until _wanted is "closed", which close() sets and waits for.
        # A daemon, since a call that never returns must not keep the process from ending.
        self._owner = threading.Thread(target=self._own, name="microphone", daemon=True)
        # Guards what stands below; notified when _wanted, _state or _failure changes, or the stream may be judged anew.
        # Never held while PortAudio or on_state is called.
        self._changed = threading.Condition()
        self._wanted: Literal["listening", "muted", "closed"] = "muted" if muted else "listening"
        self._state: MicrophoneState | None = None
        self._failure: BaseException | None = None
        self._to_judge = False  # the stream may be judged anew
        self._was_muted = False  # since the stream was opened, perhaps unmuted again
        self._hearing = False  # whether what the callback brings follows what it brought before
        self._called_s: float | None = None  # since when the owner is inside PortAudio
        self._format: StreamFormat | None = None
        self.warnings: list[str] = []
        self._blocks = 0  # only the callback writes it, in one instruction
        self._queue = BlockQueue()
        # read() only
        self._converter = Converter(channel)
        self._ready: deque[Block | Hole | Mark | Gap] = deque()
        self.heard: Samples | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Begin to look for the device.

        A device that is missing raises nothing: the state is ``lost``, and it is looked for until it comes.

        Raises:
            MicrophoneUnavailableError: PortAudio is not installed.
        """
        portaudio.load()
        self._owner.start()

    def close(self) -> None:
        """Close the device and end the owner; what was heard until then can still be read.

        Raises:
            MicrophoneUnavailableError: PortAudio does not return; only the end of the process closes the device.
        """
        with self._changed:
            self._wanted = "closed"
            self._changed.notify_all()
        if self._owner.ident is not None:
            self._owner.join(CALL_LIMIT_S)
            if self._owner.is_alive():
                raise _stuck()

    def mute(self) -> None:
        """Close the device and keep it closed until ``unmute``; returns once it is, with nothing left to read.

        Raises:
            MicrophoneUnavailableError: as for ``close``.
        """
        with self._changed:
            if self._wanted == "closed":
                return
            self._wanted = "muted"
            self._was_muted = True
            self._hearing = False
            self._changed.notify_all()
            if not self._owner.is_alive():
                return
            if not self._changed.wait_for(self._mute_is_settled, CALL_LIMIT_S):
                raise _stuck()

    def _mute_is_settled(self) -> bool:
        return self._wanted != "muted" or self.state.name == "muted" or self._failure is not None

    def unmute(self) -> None:
        """Look for the device again; returns at once."""
        with self._changed:
            if self._wanted == "muted":
                self._wanted = "listening"
                self._changed.notify_all()

    def mark(self, action: Callable[..., Any]) -> bool:
        """Have ``read`` return a mark between what was heard until now and what is heard from now on.

        Returns whether it will: not while it is muted or lost; where it is then, a gap follows.
        """
        with self._changed:
            if not self._hearing:
                return False
            self._queue.put(Mark(action))
            return True

    def read(self, timeout_s: float) -> Block | Hole | Mark | Gap | None:
        """Wait for what comes next, no longer than ``timeout_s``.

        Returns:
            A block of samples, a hole (the samples missing before the next block), a mark (see `mark`), a gap (another
            stream follows: forget what depends on the past), or None if nothing came in time.

        Raises:
            MicrophoneUnavailableError: PortAudio does not return; only the end of the process helps. Or the microphone
                is not there, where it is tried once.
        """
        deadline_s = time.monotonic() + timeout_s
        while not self._ready:
            self._raise_what_ended_the_owner()
            item = self._queue.get(deadline_s - time.monotonic())
            if item is None:
                return None
            self._ready += self._converter.convert(item)
        found = self._ready.popleft()
        if isinstance(found, Block | Gap):
            self.heard = found.samples if isinstance(found, Block) else None
        return found

    def _raise_what_ended_the_owner(self) -> None:
        if self._failure is not None:
            raise self._failure
        called_s = self._called_s
        if called_s is not None and time.monotonic() - called_s > CALL_LIMIT_S:
            raise _stuck()

    @property
    def state(self) -> MicrophoneState:
        """The state now; ``lost`` until the first attempt to open succeeded or failed."""
        return self._state or MicrophoneState("lost", datetime.now(UTC), "not opened yet")

    @property
    def source_name(self) -> str:
        """``mic:`` and the card's name, as a request's tag names it: PortAudio's label goes on with the stream's."""
        label = self._format.device if self._format else self._name or "default"
        return f"mic:{label.split(': ')[0]}"

    @property
    def stream_format(self) -> StreamFormat | None:
        """What was opened last; None before."""
        return self._format

    @property
    def blocks_delivered(self) -> int:
        """How many blocks the device delivered so far; a watchdog sees it grow."""
        return self._blocks

    # On PortAudio's thread, or the sound server's.

    def _take(self, pcm: bytes, missing_s: float, stream: StreamFormat) -> None:
        if not self._hearing:
            return
        if missing_s:
            self._queue.put(Missing(missing_s))
        self._queue.put(RawBlock(pcm, stream))
        self._blocks += 1
        if self._state is None or self._state.name != "listening":
            self._judge_again()

    def _judge_again(self) -> None:
        with self._changed:
            self._to_judge = True
            self._changed.notify_all()

    # On the owner's thread.

    def _own(self) -> None:
        try:
            self._supervise()
        except BaseException as error:  # noqa: BLE001 - read() raises it where the program ends by it
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _supervise(self) -> None:
        pause_s = BACKOFF_S[0]
        while (wanted := self._wanted) != "closed":
            if wanted == "muted":
                self._become("muted")
                self._wait_while("muted", None)
                continue
            blocks_before = self._blocks
            try:
                self._listen()
                if self._wanted != "closed":
                    self._forget()  # it was muted, and perhaps unmuted before this thread saw it
            except MicrophoneUnavailableError as error:
                self._become("lost", str(error))
                if self._once:
                    raise
                if self._blocks != blocks_before:
                    pause_s = BACKOFF_S[0]
                self._wait_while("listening", pause_s)
                pause_s = min(2 * pause_s, BACKOFF_S[1])

    def _wait_while(self, wanted: str, timeout_s: float | None) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._wanted != wanted, timeout_s)

    def _listen(self) -> None:
        """Hear one stream, from opening to closing.

        Raises:
            MicrophoneUnavailableError: it could not be opened, or was lost.
        """
        self._called_s = time.monotonic()
        try:
            with portaudio.initialised() as sd:
                with self._changed:
                    if self._wanted != "listening":
                        return
                    self._was_muted = False
                choice, server = find(sd, self._name, self._channel)
                stream = Stream(
                    sd,
                    choice.device,
                    self._channel,
                    server,
                    name=self._name,
                    on_block=self._take,
                    on_change=self._judge_again,
                )
                try:
                    self._format = stream.format
                    self._warn(choice.warning, stream.warning)
                    self._called_s = None
                    self._watch(stream)
                except MicrophoneUnavailableError as error:
                    self._become("lost", str(error))  # before closing, which a dead device may hold up
                    raise
                finally:
                    self._hearing = False
                    self._called_s = time.monotonic()
                    stream.close()
        finally:
            self._called_s = None

    def _warn(self, *warnings: str) -> None:
        """Log what is odd about the device, once and not at every opening."""
        for warning in warnings:
            if warning and warning not in self.warnings:
                _log.warning("%s", warning)
        self.warnings = [warning for warning in warnings if warning]

    def _watch(self, stream: Stream) -> None:
        """Say what becomes of the stream until it shall end; woken by what happens, and when it is to be judged again.

        Raises:
            MicrophoneUnavailableError: it is over.
        """
        while True:
            verdict = stream.judge()
            if verdict.name == "over":
                raise MicrophoneUnavailableError(verdict.reason, hint=verdict.hint)
            with self._changed:
                if self._wanted != "listening" or self._was_muted:
                    return
                self._hearing = True
            if verdict.name == "listening":
                self._become("listening")
            elif verdict.name == "silent":
                self._become("lost", f"{verdict.reason}; {verdict.hint}", is_open=True)
            with self._changed:
                if not self._to_judge and self._wanted == "listening":
                    self._changed.wait(max(verdict.again_s - time.monotonic(), 0.0))
                self._to_judge = False

    def _forget(self) -> None:
        self._queue.clear()
        self._queue.put(Gap("muted"))

    def _become(self, name: Literal["listening", "muted", "lost"], reason: str = "", *, is_open: bool = False) -> None:
        before = self._state
        if before is not None and (before.name, before.reason) == (name, reason):
            return
        state = MicrophoneState(name, datetime.now(UTC), reason, is_open)
        if before is not None and before.name == name:
            state = replace(state, since=before.since)
        if name == "muted":
            self._forget()
        elif name == "lost" and not is_open and (before is None or before.name != "lost" or before.is_open):
            with self._changed:  # so that no mark comes after the gap
                self._hearing = False
            self._queue.put(Gap("lost"))
        with self._changed:
            self._state = state
            self._changed.notify_all()
        if self._on_state is not None:
            self._on_state(state)


def _stuck() -> MicrophoneUnavailableError:
    return MicrophoneUnavailableError(
        f"PortAudio has not returned for {CALL_LIMIT_S:g} s", hint="only the end of the process closes the device"
    )
