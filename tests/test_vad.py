"""webrtcvad at the edge: it hears speech, not silence, and two that heard the same agree."""

import subprocess
import sys

import numpy as np
from support.speech import ESPEAK_VOICES, speak

from device.edges.vad import WebrtcVad
from device.hearing.frames import VAD_SAMPLES

SPEECH = speak("what time is it", ESPEAK_VOICES[0])
FRAMES = SPEECH[: len(SPEECH) // VAD_SAMPLES * VAD_SAMPLES].reshape(-1, VAD_SAMPLES)


def test_speech_is_speech_and_silence_is_not():
    vad = WebrtcVad(2)
    assert not any(vad.is_speech(frame) for frame in np.zeros((50, VAD_SAMPLES), np.int16))
    assert sum(vad.is_speech(frame) for frame in FRAMES) > 0.8 * len(FRAMES)


def test_two_that_heard_the_same_agree():
    one, other = WebrtcVad(3), WebrtcVad(3)
    assert [one.is_speech(frame) for frame in FRAMES] == [other.is_speech(frame) for frame in FRAMES]


def test_a_frame_may_be_a_view_with_gaps():
    spread = np.repeat(FRAMES[0], 2)[::2]
    assert WebrtcVad(0).is_speech(spread) == WebrtcVad(0).is_speech(FRAMES[0])


def test_importing_the_edge_does_not_load_webrtcvad():
    code = "import sys, device.edges.vad; sys.exit('_webrtcvad' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
