"""What tells the wake word and the request apart, as the capture needs it; the networks' edge makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from device.hearing.frames import Samples
    from device.hearing.segment_network import Array


class Segmenter(Protocol):
    """Follows what is heard about one detection, and says what each 20 ms of it are part of.

    Attributes:
        knows_word: whether the wake word is one that it was taught.
        start_sample: stream position where its first frame begins.
        chances: float32, shape (frames, KINDS), see `segment_network`; the newest frames' may still change, as more is
            heard after them.
    """

    knows_word: bool
    start_sample: int

    @property
    def chances(self) -> Array: ...  # noqa: D102 - said above

    def push(self, samples: Samples) -> None:
        """Hear the next samples, int16, shape (n * VAD_SAMPLES,)."""
