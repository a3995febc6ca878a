"""Has the pipeline know when this device plays something, at the place in the stream where it is heard."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from device.hearing.frames import samples_of
from device.hearing.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from device.daemon.listener import Ask

TAIL_S = 0.3  # so long the room, and the microphone's buffers, still hold what was played


class Masking:
    """Used by any thread.

    Attributes:
        mark: has something done at the place that the stream has come to; false where nobody is heard now.
    """

    def __init__(self) -> None:
        self.mark: Callable[[Ask], bool] = lambda _: False
        self._lock = threading.Lock()
        self._missed: dict[Hashable, Ask] = {}  # guarded by it; for when somebody is heard again

    def begin(self, player: Hashable, seconds: float, own: frozenset[str]) -> None:
        """Something is played from now on, no longer than so, with these wake words in it."""
        self._do(player, partial(Pipeline.mask, key=player, samples=samples_of(seconds), own=own))

    def end(self, player: Hashable) -> None:
        """It is played no longer."""
        with self._lock:
            if self._missed.pop(player, None):
                return
        self._do(player, partial(Pipeline.unmask, key=player, tail_samples=samples_of(TAIL_S)))

    def sound(self, seconds: float) -> None:
        """Something is played for so long."""
        self.mark(partial(Pipeline.mask, key=object(), samples=samples_of(seconds)))

    def due(self) -> list[Ask]:
        """Return what is to be done before anything more is heard."""
        with self._lock:
            missed, self._missed = self._missed, {}
        return list(missed.values())

    def _do(self, player: Hashable, action: Ask) -> None:
        with self._lock:
            if not self.mark(action):
                self._missed[player] = action
