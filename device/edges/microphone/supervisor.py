"""Keeps one microphone listening: looks for it, opens it, notices its loss, closes it for a mute.

After a USB unplug PortAudio either ends the stream or falls silent while the stream stays active and its thread burns a
core (both measured), so what counts is the time of the last frame.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, Self

from device.core.frames import RATE_HZ
from device.edges.microphone import portaudio
from device.edges.microphone.blocks import Block, BlockQueue, Converter, Gap, Hole, Missing, RawBlock, StreamFormat
from device.edges.microphone.inputs import choose
from device.errors import MicrophoneUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMES_LIMIT_S = 2.0  # no frame for this long: lost, whatever PortAudio says
SILENT_S = 0.5  # no frame for this long: PortAudio's thread sits in poll, not in the callback
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
    """

    name: Literal["listening", "muted", "lost"]
    since: datetime
    reason: str = ""


class Microphone:
    """A microphone that is listened to until it is muted or closed, and looked for whenever it is not there.

    ``start`` begins; as a context manager it starts and closes. Everything may be called from any thread; ``read`` from
    one at a time.
    """

    def __init__(
        self,
        name: str,
        channel: int,
        *,
        muted: bool = False,
        on_state: Callable[[MicrophoneState], None] | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            name: a part of the device's name before ``(hw:``, in any case; empty: the system's default.
            channel: which of its channels, from 1.
            muted: begin muted: the device stays closed until ``unmute``.
            on_state: told of each change of state, on the owner's thread; what it raises comes out of ``read``.
        """
        self._name = name
        self._channel = channel
        self._on_state = on_state
        # Makes every call into PortAudio, from start() until _wanted is "closed", which close() sets and waits for.
        # A daemon, since a call that never returns must not keep the process from ending.
        self._owner = threading.Thread(target=self._own, name="microphone", daemon=True)
        # Guards what stands below; notified when _wanted, _state, _ended or _failure changes. Never held while
        # PortAudio or on_state is called.
        self._changed = threading.Condition()
        self._wanted: Literal["listening", "muted", "closed"] = "muted" if muted else "listening"
        self._state: MicrophoneState | None = None
        self._failure: BaseException | None = None
        self._ended = False
        self._hearing = False  # whether what the callback brings follows what it brought before
        self._called_s: float | None = None  # since when the owner is inside PortAudio
        self._format: StreamFormat | None = None
        self._warned = ""
        # Only the callback writes these two, and each in one instruction.
        self._last_frame_s = 0.0
        self._blocks = 0
        self._queue = BlockQueue()
        # read() only
        self._converter = Converter(channel)
        self._hole: Hole | None = None

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

    def read(self, timeout_s: float) -> Block | Hole | Gap | None:
        """Wait for what comes next, no longer than ``timeout_s``.

        Returns:
            A block of samples, a hole (the samples missing before the next block), a gap (another stream follows:
            forget what depends on the past), or None if nothing came in time.

        Raises:
            MicrophoneUnavailableError: PortAudio does not return; only the end of the process helps.
        """
        if self._hole is not None:
            hole, self._hole = self._hole, None
            return hole
        deadline_s = time.monotonic() + timeout_s
        while True:
            self._raise_what_ended_the_owner()
            match self._queue.get(deadline_s - time.monotonic()):
                case RawBlock() as block:
                    samples = self._converter.convert(block)
                    if len(samples):
                        return Block(samples)
                case Missing(seconds):
                    rest = self._converter.flush()  # what the resampler holds was heard before the hole
                    hole = Hole(round(seconds * RATE_HZ))
                    if not len(rest):
                        return hole
                    self._hole = hole
                    return Block(rest)
                case item:
                    if item is not None:
                        self._converter.flush()
                    return item

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
        """How many blocks of BLOCK_S the device delivered so far; a watchdog sees it grow."""
        return self._blocks

    @property
    def blocks_dropped(self) -> int:
        """How many of them were dropped because nobody read them in time."""
        return self._queue.dropped_blocks

    # On PortAudio's thread.

    def _take(self, pcm: bytes, missing_s: float, stream: StreamFormat) -> None:
        self._last_frame_s = time.monotonic()
        if not self._hearing:
            return
        if missing_s:
            self._queue.put(Missing(missing_s))
        self._queue.put(RawBlock(pcm, stream))
        self._blocks += 1
        if self._state is None or self._state.name != "listening":
            with self._changed:
                self._changed.notify_all()

    def _note_end(self) -> None:
        with self._changed:
            self._ended = True
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
                    self._ended, self._hearing = False, True
                choice = choose(portaudio.inputs(sd), self._name, self._channel)
                self._warn(choice.warning)
                stream, self._format = portaudio.open_stream(
                    sd, choice.device, self._channel, on_block=self._take, on_end=self._note_end
                )
                try:
                    self._called_s = None
                    self._watch()
                except MicrophoneUnavailableError as error:
                    self._become("lost", str(error))  # before closing, which a dead device may hold up
                    raise
                finally:
                    self._hearing = False
                    self._called_s = time.monotonic()
                    silent_s = time.monotonic() - self._last_frame_s
                    portaudio.close_stream(stream, is_silent=silent_s > SILENT_S)
        finally:
            self._called_s = None

    def _warn(self, warning: str) -> None:
        """Log what is odd about the device, once and not at every opening."""
        if warning and warning != self._warned:
            _log.warning("%s", warning)
        self._warned = warning

    def _watch(self) -> None:
        """Wait until the stream shall end; woken by changes, and every FRAMES_LIMIT_S to look at the last frame."""
        blocks_before = self._blocks
        self._last_frame_s = time.monotonic()
        while True:
            with self._changed:
                if self._wanted != "listening" or not self._hearing:
                    return
                if self._ended:
                    raise MicrophoneUnavailableError("the device's stream ended", hint="was it unplugged?")
                is_first = self._blocks != blocks_before and self.state.name != "listening"
                left_s = self._last_frame_s + FRAMES_LIMIT_S - time.monotonic()
                if left_s <= 0:
                    raise MicrophoneUnavailableError(
                        f"the device delivered nothing for {FRAMES_LIMIT_S:g} s", hint="was it unplugged?"
                    )
                if not is_first:
                    self._changed.wait(left_s)
            if is_first:
                self._become("listening")

    def _forget(self) -> None:
        self._queue.clear()
        self._queue.put(Gap("muted"))

    def _become(self, name: Literal["listening", "muted", "lost"], reason: str = "") -> None:
        before = self._state
        if before is not None and before.name == name:
            if before.reason != reason:
                _log.warning("the microphone is still lost: %s", reason)
                self._state = replace(before, reason=reason)
            return
        if name == "muted":
            self._forget()
        elif name == "lost":
            self._hearing = False
            self._queue.put(Gap("lost"))
        state = MicrophoneState(name, datetime.now(UTC), reason)
        with self._changed:
            self._state = state
            self._changed.notify_all()
        if self._on_state is not None:
            self._on_state(state)


def _stuck() -> MicrophoneUnavailableError:
    return MicrophoneUnavailableError(
        f"PortAudio has not returned for {CALL_LIMIT_S:g} s", hint="only the end of the process closes the device"
    )
