"""``scripts/bench-cutting``: how a corpus is cut, by noise and level, beside plain webrtcvad and Silero."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from device.edges.wakeword import load_scorer
from support.command_line import Parser, positive_number, whole_number
from support.cutting import Cut, Heard, Tally, cut_ours, cut_silero, cut_webrtcvad, hear_all, tally
from support.scenes import WORDS, sample_scenes
from support.speech import missing_synthesisers

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = "cut by     requests missing start-cut end-cut end-late wake-left  median excess: start   end"
ROW = "{:10} {:8d} {:7d} {:9d} {:7d} {:8d} {:9d}  {:20.3f} {:5.3f}"


def main(arguments: list[str] | None = None) -> int:
    """Print the table; return the exit status."""
    parser = Parser(prog="bench-cutting", description=__doc__.partition(": ")[2])
    parser.add_argument("--size", type=positive_number, default=500, help="how many recordings (default: 500)")
    parser.add_argument("--seed", type=whole_number, default=1, help="of the corpus (default: 1)")
    options = parser.parse_args(arguments)
    if missing := missing_synthesisers():
        print(f"bench-cutting: not installed: {', '.join(missing)}; apt-get install them", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        scorer = load_scorer(tuple(WORDS), engine="streaming", cache_dir=Path(folder))
        heard = list(hear_all(sample_scenes(options.size, options.seed), scorer))
    print(f"{options.size} recordings, {len(heard)} wake words detected, seed {options.seed}\n")
    cutters: dict[str, Callable[[Heard], Cut | None]] = {
        "ours": partial(cut_ours, scorer=scorer),
        "webrtcvad": cut_webrtcvad,
        "silero": cut_silero,
    }
    cuts = {name: [(one, cutter(one)) for one in heard] for name, cutter in cutters.items()}
    for noise, snr_db in sorted({(one.scene.noise, one.scene.snr_db) for one in heard}):
        _print(
            f"{noise}, {snr_db:g} dB",
            cuts,
            lambda one, cell=(noise, snr_db): (one.scene.noise, one.scene.snr_db) == cell,
        )
    _print("babble, 10 dB and more", cuts, lambda one: one.scene.noise == "babble" and one.scene.snr_db >= 10)
    _print("5 dB", cuts, lambda one: one.scene.snr_db < 10)
    _print("all other", cuts, lambda one: one.scene.noise != "babble" and one.scene.snr_db >= 10)
    return 0


def _print(title: str, cuts: dict[str, list[tuple[Heard, Cut | None]]], chosen: Callable[[Heard], bool]) -> None:
    print(f"{title}\n  {HEAD}")
    for name, pairs in cuts.items():
        counts: Tally = tally(pair for pair in pairs if chosen(pair[0]))
        print("  " + ROW.format(name, *astuple(counts)))
    print()


if __name__ == "__main__":
    sys.exit(main())
