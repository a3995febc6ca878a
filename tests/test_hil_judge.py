"""What came of a recording is held against its sidecar: what is right has no fault, each thing wrong its own line."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from support.tags import tag_of

from device.hearing.frames import RATE_HZ
from device.hil.alignment import Alignment
from device.hil.daemon import Arrival
from device.hil.judge import Limits, judge
from device.hil.recordings import load_recording
from device.hil.rig import Playback
from device.message.receive import Received
from device.message.review import Review

FIXTURES = Path(__file__).parent / "fixtures"
RECORDING = load_recording(FIXTURES / "hey-jarvis-request.wav", FIXTURES / "hey-jarvis-request.json")
(TRUTH,) = RECORDING.truth.requests
SOUND = RECORDING.samples / 32768
START = 50_000  # the stream position at which it was heard
SAID_S = 1_000.0 + TRUTH.end_sample / RATE_HZ
LIMITS = Limits(silence_s=0.8, floor_dbfs=-80.0)


class PlayedAt(NamedTuple):
    """A loudspeaker that played it at 1000 s."""

    def time_of(self, sample):
        return 1_000.0 + sample / RATE_HZ


def arrival_of(first=TRUTH.start_sample - 2_400, last=TRUTH.end_sample + 2_400, *, took_s=0.9, pcm=None, **tag):
    pcm = RECORDING.samples[first:last].astype("<i2").tobytes() if pcm is None else pcm
    places = {"start_sample": START + first, "end_sample": START + last}
    made = tag_of(pcm, **places | {"wake_sample": START + TRUTH.wake_end_sample + 3_000} | tag)
    return Arrival(SAID_S + took_s, "wakeword/hil/request/opted-out", Received(made, pcm), "", b"")


def take_of(*arrivals, heard=SOUND, span=Alignment(START, 1.0), **changes):  # noqa: B008 - it is frozen
    plain = {
        "span": span,
        "heard": np.concatenate([heard, np.zeros(RATE_HZ)]),
        "start": START,
        "arrivals": arrivals,
        "wakes": tuple({"wake_sample": one.request.tag.wake_sample} for one in arrivals),
        "outcomes": tuple({"event": "stored", "id": one.request.tag.id} for one in arrivals),
        "complaints": (),
        "holes": (),
        "underflows": 0,
        "delay_s": 0.0,
        "_played": PlayedAt(),
        "_offset": 0,
        "_began_s": 1_000.0 - START / RATE_HZ,
    }
    return Playback(**plain | changes)


def faults_of(take, truth=RECORDING.truth, limits=LIMITS):
    return judge(truth, SOUND, take, limits).faults


def test_what_is_as_it_should_be_has_no_fault_and_is_measured():
    verdict = judge(RECORDING.truth, SOUND, take_of(arrival_of()), LIMITS)
    assert verdict.faults == []
    assert (verdict.facts["kept before"], verdict.facts["kept after"]) == ("+0.15 s", "+0.15 s")
    assert verdict.facts["to the broker"] == "0.90 s"


@pytest.mark.parametrize(
    ("arrival", "fault"),
    [
        (arrival_of(first=TRUTH.start_sample + 800), "its first 0.05 s are cut off"),
        (arrival_of(last=TRUTH.end_sample - 800), "its last 0.05 s are cut off"),
        (arrival_of(first=TRUTH.wake_end_sample - 4_800), "0.30 s of the wake word were left in"),
        (arrival_of(last=TRUTH.end_sample + 9_600), "it ends 0.60 s late"),
        (arrival_of(ended_by="max"), "max ended it, not silence"),
        (arrival_of(took_s=1.2), "it took 1.20 s from the end of speech to the broker; 1.1 are the most"),
        (arrival_of(wake_word="alexa"), "its tag says alexa, said was hey_jarvis"),
        (
            arrival_of(review=Review(opt_out=False, choice="user", revision=1, changed_at=None)),
            "its tag says opt_out = False",
        ),
        (arrival_of(pcm=bytes(2 * 19_807)), "what arrived is not what the microphone heard"),
    ],
)
def test_each_thing_wrong_with_a_request_is_a_line_of_its_own(arrival, fault):
    faults = faults_of(take_of(arrival))
    assert len(faults) == 1, faults
    assert faults[0].startswith('request 1 "turn on the lights": ')
    assert fault in faults[0]


def test_just_inside_every_bound_nothing_is_wrong():
    first, last = TRUTH.start_sample + 470, TRUTH.end_sample + 7_900
    assert faults_of(take_of(arrival_of(first, last, took_s=1.09))) == []


def test_a_request_that_did_not_come_says_whether_its_wake_word_was_heard():
    heard = ({"wake_sample": START + TRUTH.wake_end_sample},)
    assert faults_of(take_of()) == [
        'request 1 "turn on the lights" did not come: the wake word hey_jarvis was not heard'
    ]
    assert "heard, but nothing after it" in faults_of(take_of(wakes=heard))[0]


def test_what_comes_of_a_recording_without_requests_is_a_fault():
    bare = msgspec.structs.replace(RECORDING.truth, requests=())
    (fault,) = faults_of(take_of(arrival_of()), bare)
    assert fault.startswith("a request came that nobody made: hey_jarvis, ")
    assert faults_of(take_of(), bare) == []


def test_a_second_arrival_of_one_request_is_a_fault():
    assert (
        "a request came that nobody made"
        in faults_of(take_of(arrival_of(), arrival_of(id="0193a5c4-2222-7abc-8def-0123456789ab")))[0]
    )


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"heard": SOUND * 0.01}, "it arrives too faintly: "),
        ({"heard": np.clip(SOUND * 20, -1, 1)}, "the microphone clips: "),
        ({"span": Alignment(START, 1.002)}, "drift apart by +2000 ppm"),
        ({"holes": ((1.0, 0.25),)}, "drop-out: 0.250 s of sound missing at 1.00 s, says the microphone"),
        ({"complaints": ("the disk is full",)}, "the daemon warns: the disk is full"),
        ({"span": None}, "its chirps were not heard"),
    ],
)
def test_each_thing_wrong_with_the_sound_is_said(changes, fault):
    assert any(fault in one for one in faults_of(take_of(arrival_of(), **changes)))


def test_a_machine_too_slow_to_play_is_the_one_thing_said_of_drop_outs_and_drift():
    bare = msgspec.structs.replace(RECORDING.truth, requests=())
    broken = np.where(np.arange(len(SOUND)) // 800 % 4, SOUND, 0.0)
    assert len(faults_of(take_of(heard=broken, span=Alignment(START, 1.002)), bare)) > 2
    (fault,) = faults_of(take_of(heard=broken, span=Alignment(START, 1.002), underflows=2), bare)
    assert fault == "drop-out: this machine was too slow to play, 2 times; let nothing else run on it"


def test_a_recording_that_drowns_in_the_rooms_noise_is_said():
    loud = Limits(silence_s=0.8, floor_dbfs=-36.0)
    assert any("it drowns: " in fault for fault in faults_of(take_of(arrival_of()), limits=loud))


def test_a_stored_request_that_did_not_arrive_is_said():
    stored = ({"event": "stored", "id": "x"},)
    assert "a request was stored and did not arrive: x" in faults_of(take_of(outcomes=stored))


def test_the_earlier_of_both_clocks_counts_for_the_end_of_speech():
    late = take_of(arrival_of(), _began_s=1_000.0 - START / RATE_HZ - 0.5)
    assert late.time_of(0) == pytest.approx(999.5)
