"""What a person reads where the review choice is made: it is stored with the choice; another text is a new version."""

from __future__ import annotations

from dataclasses import dataclass

VERSION = 1  # of the three sentences below: whoever changes one raises it
STILL_RECORDING = "This marks recordings; it does not stop recording: for that, wakeword-recorder microphone mute."
_OPT_IN = "People may listen to what this device records from now on, and it may train models."
_OPT_OUT = "Nobody may listen to what this device records, and nothing may be trained on it."


@dataclass(frozen=True, slots=True)
class Wording:
    """A sentence as somebody read it, and the version it is of."""

    version: int
    sentence: str


def wording(*, opt_out: bool) -> Wording:
    """Return what stands under the switch in this position."""
    return Wording(VERSION, f"{_OPT_OUT if opt_out else _OPT_IN} {STILL_RECORDING}")
