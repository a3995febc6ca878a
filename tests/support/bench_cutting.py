"""``scripts/bench-cutting``: how requests are cut, beside plain webrtcvad and Silero, for people and synthetic."""

from __future__ import annotations

import sys
from dataclasses import astuple, fields, replace
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from device.edges.wakeword import load_scorer
from device.errors import UsageError
from device.hearing.cut import CutRules
from device.hearing.words import BUNDLED_WORDS
from support.command_line import COUNT, FILE, SEED, option, script
from support.cutting import RULES, Cut, Heard, Tally, cut_ours, cut_silero, cut_webrtcvad, hear_all, tally
from support.scenes import WORDS, sample_scenes
from support.speech import missing_synthesisers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from device.hearing.wake import WakeScorer
    from training.learn_segments import Material
    from training.scenes import Habits
    from training.scenes import Heard as Scene

HEAD = f"{'cut by':10} requests missing start-cut end-cut end-late wake-left  bare kept  median excess: start   end"
ROW = "{:10} {:8d} {:7d} {:9d} {:7d} {:8d} {:9d} {:5d} {:4d}  {:20.3f} {:5.3f}"
OFF = {
    "sure": 0.5,
    "least": 1,
    "near": 0,
    "wake_sure": 0.01,
    "begun": 1.1,
    "newest": 1,
    "patience": 0,
    "repeated": 1.1,
    "own": 1_000_000,
}  # a rule undone


@script(
    "bench-cutting",
    __doc__.partition(": ")[2],
    option("--size", type=COUNT, default=500, help="Recordings of each kind."),
    option("--seed", type=SEED, default=1, help="Of what is drawn."),
    option("--recordings", type=FILE, help="People and rooms to judge with, a folder with a manifest.json."),
    option("--sounds", type=FILE, multiple=True, help="A folder of sounds, for --recordings; may be repeated."),
    option("--voices", type=FILE, multiple=True, help="A folder of speech, for --recordings; may be repeated."),
    option("--models", type=FILE, help="Other words' .onnx models, named for what is said."),
    option("--without", type=click.Choice([field.name for field in fields(CutRules)]), help="A rule to do without."),
)
def main(options: Any) -> int:
    """Print the tables; return the exit status."""
    if missing := missing_synthesisers():
        print(f"bench-cutting: not installed: {', '.join(missing)}; apt-get install them", file=sys.stderr)
        return 1
    if options.recordings and not (options.recordings / "manifest.json").is_file():
        raise UsageError(f"--recordings {options.recordings}: no manifest.json", hint="see training/README.md")
    rules = replace(RULES, **{options.without: OFF[options.without]}) if options.without else RULES
    _synthetic(options, rules)
    if options.recordings:
        _people(options, rules)
    if options.models:
        _other_words(options, rules)
    return 0


def _synthetic(options: Any, rules: CutRules) -> None:
    scorer = load_scorer(tuple(WORDS), engine="streaming", cache_dir=None)
    heard = list(hear_all(sample_scenes(options.size, options.seed), scorer))
    print(f"synthetic voices: {options.size} recordings, {len(heard)} wake words detected, seed {options.seed}\n")
    cuts = _cut([(one, scorer) for one in heard], rules)
    for group in sorted({one.group for one in heard}):
        _print(group, cuts, lambda one, group=group: one.group == group)
    _print("babble, 10 dB and more", cuts, lambda one: _babble(one) and not _loud(one))
    _print("5 dB", cuts, _loud)
    _print("all other", cuts, lambda one: not _babble(one) and not _loud(one))


def _babble(one: Heard) -> bool:
    return one.group.startswith("babble")


def _loud(one: Heard) -> bool:
    return one.group.endswith(" 5 dB")


def _people(options: Any, rules: CutRules) -> None:
    """Judge with the people and the rooms that nothing was learnt from."""
    from training.learn_segments import PEOPLES, Material, load_words, surroundings_of
    from training.scenes import Director
    from training.scenes import heard as draw
    from training.talkers import Talkers

    material = Material(options.recordings, options.sounds, options.voices, None)
    for people, words in ((True, load_words(PEOPLES)), (False, load_words(BUNDLED_WORDS))):
        who = "people" if people else "synthetic voices nothing was learnt from"
        scorers = {word.name: word.scorer for word in words}
        for kind, habits in _kinds(material).items():
            director = Director(habits, Talkers("judge"), *surroundings_of("judge", material))
            rng = np.random.default_rng([options.seed, *kind.encode()])
            scenes = draw(director, words, options.size, rng, people=people)
            _print(f"{who}, {kind}", _cut([_judged(scene, scorers) for scene in scenes], rules), lambda _: True)


def _kinds(material: Material) -> dict[str, Habits]:
    """Return the kinds of scenes: what is around, how far below the wake word that is, how loud both are."""
    from training.scenes import JUDGED

    around = ["steady", "room", *(["sounds"] if material.sounds else [])]
    around += ["voices", "babble"] if material.voices else []
    kinds = {kind: replace(JUDGED, noises=(kind,)) for kind in around}
    kinds["quiet, -50 dBFS"] = replace(kinds["steady"], level_dbfs=(-52.0, -48.0))
    kinds["a microphone of 8 bits"] = replace(kinds["steady"], level_dbfs=(-30.0, -20.0), coarse=1.0)
    return kinds


def _judged(scene: Scene, scorers: dict[str, WakeScorer]) -> tuple[Heard, WakeScorer]:
    word = scene.detection.word
    return Heard("", scene.samples, scene.wake[1], scene.request, scene.detection), scorers[word]


def _other_words(options: Any, rules: CutRules) -> None:
    from training.learn_segments import load_words
    from training.rooms import Surroundings
    from training.scenes import JUDGED, Director
    from training.scenes import heard as draw
    from training.talkers import Talkers

    words = load_words(tuple(sorted(map(str, options.models.glob("*.onnx")))))
    habits = replace(JUDGED, noises=("steady",))
    director = Director(habits, Talkers("judge"), Surroundings((), ()))
    rng, each = np.random.default_rng(options.seed), max(options.size // max(len(words), 1), 1)
    scenes = [scene for word in words for scene in draw(director, [word], each, rng, people=False)]
    scorers = {word.name: word.scorer for word in words}
    cuts = _cut([_judged(scene, scorers) for scene in scenes], rules)
    _print(f"{len(words)} other words' models, synthetic voices", cuts, lambda _: True)


def _cut(pairs: Sequence[tuple[Heard, WakeScorer]], rules: CutRules) -> dict[str, list[tuple[Heard, Cut | None]]]:
    return {
        "ours": [(one, cut_ours(one, scorer, rules)) for one, scorer in pairs],
        "webrtcvad": [(one, cut_webrtcvad(one)) for one, _ in pairs],
        "silero": [(one, cut_silero(one)) for one, _ in pairs],
    }


def _print(title: str, cuts: dict[str, list[tuple[Heard, Cut | None]]], chosen: Callable[[Heard], bool]) -> None:
    print(f"{title}\n  {HEAD}")
    for name, pairs in cuts.items():
        counts: Tally = tally(pair for pair in pairs if chosen(pair[0]))
        print("  " + ROW.format(name, *astuple(counts)))
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
