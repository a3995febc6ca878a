"""``scripts/make-fixtures``: the recordings of tests/fixtures, named for what they show, and the demo recording.

The same machine makes the same bytes every time; another release of a synthesiser may make others.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import soundfile
import soxr

from device.errors import UsageError
from device.hearing.frames import RATE_HZ
from device.hil.recordings import Recording
from support.command_line import FILE, make_writable, option, script
from support.recordings import write_recording, write_sidecar
from support.rooms import noise
from support.scenes import Scene, Utterance, render
from support.speech import Voice, missing_synthesisers, to_samples

if TYPE_CHECKING:
    import numpy.typing as npt

ROOT = Path(__file__).parents[2]

_WOMAN = Voice(synthesiser="espeak-ng", name="en-us+f2")
_MAN = Voice(synthesiser="espeak-ng", name="en-us+m4")
_SCOT = Voice(synthesiser="espeak-ng", name="en-gb-scotland+f5")
_BRITON = Voice(synthesiser="espeak-ng", name="en+m4")
_SLT = Voice(synthesiser="flite", name="slt")
_AWB = Voice(synthesiser="flite", name="awb")
_RMS = Voice(synthesiser="flite", name="rms")
_KAL = Voice(synthesiser="flite", name="kal16")


@dataclass(frozen=True, slots=True)
class _Fixture:
    name: str
    about: str
    scene: Scene
    wake_word: str = "hey_jarvis"

    def render(self) -> Recording:
        return render(self.scene, self.name, wake_word=self.wake_word, about=self.about)


def _jarvis(voice: Voice, text: str, gap_s: float = 0.3, pause_s: float = 0.4) -> Utterance:
    return Utterance(voice=voice, wake_word="hey_jarvis", text=text, gap_s=gap_s, pause_s=pause_s)


def _alexa(voice: Voice, text: str, gap_s: float = 0.3, pause_s: float = 0.4) -> Utterance:
    return Utterance(voice=voice, wake_word="alexa", text=text, gap_s=gap_s, pause_s=pause_s)


def _heard(*utterances: Utterance, **around: Any) -> Scene:
    return Scene(utterances=utterances, **{"lead_s": 1.4, "tail_s": 1.8} | around)


FIXTURES = (
    _Fixture("hey-jarvis-request", "a wake word and a request", _heard(_jarvis(_WOMAN, "turn on the lights"))),
    _Fixture("alexa-request", "another word and synthesiser", _heard(_alexa(_SLT, "play some music")), "alexa"),
    _Fixture("no-gap", "the request follows without a pause", _heard(_jarvis(_SCOT, "shut the door", gap_s=0.0))),
    _Fixture(
        "no-gap-soft-start",
        "no pause, and the first word begins softly",
        _heard(_alexa(_AWB, "find my phone", gap_s=0.0)),
        "alexa",
    ),
    _Fixture(
        "long-gap", "the talker thinks for a second first", _heard(_jarvis(_BRITON, "what time is it", gap_s=1.0))
    ),
    _Fixture(
        "soft-end",
        "the last sound is a fricative 40 dB down",
        _heard(_alexa(_SLT, "turn the kitchen lights off")),
        "alexa",
    ),
    _Fixture(
        "pauses-inside",
        "two pauses of 0.55 s inside one request",
        _heard(_jarvis(_MAN, "remind me | to feed the fish | at six", pause_s=0.55)),
    ),
    _Fixture("short-request", "one short word", _heard(_jarvis(_WOMAN, "stop"))),
    _Fixture(
        "wake-word-inside",
        "the wake word is said again inside the request",
        _heard(_jarvis(_SCOT, "what does | hey jarvis | mean", pause_s=0.3)),
    ),
    _Fixture(
        "pink-noise-15db",
        "steady noise",
        _heard(_jarvis(_BRITON, "set a timer for five minutes"), noise="pink", snr_db=15.0),
    ),
    _Fixture(
        "mains-hum-10db",
        "a hum",
        _heard(_alexa(_KAL, "turn off the radio"), noise="hum", snr_db=10.0, level_dbfs=-32.0),
        "alexa",
    ),
    _Fixture(
        "babble-20db", "other people talk", _heard(_jarvis(_SCOT, "call the office"), noise="babble", snr_db=20.0)
    ),
    _Fixture(
        "reverberant-room", "a room of 0.4 s", _heard(_jarvis(_WOMAN, "how far is the moon"), rt60_s=0.4, snr_db=35.0)
    ),
    _Fixture(
        "two-requests",
        "one request after another",
        _heard(_jarvis(_MAN, "turn up the heat"), _jarvis(_SCOT, "cancel the alarm", gap_s=0.1), between_s=2.2),
    ),
    _Fixture(
        "both-words",
        "two different wake words, a request each",
        _heard(_alexa(_SLT, "volume six"), _jarvis(_WOMAN, "show me the news"), between_s=2.2),
    ),
    _Fixture(
        "wake-word-alone",
        "nothing is said after the wake word",
        _heard(Utterance(voice=_WOMAN, wake_word="hey_jarvis"), tail_s=5.5),
    ),
    _Fixture(
        "near-misses",
        "words that sound like a wake word and are none",
        _heard(
            Utterance(voice=_MAN, text="hey travis | what time is it"),
            Utterance(voice=_RMS, text="hey jason | turn on the lights"),
            Utterance(voice=_AWB, text="alex | what is this"),
            between_s=0.8,
        ),
    ),
    _Fixture(
        "speech-without-wake-word",
        "people talk, and not to the device",
        _heard(Utterance(voice=_SCOT, text="turn on the lights in the kitchen and tell me what time it is")),
    ),
    _Fixture("quiet-room", "nobody says anything", _heard(lead_s=2.0, tail_s=2.0)),
)
STEREO = _Fixture(
    "stereo-48khz", "48 kHz, two channels, the voice in the second", _heard(_jarvis(_BRITON, "hang up"), tail_s=1.4)
)
DEMO = _Fixture(
    "demo",
    "what `wakeword-recorder demo` hears",
    _heard(_jarvis(_WOMAN, "what is the weather like tomorrow"), lead_s=0.8, tail_s=1.2, snr_db=45.0),
)


@script(
    "make-fixtures",
    __doc__.partition(": ")[2].splitlines()[0],
    option("--out", type=FILE, default=ROOT / "tests" / "fixtures", help="The folder."),
    option("--demo", type=FILE, default=ROOT / "device" / "resources" / "demo.wav", help="The demo's file."),
)
def main(options: Any) -> int:
    """Make the recordings; return the exit status."""
    if missing := missing_synthesisers():
        print(
            f"make-fixtures: not installed: {', '.join(missing)}; apt-get install {' '.join(missing)}", file=sys.stderr
        )
        return 1
    make_writable(options.out, "--out")
    make_writable(options.demo.parent, "--demo")
    if options.demo.is_dir():
        raise UsageError(f"--demo {options.demo}: it is a folder", hint="name a file")
    count = _make(options.out, options.demo)
    print(f"{count} recordings and manifest.json in {options.out}, and {options.demo}")
    return 0


def _make(folder: Path, demo: Path) -> int:
    """Write the fixtures, their manifest and the demo's recording; return how many fixtures there are."""
    recordings = [fixture.render() for fixture in FIXTURES]
    for recording in recordings:
        write_recording(recording, folder)
    recordings.append(_write_stereo(folder))
    soundfile.write(demo, DEMO.render().samples, RATE_HZ, format="WAV", subtype="PCM_16")
    (folder / "manifest.json").write_text(_manifest(recordings, folder), encoding="utf-8")
    return len(recordings)


def _write_stereo(folder: Path) -> Recording:
    """Write the voice to the second of two channels at 48 kHz; the first has noise of its own."""
    rate_hz = 48_000
    mono = STEREO.render()
    voice = np.asarray(soxr.resample(mono.samples, RATE_HZ, rate_hz))
    other: npt.NDArray[np.int16] = to_samples(noise("pink", len(voice), np.random.default_rng(1)) * 10.0 ** (-60 / 20))
    soundfile.write(folder / f"{mono.name}.wav", np.stack((other, voice), axis=1), rate_hz, subtype="PCM_16")
    truth = msgspec.structs.replace(mono.truth, channel=2)
    write_sidecar(truth, folder / f"{mono.name}.json")
    return Recording(mono.name, mono.samples, truth)


def _manifest(recordings: list[Recording], folder: Path) -> str:
    """Return, for every recording, what it shows, its checksum and the true sample positions at 16 kHz."""
    entries = {}
    for recording in recordings:
        truth = msgspec.to_builtins(recording.truth)
        entries[recording.name] = {
            "about": truth["about"],
            "sha256": hashlib.sha256((folder / f"{recording.name}.wav").read_bytes()).hexdigest(),
            "samples": len(recording.samples),
            "wake_word": truth["wake_word"],
            "requests": truth["requests"],
            "bare_wakes": truth.get("bare_wakes", []),
            "channel": truth.get("channel", 1),
        }
    return json.dumps(entries, indent=1) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
