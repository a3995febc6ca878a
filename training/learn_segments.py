"""``scripts/train-segments``: learn to tell wake word and request apart, from people and synthetic voices."""

from __future__ import annotations

import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from support.command_line import COUNT, FILE, SEED, option, script
from support.speech import missing_synthesisers

from device.edges.wakeword.segment_weights import SHIPPED
from device.errors import ModelError, UsageError
from device.hearing.segment_network import chances
from device.hearing.words import BUNDLED_WORDS
from training import sounds
from training.examples import example_of, inputs_of
from training.recordings import People
from training.rooms import Surroundings
from training.saving import save
from training.scenes import Director, Habits, heard
from training.talkers import Talkers
from training.words import Word

if TYPE_CHECKING:
    from device.hearing.segment_network import Weights
    from training.examples import Example
    from training.recordings import Side

PEOPLES = ("alexa", "hey_jarvis")  # the words that people are recorded with
SHARES = {"people": 0.45, "bundled": 0.3, "other": 0.25}
PARTS = 10  # of the scenes of each kind, so that two processes share the work
JUDGED = 10  # for so many scenes that are learnt from, one is judged on
LEAST = 300
KIND_NAMES = ("nothing", "wake word", "request")


@dataclass(frozen=True, slots=True)
class Material:
    """Where the sounds are.

    Attributes:
        recordings: of people, see `training.recordings`.
        sounds: folders of sounds that are no speech.
        voices: folders of recorded speech.
        models: a folder of other words' models, .onnx files named for what is said; None: only bundled words.
    """

    recordings: Path
    sounds: tuple[Path, ...]
    voices: tuple[Path, ...]
    models: Path | None


@script(
    "train-segments",
    __doc__.partition(": ")[2],
    option("--recordings", type=FILE, required=True, help="Of people and rooms, with a manifest.json."),
    option("--sounds", type=FILE, multiple=True, help="A folder of sounds that are no speech; may be repeated."),
    option("--voices", type=FILE, multiple=True, help="A folder of recorded speech; may be repeated."),
    option("--models", type=FILE, help="A folder of other words' .onnx models, named for what is said."),
    option("--size", type=COUNT, default=12_000, help="Scenes."),
    option("--seed", type=SEED, default=1, help="Of everything drawn."),
    option("--jobs", type=COUNT, default=2, help="Processes."),
    option("--out", type=FILE, default=SHIPPED, help="The file."),
)
def main(options: Any) -> int:
    """Draw the scenes, learn, write the weights; return the exit status."""
    if options.size < LEAST:
        raise UsageError(f"--size {options.size}: too few to learn from", hint=f"{LEAST} or more")
    if not os.access(options.out.parent, os.W_OK) or options.out.is_dir():  # said before what takes an hour
        raise UsageError(f"--out {options.out}: cannot be written", hint="name a file in a folder that can")
    if not (options.recordings / "manifest.json").is_file():
        raise UsageError(f"--recordings {options.recordings}: no manifest.json", hint="see training/README.md")
    if missing := missing_synthesisers():
        print(f"train-segments: not installed: {', '.join(missing)}; apt-get install them", file=sys.stderr)
        return 1
    from training.network import learn  # PyTorch, which only learning needs

    material = Material(options.recordings, options.sounds, options.voices, options.models)
    parts = plan(material, options.size, options.seed)
    with ProcessPoolExecutor(options.jobs) as pool:
        examples = [one for part in pool.map(draw, parts) for one in part]
    print(f"{len(examples)} scenes were heard", flush=True)
    weights = learn(examples, BUNDLED_WORDS, options.seed).weights()
    with ProcessPoolExecutor(options.jobs) as pool:
        judged = [
            one
            for part in pool.map(draw, plan(material, options.size // JUDGED, options.seed, "judge"))
            for one in part
        ]
    described = about(material, examples, options.seed) | {"held_out": frames_wrong(weights, judged)}
    print(described, flush=True)
    save(options.out, weights, BUNDLED_WORDS, described)
    return 0


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the scenes, drawn by one process.

    Attributes:
        material: where the sounds are.
        models: the wake words.
        people: whether people say them.
        size: how many scenes.
        seed: of what is drawn.
        side: whose voices, rooms and sounds.
    """

    material: Material
    models: tuple[str, ...]
    people: bool
    size: int
    seed: tuple[int, ...]
    side: Side


def plan(material: Material, size: int, seed: int, side: Side = "learn") -> list[Part]:
    """Share the scenes out among the kinds of words."""
    others = tuple(sorted(map(str, material.models.glob("*.onnx")))) if material.models else ()
    words = {"people": PEOPLES, "bundled": BUNDLED_WORDS, "other": others}
    total = sum(share for kind, share in SHARES.items() if words[kind])
    return [
        Part(material, words[kind], kind == "people", round(size * share / total / PARTS), (seed, number, part), side)
        for number, (kind, share) in enumerate(SHARES.items())
        if words[kind]
        for part in range(PARTS)
    ]


def draw(part: Part) -> list[Example]:
    """Draw the scenes of one part and measure what is to be learnt from them."""
    rng = np.random.default_rng(part.seed)
    words = load_words(part.models)
    director = Director(Habits(), Talkers(part.side), *surroundings_of(part.side, part.material))
    stream = words[0].scorer.graph.stream()
    return [example_of(scene, stream) for scene in heard(director, words, part.size, rng, people=part.people)]


@lru_cache  # a process draws many parts
def load_words(models: tuple[str, ...]) -> tuple[Word, ...]:
    """Load wake words' models; those that cannot be used are named and left out."""
    words = []
    with tempfile.TemporaryDirectory() as folder:
        for model in models:
            try:
                words.append(Word(model, Path(folder)))
            except ModelError as error:
                print(f"left out: {error}", file=sys.stderr)
    return tuple(words)


@lru_cache
def surroundings_of(side: Side, material: Material) -> tuple[Surroundings, People]:
    """Read one side's rooms, sounds and people."""
    people = People(material.recordings, side)
    noises = sounds.load(material.sounds, side), sounds.load(material.voices, side)
    return Surroundings(people.rooms, people.echoes, *noises), people


def about(material: Material, examples: list[Example], seed: int) -> dict[str, Any]:
    """Say what the weights were learnt from."""
    return {
        "seed": seed,
        "learnt_from": {"scenes": len(examples), "words": len({one.word for one in examples})},
        "sources": [path.name for path in (material.recordings, *material.sounds, *material.voices)],
    }


def frames_wrong(weights: Weights, examples: list[Example]) -> dict[str, float]:
    """Return which share of the frames is taken for something else, by the kind that they are."""
    wrong: dict[str, list[float]] = {name: [] for name in KIND_NAMES}
    for example in examples:
        word = BUNDLED_WORDS.index(example.word) if example.word in BUNDLED_WORDS else len(BUNDLED_WORDS)
        frames, embeddings, kinds = inputs_of(example, len(example.levels))
        taken = chances(weights, word, frames, embeddings).argmax(axis=1)
        for kind, name in enumerate(KIND_NAMES):
            if (kinds == kind).any():
                wrong[name].append(float(np.mean(taken[kinds == kind] != kind)))
    return {name: round(float(np.mean(shares)), 4) for name, shares in wrong.items() if shares}


if __name__ == "__main__":
    sys.exit(main())
