"""Whether anybody is heard, judged by what is seen of a stream; no test here takes any time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from device.edges.microphone.health import (
    FRAMES_LIMIT_S,
    LONGEST_SILENCE_S,
    SILENCE_LIMIT_S,
    Judge,
    Seen,
)
from device.edges.microphone.soundserver import Route, Source

STEREO = ("front-left", "front-right")
HEADSET = Source("alsa_input.usb-headset", "A Headset", STEREO, is_monitor=False, muted=False)
WEBCAM = Source("alsa_input.usb-webcam", "A Webcam", ("mono",), is_monitor=False, muted=False)
MONITOR = Source("alsa_output.hdmi.monitor", "Monitor of HDMI", STEREO, is_monitor=True, muted=False)


def route(source, *, muted=False):
    return Route(source, STEREO, muted)


def seen(now_s, *, frame_s=None, sound_s=None, ended=False, source=None, muted=False):
    """By default frames and sound have come until now."""
    frame_s = now_s if frame_s is None else frame_s
    sound_s = now_s if sound_s is None else sound_s
    return Seen(now_s, frame_s, sound_s, ended, route(source, muted=muted) if source or muted else None)


def test_before_its_first_frame_a_stream_is_waited_for_and_then_it_listens():
    judge = Judge(100.0)
    waiting = judge.judge(Seen(100.5, None, 100.0))
    assert (waiting.name, waiting.again_s) == ("waiting", 100.0 + FRAMES_LIMIT_S)
    assert judge.judge(seen(100.6)).name == "listening"


@pytest.mark.parametrize("last_frame_s", [None, 100.7])
def test_no_frame_for_too_long_or_an_end_is_the_end(last_frame_s):
    began_s = 100.0 if last_frame_s is None else last_frame_s
    judge = Judge(100.0)
    assert judge.judge(Seen(began_s + FRAMES_LIMIT_S - 0.01, last_frame_s, 100.0)).name != "over"
    assert judge.judge(Seen(began_s + FRAMES_LIMIT_S, last_frame_s, 100.0)).name == "over"
    assert "ended" in Judge(100.0).judge(seen(100.1, ended=True)).reason


def test_digital_silence_that_lasts_is_told_and_ends_with_the_first_sound():
    judge = Judge(0.0)
    assert judge.judge(seen(SILENCE_LIMIT_S - 0.01, sound_s=0.0)).name == "listening"
    silent = judge.judge(seen(SILENCE_LIMIT_S, sound_s=0.0))
    assert (silent.name, silent.reason) == ("silent", "the device gives only digital silence")
    assert judge.judge(seen(SILENCE_LIMIT_S + 500, sound_s=0.0)).name == "silent"
    assert judge.judge(seen(SILENCE_LIMIT_S + 501)).name == "listening"


def test_it_is_judged_again_when_silence_would_be_too_long_and_soon_enough_for_the_frames():
    judge = Judge(0.0)
    assert judge.judge(seen(19.5, sound_s=0.0)).again_s == SILENCE_LIMIT_S
    assert judge.judge(seen(5.0, sound_s=0.0)).again_s == 5.0 + FRAMES_LIMIT_S
    assert judge.judge(seen(30.0, sound_s=0.0)).again_s == 30.0 + FRAMES_LIMIT_S


def test_a_headset_that_gates_its_noise_is_told_silent_less_and_less_often():
    judge, now_s, silences = Judge(0.0), 0.0, []
    for _ in range(8):
        began_s = now_s
        while judge.judge(seen(now_s, sound_s=began_s)).name == "listening":
            now_s += 1.0
        silences.append(now_s - began_s)
        now_s += 1.0
        assert judge.judge(seen(now_s)).name == "listening"
    assert silences == [20, 40, 80, 160, 320, 640, 640, 640]
    assert silences[-1] == LONGEST_SILENCE_S


def test_a_stream_moved_to_another_source_is_over_and_both_are_named():
    judge = Judge(0.0, route(HEADSET))
    assert judge.judge(seen(1.0, source=HEADSET)).name == "listening"
    for other in (WEBCAM, MONITOR):
        verdict = judge.judge(seen(1.1, source=other))
        assert verdict.name == "over"
        assert f'from "A Headset" to "{other.description}"' in verdict.reason


def test_a_source_that_is_being_changed_is_waited_for():
    judge = Judge(0.0, route(HEADSET))
    assert judge.judge(Seen(1.0, 1.0, 1.0, route=Route(None, STEREO, muted=False))).name == "listening"
    assert judge.judge(seen(1.1, source=HEADSET)).name == "listening"


def test_a_stream_that_is_connected_late_is_held_to_its_first_source():
    judge = Judge(0.0, Route(None, STEREO, muted=False))
    assert judge.judge(seen(0.2, source=HEADSET)).name == "listening"
    assert judge.judge(seen(0.3, source=WEBCAM)).name == "over"


def test_a_monitor_is_no_microphone_unless_it_was_named():
    assert "loudspeaker" in Judge(0.0, route(MONITOR)).judge(seen(0.1, source=MONITOR)).reason
    named = Judge(0.0, route(MONITOR), wanted=MONITOR.name, may_be_monitor=True)
    assert named.judge(seen(0.1, source=MONITOR)).name == "listening"


def test_another_source_than_the_one_that_was_asked_for_is_not_heard():
    verdict = Judge(0.0, route(WEBCAM), wanted=HEADSET.name).judge(seen(0.1, source=WEBCAM))
    assert (verdict.name, HEADSET.name in verdict.reason) == ("over", True)


@pytest.mark.parametrize("of_stream", [True, False])
def test_what_is_muted_in_the_server_is_told_at_once_and_only_while_it_is(of_stream):
    judge = Judge(0.0, route(HEADSET))
    muted = HEADSET if of_stream else replace(HEADSET, muted=True)
    verdict = judge.judge(seen(1.0, source=muted, muted=of_stream))
    assert (verdict.name, "muted" in verdict.reason) == ("silent", True)
    assert judge.judge(seen(1.1, source=HEADSET)).name == "listening"
    assert judge.judge(seen(1.2 + SILENCE_LIMIT_S - 0.5, sound_s=1.2, source=HEADSET)).name == "listening"
