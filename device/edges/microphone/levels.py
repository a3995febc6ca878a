"""Several microphones heard at once, each only for its level: so that a person sees which one they speak into."""

from __future__ import annotations

import contextlib
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Self

import numpy as np

from device.edges.microphone import portaudio
from device.edges.microphone.inputs import InputDevice, choose, distinct_name
from device.edges.microphone.listing import find, inputs
from device.edges.microphone.stream import Stream
from device.errors import MicrophoneUnavailableError
from device.hearing.sound import Sound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from device.edges.microphone.blocks import StreamFormat

MOST_CHANNELS = 16  # of a card; ALSA's plug-ins may offer thousands
FIRST_BLOCK_S = 3.0  # how long a microphone may take until it gives anything


def candidates(found: Sequence[InputDevice]) -> list[InputDevice]:
    """Return the devices that can be meant for a microphone, those with a known port first.

    That is the sound cards, which a service reaches without anybody's sound server; where there is none, whatever else
    is no loudspeaker's monitor.
    """
    cards = [device for device in found if device.is_card]
    others = [device for device in found if not device.is_monitor]
    return sorted(cards or others, key=lambda device: (not device.port, device.index))


class Levels:
    """Listens to the microphones that are there when it is made, up to the end of its block.

    Args:
        name: the one to listen to, as ``[microphone] name`` has it; None: every candidate.

    Attributes:
        devices: the candidates.
        names: for each, what in ``[microphone] name`` means it.
        problems: for each, why it cannot be heard; empty if it can.

    Raises:
        MicrophoneUnavailableError: PortAudio is missing or does not start, or there is none of this name.
    """

    def __init__(self, name: str | None = None) -> None:
        with contextlib.ExitStack() as stack:
            sd = stack.enter_context(portaudio.initialised())
            found = inputs(sd)
            self.devices = candidates(found) if name is None else [choose(found, name, 1).device]
            self.names = [distinct_name(device, found) if name is None else name for device in self.devices]
            self.problems = [""] * len(self.devices)
            self._latest: list[list[float]] = [[] for _ in self.devices]
            self._changed = threading.Condition()
            for number, device in enumerate(self.devices):
                try:
                    stack.callback(self._open(sd, number, device).close)
                except MicrophoneUnavailableError as error:
                    self.problems[number] = error.message
            self._streams = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._streams.close()

    def of(self, number: int) -> list[float]:
        """Return the latest level of each channel of a device, in dBFS; empty before its first block."""
        with self._changed:
            return list(self._latest[number])

    def await_first(self, number: int) -> None:
        """Wait until a device has given something, or for as long as it may take."""
        deadline = time.monotonic() + FIRST_BLOCK_S
        with self._changed:
            self._changed.wait_for(lambda: self._latest[number], timeout=deadline - time.monotonic())

    def _open(self, sd: Any, number: int, device: InputDevice) -> Stream:
        choice, server = find(sd, self.names[number], 1)
        channel = device.max_channels if device.is_card and device.max_channels <= MOST_CHANNELS else 1
        return Stream(
            sd,
            choice.device,
            channel,
            server,
            name=self.names[number],
            on_block=partial(self._take, number),
            on_change=lambda: None,
        )

    def _take(self, number: int, pcm: bytes, missing_s: float, form: StreamFormat) -> None:  # noqa: ARG002
        sound = Sound()
        sound.add(np.frombuffer(pcm, np.int16).reshape(-1, form.channels))
        with self._changed:
            self._latest[number] = [sound.level_dbfs(channel) for channel in range(1, form.channels + 1)]
            self._changed.notify_all()
