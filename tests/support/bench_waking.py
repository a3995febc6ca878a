"""``scripts/bench-waking``: which people are heard, and what else sets a wake word off, with a second model or none."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import numpy as np

from device import build
from device.config import settings as config
from device.edges.second_model import CONFIRMED_WORDS
from device.errors import UsageError
from device.hearing.frames import RATE_HZ, samples_of
from device.hearing.pipeline import Heard
from device.hearing.words import BUNDLED_WORDS
from support.command_line import FILE, SEED, option, script
from support.rooms import noise
from support.speech import to_samples
from training import sounds
from training.recordings import People, Side
from training.rooms import Surroundings, at_level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from device.config.settings import Settings
    from device.hearing.frames import Samples
    from device.hearing.wake import WakeScorer
    from support.speech import Signal
    from training.recordings import Said

RMS = 0.05
QUIET_RMS = 10.0 ** (-50.0 / 20.0)
SNR_DB = 10.0
# Before and after what is said: the models want 2 s before it, and a little of what follows.
AROUND = np.random.default_rng(0).standard_normal(2 * RATE_HZ) * RMS * 10.0 ** (-50.0 / 20.0)
PAIRS = {"one model": {"confirm": False}, "two (shipped)": {"confirm": True}}  # what of the configuration differs


@script(
    "bench-waking",
    __doc__.partition(": ")[2],
    option("--recordings", type=FILE, help="People who say wake words, a folder with a manifest.json."),
    option("--voices", type=FILE, multiple=True, help="A folder of speech without wake words; may be repeated."),
    option("--seed", type=SEED, default=1, help="Of noises and rooms."),
)
def main(options: Any) -> int:
    """Print the tables; return the exit status."""
    if not (options.recordings or options.voices):
        raise UsageError("--recordings or --voices is needed", hint="see scripts/bench-waking --help")
    scorers = {word: build.build_scorer(_settings(word, {})) for word in BUNDLED_WORDS}
    if options.recordings:
        for side in get_args(Side):
            _people(People(options.recordings, side), side, scorers, options.seed)
    if options.voices:
        _others(options.voices, scorers)
    return 0


def _people(people: People, side: Side, scorers: dict[str, WakeScorer], seed: int) -> None:
    rooms = Surroundings((), people.echoes)
    for word in (word for word in CONFIRMED_WORDS if people.words(word)):
        said = [people.say(entry) for entry in people.words(word)]
        purpose = "that the network learnt from" if side == "learn" else "only judged with"
        print(f"{word}: {len(said)} recordings of people {purpose}; heard of them\n{_head()}")
        alone = [_in_quiet(at_level(one.signal, RMS)) for one in said]
        followed = [_followed(one, people, np.random.default_rng([seed, number])) for number, one in enumerate(said)]
        for then, clean in (("", alone), (", then a request", followed)):
            for name, change in _conditions(rooms, seed).items():
                heard = [to_samples(change(one)) for one in clean]
                counts = [sum(_hears(one, word, pair, scorers) for one in heard) for pair in PAIRS]
                print(_row(f"{name}{then}", counts), flush=True)
        print(flush=True)


def _followed(word: Said, people: People, rng: np.random.Generator) -> Signal:
    """Let a request follow a wake word as people let it: at once, or after up to 0.35 s."""
    entries = people.requests()
    request = people.say(entries[rng.integers(len(entries))])
    said = [at_level(word.signal[: word.end], RMS), np.zeros(samples_of(float(rng.uniform(0.0, 0.35))))]
    return _in_quiet(np.concatenate([*said, at_level(request.signal[request.start :], RMS)]))


def _conditions(rooms: Surroundings, seed: int) -> dict[str, Callable[[Signal], Signal]]:
    rng = np.random.default_rng(seed)

    def loud(clean: Signal) -> Signal:
        return clean + noise("pink", len(clean), rng) * RMS * 10.0 ** (-SNR_DB / 20.0)

    def echoing(clean: Signal) -> Signal:
        return at_level(rooms.echo(clean, rng)[0], RMS)

    def faint(clean: Signal) -> Signal:
        return clean * QUIET_RMS / RMS

    return {"clean": lambda clean: clean, "noise of 10 dB": loud, "a room's echo": echoing, "-50 dBFS": faint}


def _in_quiet(spoken: Signal) -> Signal:
    return np.concatenate([AROUND, spoken, AROUND])


def _others(folders: list[Path], scorers: dict[str, WakeScorer]) -> None:
    spoken = [sound for side in get_args(Side) for sound in sounds.load(folders, side, longest_s=86_400.0)]
    hours = sum(map(len, spoken)) / RATE_HZ / 3600
    print(f"{hours:.1f} h of other speech; it set off\n{_head()}")
    for word in BUNDLED_WORDS:
        pairs = [*PAIRS] if word in CONFIRMED_WORDS else [*PAIRS][:1]
        counts: list[object] = [
            sum(_detections(to_samples(_in_quiet(one * RMS)), word, pair, scorers) for one in spoken) for pair in pairs
        ]
        print(_row(word, counts), flush=True)


def _hears(samples: Samples, word: str, pair: str, scorers: dict[str, WakeScorer]) -> bool:
    return _detections(samples, word, pair, scorers) > 0


def _detections(samples: Samples, word: str, pair: str, scorers: dict[str, WakeScorer]) -> int:
    """How often the recorder takes something in a recording for the wake word."""
    pipeline = build.build_pipeline(_settings(word, PAIRS[pair]), scorers[word], gate=None)
    return sum(isinstance(event, Heard) for event in _events(pipeline, samples))


def _events(pipeline: build.Pipeline, samples: Samples) -> Iterator[object]:
    yield from pipeline.push(samples)
    yield from pipeline.finish("end-of-input")


def _settings(word: str, choices: dict[str, object]) -> Settings:
    settings = config.Settings()
    return msgspec.structs.replace(settings, wake=msgspec.structs.replace(settings.wake, words=(word,), **choices))


def _head() -> str:
    return _row("", list(PAIRS))


def _row(name: str, cells: list[object]) -> str:
    return f"  {name:30}" + "".join(f"  {cell!s:>{len(pair)}}" for cell, pair in zip(cells, PAIRS, strict=False))


if __name__ == "__main__":
    sys.exit(main())
