"""The project's speech is what it says: wake words the real models hear, and truth that the audio bears out."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.make_fixtures import FIXTURES as MADE
from support.rooms import NOISE_KINDS, noise, room_response
from support.scenes import Scene, Utterance, render, sample_scenes
from support.speech import ESPEAK_VOICES, active_rms, missing_synthesisers, to_signal

from device.edges.wakeword.words import find_words
from device.errors import RecordingError
from device.hearing.frames import FRAME_SAMPLES, RATE_HZ, samples_of
from device.hil.recordings import Recording, load_recordings, name_of, read_sidecar, words_of

ROOT = Path(__file__).parents[1]
FIXTURES = ROOT / "tests" / "fixtures"
DEMO = ROOT / "device" / "resources" / "demo.wav"
MANIFEST = json.loads((FIXTURES / "manifest.json").read_text())
RECORDINGS = list(load_recordings(FIXTURES))
MODELS = {name_of(found.word): found.path for found in find_words(words_of(RECORDINGS))}
THRESHOLD = 0.5
LINGER_S = (
    1.3  # the models answer up to 0.5 s after a word's end, and it stays in their window of 16 embeddings for 1.28 s
)

speaks = pytest.mark.skipif(
    bool(missing_synthesisers()), reason=f"not installed: {' '.join(missing_synthesisers())} (Debian packages)"
)


@pytest.fixture(scope="module")
def model():
    """Openwakeword's own Model with the words that the fixtures say."""
    from openwakeword.model import Model

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*CUDAExecutionProvider")  # it asks for a GPU that nobody has
        return Model(wakeword_model_paths=[str(path) for path in MODELS.values()])


def scores_by_word(model, samples):
    """Return each word's scores, one for every whole frame."""
    model.reset()
    frames = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    scored = [model.predict(frame) for frame in frames]
    return {word: np.array([scores[path.stem] for scores in scored]) for word, path in MODELS.items()}


def said_spans(truth):
    """Yield (word, start, end) of every wake word said."""
    for request in truth.requests:
        word = name_of(request.wake_word or truth.wake_word)
        start = request.wake_start_sample
        again = word.replace("_", " ") in request.text  # then it may be heard up to the request's end
        end = request.end_sample if again else request.wake_end_sample
        yield word, end - samples_of(0.6) if start is None else start, end
    for bare in truth.bare_wakes:
        yield name_of(bare.wake_word or truth.wake_word), bare.start_sample, bare.end_sample


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
def test_the_model_hears_every_wake_word_and_nothing_else(recording, model):
    scores = scores_by_word(model, recording.samples)
    at = (np.arange(len(recording.samples) // FRAME_SAMPLES) + 1) * FRAME_SAMPLES
    elsewhere = {word: scores[word] >= THRESHOLD for word in MODELS}
    for word, start, end in said_spans(recording.truth):
        inside = (at > start) & (at <= end + samples_of(LINGER_S))
        assert scores[word][inside].max() >= THRESHOLD
        elsewhere[word] &= ~inside
    assert {word: list(at[hits]) for word, hits in elsewhere.items() if hits.any()} == {}


def test_the_model_is_sure_of_the_demo(model):
    samples, rate_hz = soundfile.read(DEMO, dtype="int16")
    assert (rate_hz, samples.ndim, soundfile.info(DEMO).subtype) == (RATE_HZ, 1, "PCM_16")
    assert 4.0 <= len(samples) / RATE_HZ <= 5.0
    scores = scores_by_word(model, samples)
    assert scores["hey_jarvis"].max() > 0.95
    assert scores["alexa"].max() < 0.1


def made_quiet(recording: Recording) -> bool:
    """Whether we made it, so that its marks are exact, in a quiet room without echo."""
    made_with = recording.truth.made_with
    return recording.name in MANIFEST and made_with["snr_db"] >= 45 and not made_with["rt60_s"]


def level_db(samples):
    return 10 * np.log10(np.mean(to_signal(samples) ** 2) + 1e-12)


@pytest.mark.parametrize("recording", list(filter(made_quiet, RECORDINGS)), ids=lambda recording: recording.name)
def test_sound_begins_and_ends_at_the_marks(recording):
    samples, near, clear = recording.samples, samples_of(0.02), samples_of(0.002)
    floor_db = level_db(samples[: samples_of(1.0)])
    silences, sounds = [], []
    for request in recording.truth.requests:
        sounds += [(request.wake_start_sample, request.wake_end_sample)]
        edges = [request.start_sample, *(edge for pause in request.pauses for edge in pause), request.end_sample]
        sounds += list(zip(edges[::2], edges[1::2], strict=True))
        silences += list(request.pauses)
        if request.start_sample > request.wake_end_sample:
            silences.append((request.wake_end_sample, request.start_sample))
        silences.append((request.end_sample, request.end_sample + samples_of(0.8)))
    for bare in recording.truth.bare_wakes:
        sounds.append((bare.start_sample, bare.end_sample))
        silences.append((bare.end_sample, len(samples)))
    for start, end in sounds:
        assert level_db(samples[start : start + near]) > floor_db + 8
        assert level_db(samples[end - near : end]) > floor_db + 8
    for start, end in silences:
        assert level_db(samples[start + clear : end - clear]) < floor_db + 2


def test_the_manifest_says_what_the_sidecars_and_the_files_say():
    by_name = {recording.name: recording for recording in RECORDINGS}
    assert MANIFEST
    for name, entry in MANIFEST.items():
        sidecar = json.loads((FIXTURES / f"{name}.json").read_text())
        assert hashlib.sha256((FIXTURES / f"{name}.wav").read_bytes()).hexdigest() == entry["sha256"]
        assert len(by_name[name].samples) == entry["samples"]
        for key in ("about", "wake_word", "requests"):
            assert entry[key] == sidecar[key]


def test_the_fixtures_are_small():
    assert sum(path.stat().st_size for path in FIXTURES.glob("*") if path.stem in MANIFEST) < 6_000_000


@speaks
@pytest.mark.long
def test_the_fixtures_are_made_again_to_the_byte(tmp_path):
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        command = [ROOT / "scripts" / "make-fixtures", "--out", folder, "--demo", folder / "demo.wav"]
        subprocess.run(command, check=True, env=os.environ | {"XDG_CACHE_HOME": str(folder / "cache")})
    names = sorted(path.name for path in folders[0].glob("*.*"))
    assert len(names) == 2 * (len(MADE) + 1) + 2
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


@speaks
@pytest.mark.long
def test_a_corpus_is_the_same_for_the_same_seed_and_loads_again(tmp_path):
    for folder, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        command = [ROOT / "scripts" / "make-corpus", "--size", "6", "--seed", seed, "--out", tmp_path / folder]
        subprocess.run(command, check=True)
    a, b, c = (list(load_recordings(tmp_path / folder)) for folder in "abc")
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert [entry["name"] for entry in manifest["recordings"]] == [recording.name for recording in a]
    for one, same, other in zip(a, b, c, strict=True):
        assert one.truth == same.truth
        assert np.array_equal(one.samples, same.samples)
        assert not np.array_equal(one.samples, other.samples)


@speaks
def test_a_smaller_corpus_leaves_no_recording_of_the_one_before_but_all_others(tmp_path):
    (tmp_path / "mine.wav").write_bytes(b"")
    for size in (3, 1):
        subprocess.run([ROOT / "scripts" / "make-corpus", "--size", str(size), "--out", tmp_path], check=True)
    assert len(list(tmp_path.glob("0*.wav"))) == 1
    assert (tmp_path / "mine.wav").exists()


def test_the_sampler_covers_every_noise_and_level_and_stays_in_range():
    scenes = [scene for _, _, scene in sample_scenes(100, 3)]
    assert {(scene.noise, scene.snr_db) for scene in scenes} == {
        (kind, snr_db) for kind in NOISE_KINDS for snr_db in (5.0, 10.0, 15.0, 20.0, 30.0)
    }
    assert {scene.rt60_s for scene in scenes} == {0.0, 0.25, 0.4}
    said = [scene.utterances[0] for scene in scenes]
    assert {utterance.voice.synthesiser for utterance in said} == {"espeak-ng", "flite"}
    gaps_s = [utterance.gap_s for utterance in said]
    assert min(gaps_s) == 0.0
    assert 0.8 < max(gaps_s) <= 1.0
    assert all(0.3 <= utterance.pause_s <= 0.6 for utterance in said)


SPOKEN = Scene(
    utterances=(
        Utterance(
            voice=ESPEAK_VOICES[0], wake_word="hey_jarvis", text="turn on the lights | now", gap_s=0.25, pause_s=0.5
        ),
    ),
    rt60_s=0.0,
    level_dbfs=-26.0,
)


@speaks
def test_gap_and_pause_are_as_long_as_asked():
    (request,) = render(SPOKEN, "x").truth.requests
    assert request.start_sample - request.wake_end_sample == samples_of(0.25)
    assert [end - start for start, end in request.pauses] == [samples_of(0.5)]
    assert request.wake_start_sample == samples_of(SPOKEN.lead_s)


@speaks
@pytest.mark.parametrize("kind", NOISE_KINDS)
def test_the_noise_stands_below_the_request_by_the_ratio_asked(kind):
    noisy = render(replace(SPOKEN, noise=kind, snr_db=10.0), "x")
    clean = render(replace(SPOKEN, noise=kind, snr_db=120.0), "x")
    (request,) = noisy.truth.requests
    speech = active_rms(to_signal(clean.samples[request.start_sample : request.end_sample]))
    noise_rms = np.sqrt(np.mean((to_signal(noisy.samples) - to_signal(clean.samples)) ** 2))
    assert 20 * np.log10(speech / noise_rms) == pytest.approx(10.0, abs=0.3)
    assert 20 * np.log10(active_rms(to_signal(clean.samples))) == pytest.approx(-26.0, abs=0.3)


@pytest.mark.parametrize(("kind", "slope_db"), [("white", 0.0), ("pink", -3.0), ("brown", -6.0)])
def test_coloured_noise_falls_by_its_decibels_an_octave(kind, slope_db):
    power = np.abs(np.fft.rfft(noise(kind, RATE_HZ * 8, np.random.default_rng(0)))) ** 2
    octaves_db = [10 * np.log10(np.mean(power[8 * low : 16 * low])) for low in (250, 500, 1000, 2000)]
    assert np.diff(octaves_db) == pytest.approx([slope_db] * 3, abs=0.3)


@pytest.mark.parametrize("rt60_s", [0.25, 0.4])
def test_a_room_decays_in_its_time_and_keeps_the_direct_sound_at_sample_0(rt60_s):
    for seed in range(5):
        response = room_response(rt60_s, seed)
        left = np.cumsum(response[::-1] ** 2)[::-1]
        decay_db = 10 * np.log10(left / left[0])
        decay_s = (np.argmax(decay_db < -25) - np.argmax(decay_db < -5)) / RATE_HZ * 3
        assert response[0] == pytest.approx(1.0, abs=0.01)
        assert decay_s == pytest.approx(rt60_s, rel=0.15)


def drop_in(folder: Path, sidecar: object, *, rate_hz=RATE_HZ, channels=1) -> None:
    tone = 0.1 * np.sin(np.arange(rate_hz) * 0.05)
    silent = [np.zeros(rate_hz)] * (channels - 1)
    soundfile.write(folder / "mine.wav", np.stack([*silent, tone], axis=1), rate_hz, subtype="PCM_16")
    (folder / "mine.json").write_text(sidecar if isinstance(sidecar, str) else json.dumps(sidecar))


TRUTH = {
    "wake_word": "hey_jarvis",
    "requests": [{"wake_end_sample": 4000, "start_sample": 5000, "end_sample": 15000}],
}


def test_any_wav_with_a_sidecar_is_a_recording_and_one_without_is_none(tmp_path):
    drop_in(tmp_path, TRUTH | {"channel": 2}, rate_hz=44_100, channels=2)
    soundfile.write(tmp_path / "other.wav", np.zeros(100), RATE_HZ)
    (recording,) = load_recordings(tmp_path)
    assert recording.name == "mine"
    assert recording.samples.dtype == np.int16
    assert len(recording.samples) == RATE_HZ
    assert np.abs(recording.samples).max() > 3000
    assert recording.truth.requests[0].start_sample == 5000


def test_a_wake_word_that_is_a_file_is_looked_for_beside_the_sidecar(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.onnx").write_bytes(b"")
    drop_in(tmp_path, request_with(wake_word="models/mine.onnx"))
    recordings = list(load_recordings(tmp_path))
    assert words_of(recordings) == (str(tmp_path / "models" / "mine.onnx"), "hey_jarvis")
    assert [name_of(word) for word in words_of(recordings)] == ["mine", "hey_jarvis"]


def request_with(**change):
    return TRUTH | {"requests": [TRUTH["requests"][0] | change]}


@pytest.mark.parametrize(
    ("sidecar", "complaint"),
    [
        ("{", "Expecting property name"),
        ([], r"the whole = \[\]: expected `object`"),
        ({"wake_word": "alexa"}, "requests: the key is missing"),
        (TRUTH | {"wake_word": ""}, 'wake_word = "": expected `str` of length >= 1'),
        (TRUTH | {"wakeword": "alexa"}, r"wakeword: unknown key; did you mean wake_word\?"),
        (request_with(start_sample="5"), r'requests\[0\].start_sample = "5": expected `int`'),
        (request_with(start_sample=-5), r"requests\[0\].start_sample = -5: expected `int` >= 0"),
        (request_with(strat_sample=5), r"requests\[0\].strat_sample: unknown key; did you mean start_sample\?"),
        (request_with(end_sample=99999), r"requests\[0\].end_sample = 99999: the recording ends at 16000"),
        (request_with(end_sample=4500), r"end_sample = 4500 lies before requests\[0\].start_sample = 5000"),
        (
            TRUTH | {"bare_wakes": [{"start_sample": 9, "end_sample": 99999}]},
            r"bare_wakes\[0\].end_sample = 99999: the recording ends at 16000",
        ),
        (request_with(pauses=[[6000, "7000"]]), r'requests\[0\].pauses\[0\]\[1\] = "7000": expected `int`'),
        (TRUTH | {"channel": 3}, "channel = 3: the WAV has 1"),
        (TRUTH | {"wake_word": "hey_jarvs"}, 'wake_word = "hey_jarvs": .*did you mean .hey_jarvis'),
        (request_with(wake_word="none.onnx"), 'wake_word = "none.onnx": there is no wake word model .*/none.onnx'),
    ],
)
def test_a_wrong_sidecar_is_one_line_with_file_key_and_value(tmp_path, sidecar, complaint):
    drop_in(tmp_path, sidecar)
    with pytest.raises(RecordingError, match=complaint) as caught:
        list(load_recordings(tmp_path))
    assert str(caught.value).startswith(str(tmp_path / "mine.json"))
    assert "\n" not in str(caught.value)


def test_a_wav_that_is_none_is_named(tmp_path):
    drop_in(tmp_path, TRUTH)
    (tmp_path / "mine.wav").write_bytes(b"RIFF")
    with pytest.raises(RecordingError, match=re.escape(str(tmp_path / "mine.wav"))):
        list(load_recordings(tmp_path))


def test_the_stereo_fixture_has_the_voice_in_its_second_channel():
    audio, rate_hz = soundfile.read(FIXTURES / "stereo-48khz.wav", dtype="int16")
    truth = read_sidecar(FIXTURES / "stereo-48khz.json")
    assert (rate_hz, audio.shape[1], truth.channel) == (48_000, 2, 2)
    assert level_db(audio[:, 1]) > level_db(audio[:, 0]) + 20
