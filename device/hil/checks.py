"""Checks a bench before any recording: is the room quiet, is the loudspeaker heard, at which volumes does it work?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from device.hil import search
from device.hil.alignment import QUIETEST_DBFS, floor_dbfs, level_dbfs, loud
from device.hil.judge import Limits, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from device.config.settings import Settings
    from device.hil.recordings import Recording
    from device.hil.rig import Playback, Rig

LISTEN_S = 3.0
LOUDEST_ROOM_DBFS = -35.0  # speech reaches a microphone at -40 to -15
VOLUMES_DB = (-24.0, -18.0, -12.0, -6.0, 0.0, 6.0, 12.0)
TALKER_DBFS = -26.0  # of the loudest parts of speech, in the middle of what `check` calls right
ANY_DELAY_S = 60.0  # how soon a request arrives says nothing of a volume
LONGER_S = 0.7  # beyond what the daemon waits for before it makes up its mind


@dataclass(slots=True)
class BenchState:
    """What is known of a bench so far.

    Attributes:
        volume_db: how much louder than recorded to play; None: a sweep finds it.
        floor_dbfs: the room's level; None: not yet measured.
        broken: why it does not work, so that nothing more is played; empty: it works.
    """

    volume_db: float | None = None
    floor_dbfs: float | None = None
    broken: str = ""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What came of a check.

    Attributes:
        fault: what is wrong and what to do; empty: nothing.
        facts: what was measured, by name.
        lines: the same for people, and more of it.
    """

    fault: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    lines: tuple[str, ...] = ()


def tail_s(recording: Recording, settings: Settings) -> float:
    """Return how long to be silent after a recording, so that its own end decides and not what is played next."""
    capture, truth = settings.capture, recording.truth
    needed = [(request.end_sample / 16_000) + 1.5 * capture.silence_s for request in truth.requests]
    needed += [bare.end_sample / 16_000 + capture.no_speech_s for bare in truth.bare_wakes]
    return max([1.5 * capture.silence_s, *(at - len(recording.samples) / 16_000 for at in needed)]) + LONGER_S


def play(rig: Rig, recording: Recording, state: BenchState, delay_s: float) -> tuple[Playback, Verdict]:
    """Play a recording at the bench's volume and judge what comes of it."""
    volume_db = state.volume_db or 0.0
    sound = recording.samples / 32768 * 10 ** (volume_db / 20)
    take = rig.play(sound, tail_s(recording, rig.settings))
    limits = Limits(
        silence_s=rig.settings.capture.silence_s,
        delay_s=delay_s,
        opted_out=rig.settings.review.default == "opted-out",
        floor_dbfs=state.floor_dbfs,
    )
    verdict = judge(recording.truth, sound, take, limits)
    verdict.facts = {"volume": f"{volume_db:+.0f} dB", **verdict.facts}
    return take, verdict


def silence(rig: Rig, state: BenchState, recordings: Sequence[Recording], delay_s: float) -> CheckResult:  # noqa: ARG001
    """Listen while nothing is played: a room must be quiet, a microphone must not be dead, and nothing may come."""
    heard = rig.listen(LISTEN_S)
    state.floor_dbfs = floor = floor_dbfs(heard)
    facts = {"room": f"{floor:.0f} dBFS"}
    name = rig.settings.microphone.name or "default"
    if not np.any(heard) or floor <= QUIETEST_DBFS:
        fault = f'the microphone "{name}" gives only digital silence: it is muted, or no microphone'
        return CheckResult(fault, facts)
    if floor > LOUDEST_ROOM_DBFS:
        fault = (
            f"the room is too loud: {floor:.0f} dBFS while nothing is played, {LOUDEST_ROOM_DBFS:.0f} is the most; "
            "make it quiet, or turn the microphone's gain down"
        )
        return CheckResult(fault, facts)
    if rig.inbox.arrivals:
        return CheckResult("a request came though nothing was played: somebody speaks in the room", facts)
    return CheckResult("", facts, (f"the room is at {floor:.0f} dBFS",))


def loudspeaker(rig: Rig, state: BenchState, recordings: Sequence[Recording], delay_s: float) -> CheckResult:  # noqa: ARG001
    """Play chirps: the microphone must hear them; else say who is to blame."""
    take = rig.play(np.zeros(8_000), 0.5)
    if take.span is None:
        return CheckResult(search.why_unheard(rig))
    facts = {"delay": f"{take.delay_s * 1000:+.0f} ms"}
    return CheckResult("", facts, (f'"{rig.speaker.device}" is heard {take.delay_s * 1000:+.0f} ms after it plays',))


def volume(rig: Rig, state: BenchState, recordings: Sequence[Recording], delay_s: float) -> CheckResult:  # noqa: ARG001
    """Play one request softly to loudly; of the volumes that work take the one that sounds like a talker."""
    if state.volume_db is not None:
        return CheckResult("", {"volume": f"{state.volume_db:+.0f} dB"}, ("as --hil-volume says",))
    asked = [one for one in recordings if one.truth.requests]
    if not asked:
        state.volume_db = 0.0
        return CheckResult(
            "", {"volume": "+0 dB"}, ("as recorded: none of the recordings holds a request to try it with",)
        )
    shortest = min(asked, key=lambda one: len(one.samples))
    works: dict[float, float] = {}  # the level at the microphone, by volume
    lines = [f"with {shortest.name}:"]
    for volume_db in VOLUMES_DB:
        trial = BenchState(volume_db, state.floor_dbfs)
        take, verdict = play(rig, shortest, trial, ANY_DELAY_S)
        what = "; ".join(verdict.faults) or "works"
        lines.append(f"{volume_db:+4.0f} dB: {verdict.facts.get('level', 'not heard')}: {what}")
        if not verdict.faults:
            works[volume_db] = level_dbfs(loud(take.heard[: len(shortest.samples)]))
        elif works:
            break  # louder is worse from here on
    if not works:
        return CheckResult("no volume works: " + "\n".join(lines))
    state.volume_db = min(works, key=lambda volume_db: abs(works[volume_db] - TALKER_DBFS))
    lines.append(f"works from {min(works):+.0f} to {max(works):+.0f} dB; played is at {state.volume_db:+.0f} dB")
    return CheckResult("", {"volume": f"{state.volume_db:+.0f} dB"}, tuple(lines))


CHECKS: Mapping[str, Callable[[Rig, BenchState, Sequence[Recording], float], CheckResult]] = {
    "silence": silence,
    "loudspeaker": loudspeaker,
    "volume": volume,
}
