"""Holds what came of a recording against its sidecar; pure: everything wrong is a line for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from device.hearing.frames import RATE_HZ
from device.hil.alignment import Signal, clipped_samples, dips, jumps, level_dbfs, loud, resampled
from device.hil.recordings import name_of

if TYPE_CHECKING:
    from device.hil.daemon import Arrival
    from device.hil.recordings import RequestTruth, Sidecar
    from device.hil.rig import Playback
    from device.message.tag import Tag

CUT_S = 0.03  # so much of a request's start or end may be missing: less than a sound of speech
WAKE_LEFT_S = 0.2  # so much of the wake word may stay in
END_LATE_S = 0.5  # the end may come so much after the speech's
WAKE_S = 0.6  # a wake word's length, where the sidecar does not give its start
LATE_S = 1.5  # after the wake word's end a detection still counts for it
DRIFT_PPM = 1_000.0
SHIFT_S = 0.002  # between both chirps: more than clocks that agree can shift
LOWEST_DBFS = -55.0
LEAST_SNR_DB = 12.0
MOST_CLIPPED = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """What the daemon was set to, and the room's own level.

    Attributes:
        silence_s: [capture] silence_s.
        delay_s: from end of speech to the broker, how long beyond that.
        opted_out: what the review choice is.
        floor_dbfs: the room's level while nothing is played; None: unknown.
    """

    silence_s: float
    delay_s: float = 0.3
    opted_out: bool = True
    floor_dbfs: float | None = None


@dataclass(slots=True)
class Verdict:
    """What is wrong, and what was measured.

    Attributes:
        faults: a line each; none: the recording passes.
        facts: measured values by name, with their unit.
        kept: of each request that came, where it lies in the recording: first and one after the last sample.
        wakes: where in the recording wake words were detected.
    """

    faults: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    kept: list[tuple[float, float]] = field(default_factory=list)
    wakes: list[float] = field(default_factory=list)


def judge(truth: Sidecar, played: Signal, take: Playback, limits: Limits) -> Verdict:
    """Judge what came of a recording.

    Args:
        truth: its sidecar.
        played: it, as loud as it was played, floats, 16 kHz.
        take: what came of it.
        limits: what it is held against.
    """
    verdict = Verdict()
    if take.span is None:
        verdict.faults.append("its chirps were not heard: the loudspeaker is off, or something louder sounded")
        return verdict
    _judge_sound(played, take, limits, verdict)
    _judge_requests(truth, take, limits, verdict)
    verdict.faults += [f"the daemon warns: {complaint}" for complaint in take.complaints]
    return verdict


def _judge_sound(played: Signal, take: Playback, limits: Limits, verdict: Verdict) -> None:
    """Judge how the sound came through, whatever was made of it."""
    assert take.span is not None  # noqa: S101
    heard = take.heard[: round(len(played) * take.span.stretch)]
    faults, facts = verdict.faults, verdict.facts
    loudest = level_dbfs(loud(heard))
    facts["level"] = f"{loudest:.1f} dBFS"
    if level_dbfs(loud(played)) > LOWEST_DBFS:  # a recording of nothing but a quiet room has no level to judge
        if loudest < LOWEST_DBFS:
            faults.append(f"it arrives too faintly: {loudest:.0f} dBFS, {LOWEST_DBFS:.0f} is the least")
        elif limits.floor_dbfs is not None and loudest - limits.floor_dbfs < LEAST_SNR_DB:
            faults.append(
                f"it drowns: {loudest:.0f} dBFS above a room of {limits.floor_dbfs:.0f}; {LEAST_SNR_DB:g} dB are needed"
            )
    clipped = clipped_samples(heard)
    facts["clipped"] = f"{clipped} samples"
    if clipped > MOST_CLIPPED:
        faults.append(
            f"the microphone clips: {clipped} samples at full scale; play it more softly, or turn its gain down"
        )
    facts["delay"] = f"{take.delay_s * 1000:+.0f} ms"
    if take.underflows:  # what is missing then tells nothing of loudspeaker and microphone
        facts["drop-outs"] = str(take.underflows)
        faults.append(
            f"drop-out: this machine was too slow to play, {take.underflows} times; let nothing else run on it"
        )
        return
    drift = take.span.drift_ppm
    facts["drift"] = f"{round(drift):+d} ppm"
    shift_s = abs(take.span.stretch - 1) * len(played) / RATE_HZ
    if abs(drift) > DRIFT_PPM and shift_s > SHIFT_S:
        faults.append(
            f"the clocks of loudspeaker and microphone drift apart by {drift:+.0f} ppm; {DRIFT_PPM:g} is the most"
        )
    facts["drop-outs"] = str(_judge_dropouts(resampled(played, take.span.stretch, len(heard)), heard, take, faults))


def _judge_dropouts(played: Signal, heard: Signal, take: Playback, faults: list[str]) -> int:
    lost = [
        f"{missing_s:.3f} s of sound missing at {at_s:.2f} s, says the microphone" for at_s, missing_s in take.holes
    ]
    for at_s, change_s in jumps(played, heard):
        what = "missing" if change_s < 0 else "doubled or put in"
        lost.append(f"{abs(change_s) * 1000:.1f} ms of sound {what} near {at_s:.1f} s")
    lost += [f"sound breaks off at {at_s:.2f} s" for at_s in dips(played, heard)]
    faults += [f"drop-out: {one}" for one in lost]
    return len(lost)


def _judge_requests(truth: Sidecar, take: Playback, limits: Limits, verdict: Verdict) -> None:
    span = take.span
    assert span is not None  # noqa: S101
    verdict.wakes = [span.back(event["wake_sample"]) for event in take.wakes]
    verdict.faults += [f"a message was refused: {one.problem}" for one in take.arrivals if one.request is None]
    came = [one for one in take.arrivals if one.request is not None]
    stored = [event for event in take.outcomes if event["event"] == "stored"]
    for event in stored:
        if event["id"] not in {one.request.tag.id for one in came if one.request}:
            verdict.faults.append(f"a request was stored and did not arrive: {event['id']}")
    for number, request in enumerate(truth.requests, 1):
        name = f"request {number}" + (f' "{request.text}"' if request.text else "")
        word = name_of(request.wake_word or truth.wake_word)
        first = (
            request.wake_end_sample - WAKE_S * RATE_HZ
            if request.wake_start_sample is None
            else request.wake_start_sample
        )
        last = max(request.wake_end_sample + LATE_S * RATE_HZ, request.end_sample)
        mine = [one for one in came if one.request and first <= span.back(one.request.tag.wake_sample) <= last]
        if not mine:
            heard = any(first <= sample <= last for sample in verdict.wakes)
            why = "the wake word was heard, but nothing after it" if heard else f"the wake word {word} was not heard"
            verdict.faults.append(f"{name} did not come: {why}")
            continue
        came.remove(mine[0])
        _judge_request(request, word, name, mine[0], take, limits, verdict)
    for one in came:
        assert one.request is not None  # noqa: S101
        start, end = (span.back(at) / RATE_HZ for at in (one.request.tag.start_sample, one.request.tag.end_sample))
        verdict.kept.append((start * RATE_HZ, end * RATE_HZ))
        verdict.faults.append(
            f"a request came that nobody made: {one.request.tag.wake_word}, {start:.2f} to {end:.2f} s"
        )


def _judge_request(
    truth: RequestTruth, word: str, name: str, arrival: Arrival, take: Playback, limits: Limits, verdict: Verdict
) -> None:
    assert arrival.request is not None  # noqa: S101
    assert take.span is not None  # noqa: S101
    tag = arrival.request.tag
    start, end = (take.span.back(at) for at in (tag.start_sample, tag.end_sample))
    verdict.kept.append((start, end))
    before_s, after_s = (truth.start_sample - start) / RATE_HZ, (end - truth.end_sample) / RATE_HZ
    left_s = (truth.wake_end_sample - start) / RATE_HZ
    took_s = arrival.at_s - take.time_of(truth.end_sample)
    number = f" {len(verdict.kept)}" if len(verdict.kept) > 1 else ""
    verdict.facts[f"kept before{number}"] = f"{before_s:+.2f} s"
    verdict.facts[f"kept after{number}"] = f"{after_s:+.2f} s"
    verdict.facts[f"to the broker{number}"] = f"{took_s:.2f} s"
    allowed_s = limits.silence_s + limits.delay_s
    for wrong, text in (
        (tag.wake_word != word, f"its tag says {tag.wake_word}, said was {word}"),
        (before_s < -CUT_S, f"its first {-before_s:.2f} s are cut off"),
        (after_s < -CUT_S, f"its last {-after_s:.2f} s are cut off"),
        (left_s > WAKE_LEFT_S, f"{left_s:.2f} s of the wake word were left in; {WAKE_LEFT_S:g} are the most"),
        (after_s > END_LATE_S, f"it ends {after_s:.2f} s late; {END_LATE_S:g} are the most"),
        (tag.ended_by != "silence", f"{tag.ended_by} ended it, not silence"),
        (
            took_s > allowed_s,
            f"it took {took_s:.2f} s from the end of speech to the broker; {allowed_s:g} are the most",
        ),
        (
            tag.review.opt_out != limits.opted_out,
            f"its tag says opt_out = {tag.review.opt_out}, and that was not chosen",
        ),
    ):
        if wrong:
            verdict.faults.append(f"{name}: {text}")
    _judge_samples(tag, arrival.request.pcm, take, name, verdict)


def _judge_samples(tag: Tag, pcm: bytes, take: Playback, name: str, verdict: Verdict) -> None:
    """What arrived must be, sample for sample, what the microphone heard between the cut points."""
    first = tag.start_sample - take.start
    heard = np.rint(take.heard[max(first, 0) : tag.end_sample - take.start] * 32768).astype(np.int16)
    sent = np.frombuffer(pcm, "<i2")[max(-first, 0) :][: len(heard)]
    if not isinstance(tag.holes, tuple) and not np.array_equal(sent, heard[: len(sent)]):
        verdict.faults.append(f"{name}: what arrived is not what the microphone heard")
