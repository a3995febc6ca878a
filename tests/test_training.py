"""What is learnt from: nobody is on both sides, the truth is where it is said, the device sees the same numbers."""

import json

import numpy as np
import pytest
import soundfile
from support.speech import ESPEAK_VOICES, missing_synthesisers, speak

from device.edges.wakeword.segment_weights import SHIPPED, load
from device.hearing.frames import VAD_SAMPLES
from device.hearing.segment_network import REQUEST, WAKE_WORD, chances
from training.examples import example_of, inputs_of
from training.recordings import People
from training.rooms import Surroundings
from training.scenes import UNKNOWN, Director, Habits, Heard, heard
from training.talkers import Talkers
from training.words import Word

pytestmark = pytest.mark.skipif(
    bool(missing_synthesisers()), reason=f"not installed: {' '.join(missing_synthesisers())}"
)


@pytest.fixture(scope="module")
def word(tmp_path_factory):
    return Word("hey_jarvis", tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def scenes(word):
    director = Director(Habits(), Talkers("learn"), Surroundings((), ()))
    return heard(director, [word], 12, np.random.default_rng(7), people=False)


@pytest.fixture(scope="module")
def people_folder(tmp_path_factory):
    """Ten recordings of each kind, said by a synthetic voice."""
    folder = tmp_path_factory.mktemp("people")
    listed = []
    kinds = {
        "words": ("wake word", "jarvis"),
        "requests": ("request", "turn it off"),
        "others": ("other word", "smart"),
    }
    for name, (kind, text) in kinds.items():
        (folder / name).mkdir()
        for number in range(10):
            said = speak(text, ESPEAK_VOICES[number])
            samples = np.concatenate([np.zeros(3000, np.int16), said, np.zeros(4000, np.int16)])
            file = f"{name}/{number:03}.flac"
            soundfile.write(folder / file, samples, 16_000)
            bounds = {f"{faint}{edge}_sample": at for faint in ("", "faint_") for edge, at in
                      (("start", 3000), ("end", 3000 + len(said)))}  # fmt: skip
            entry = {"file": file, "kind": kind, "word": text}
            listed.append(entry if kind == "other word" else entry | bounds)
    for kind, seconds in (("room", 3), ("impulse response", 1)):
        for number in range(2):
            file = f"{kind.split()[0]}-{number}.flac"
            soundfile.write(folder / file, np.random.default_rng(number).normal(0, 0.01, seconds * 16_000), 16_000)
            listed.append({"file": file, "kind": kind})
    (folder / "manifest.json").write_text(json.dumps(listed))
    return folder


def test_nobody_and_no_voice_is_on_both_sides(people_folder):
    learnt, judged = (People(people_folder, side) for side in ("learn", "judge"))
    for of in ("requests", "others"):
        names = [{entry["file"] for entry in getattr(side, of)()} for side in (learnt, judged)]
        assert [len(one) for one in names] == [7, 3]
        assert not names[0] & names[1]
    rng = np.random.default_rng(1)
    voices = [{Talkers(side).voice(rng).name for _ in range(400)} for side in ("learn", "judge")]
    variants = [{name.partition("+")[2] or name for name in side} for side in voices]
    assert not variants[0] & variants[1] - {"en", "en-us"}


def test_a_person_says_what_the_recording_holds_with_little_around_it(people_folder):
    people = People(people_folder, "learn")
    (entry, *_) = people.words("hey_jarvis")
    said = people.say(entry)
    assert said.name == entry["file"]
    assert said.end - said.start == entry["end_sample"] - entry["start_sample"]
    assert said.start <= 480
    assert len(said.signal) - said.end <= 960
    assert abs(said.signal[0]) < 1e-4
    assert people.words("alexa") == []


def test_the_truth_is_where_it_is_said(scenes):
    assert len(scenes) == 12
    for scene in scenes:
        kinds = scene.kinds()
        first = scene.detection.wake_sample % VAD_SAMPLES
        word = kinds[(scene.wake[0] - first) // VAD_SAMPLES + 1 : (scene.wake[1] - first) // VAD_SAMPLES - 1]
        assert np.isin(word, (WAKE_WORD, UNKNOWN)).all()
        assert (REQUEST in kinds) == (scene.request is not None)
        if scene.request:
            said = np.flatnonzero(kinds == REQUEST) * VAD_SAMPLES + first
            assert abs(said[0] - scene.request[0]) <= VAD_SAMPLES
            assert abs(said[-1] + VAD_SAMPLES - scene.request[1]) <= VAD_SAMPLES
            assert scene.wake[1] <= scene.request[0]


def test_the_device_looks_at_what_was_learnt_from(scenes, word):
    """Else the shipped weights would mean something else there."""
    weights, words = load(SHIPPED)
    stream = word.scorer.graph.stream()
    for scene in scenes[:4]:
        example = example_of(scene, stream)
        frames, embeddings, kinds = inputs_of(example, len(example.levels))
        expected = chances(weights, words.index("hey_jarvis"), frames, embeddings)
        wake = scene.detection.wake_sample
        start = max(wake % VAD_SAMPLES, wake - 64_000)
        segmenter = word.scorer.segmenter(scene.detection, scene.samples[start:wake])
        end = wake + (len(kinds) * VAD_SAMPLES - (wake - segmenter.start_sample))
        segmenter.push(scene.samples[wake:end])
        np.testing.assert_allclose(segmenter.chances, expected, atol=0.02)  # levels and embeddings are kept as float16


def test_pytorch_learns_the_network_that_the_device_runs(scenes, word):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: scripts/setup --extras learn")
    from training.network import BATCH, learn

    stream = word.scorer.graph.stream()
    examples = [example_of(scene, stream) for scene in scenes] * (BATCH // len(scenes) + 1)
    network = learn(examples, ["hey_jarvis"], seed=1, epochs=2)
    frames, embeddings, _ = inputs_of(examples[0], 100)
    with torch.no_grad():
        logits = network(torch.tensor(frames[None]), torch.tensor(embeddings[None]), torch.tensor([0]))
    expected = torch.softmax(logits, 2)[0].numpy()
    np.testing.assert_allclose(chances(network.weights(), 0, frames, embeddings), expected, atol=1e-5)


def test_a_scene_that_nobody_hears_is_none(word):
    deaf = Word.__new__(Word)
    deaf.name, deaf.phrase, deaf.detect = word.name, "completely different", lambda *_: None
    director = Director(Habits(bare=1.0), Talkers("learn"), Surroundings((), ()))
    assert not isinstance(director.draw(deaf, np.random.default_rng(1), people=False), Heard)
