"""What the commands that listen to the microphone share: it stays closed while it is muted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from device.cli.common import open_store, refuse_muted

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from device.config.settings import Settings
    from device.hearing.frames import Samples


class Listening(Protocol):
    """Takes what a microphone brings beside its samples.

    Attributes:
        remark: what is wrong with the input; empty if nothing is.
    """

    remark: str

    def hole(self, samples: int) -> None:
        """So many samples are missing here."""

    def gap(self) -> None:
        """Another stream follows."""


def listen(settings: Settings, who: Listening, stop: threading.Event) -> Iterator[Samples]:
    """Yield what the microphone hears until the stop; a muted one stays closed, and one muted meanwhile is closed.

    Raises:
        MicrophoneUnavailableError: it is muted, not there or lost.
    """
    from device.edges.microphone import Block, Gap, Hole, Microphone

    wanted = settings.microphone
    with open_store(settings) as store:
        refuse_muted(store)
        with Microphone(wanted.name, wanted.channel, once=True) as microphone:
            while not stop.is_set():
                refuse_muted(store)
                who.remark = microphone.state.reason if microphone.state.is_open else ""
                match microphone.read(0.5):
                    case Block(samples):
                        yield samples
                    case Hole(samples):
                        who.hole(samples)
                    case Gap():
                        who.gap()
