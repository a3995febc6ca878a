"""``scripts/train-word-ends``: learn how each bundled wake word ends, from scenes that synthetic voices speak."""

from __future__ import annotations

import os
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

from device.core.frames import FRAME_SAMPLES, RATE_HZ, samples_of
from device.edges.wakeword import BUNDLED_WORDS
from device.edges.wakeword.word_end_model import FIRST, HIDDEN, LAST, WordEndModel
from device.edges.wakeword.word_ends import WEIGHTS
from support.command_line import Parser, positive_number, whole_number
from support.speech import missing_synthesisers
from support.word_end_scenes import hear, heard_voices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.word_end_scenes import Example

Row = npt.NDArray[np.floating]
Inputs = npt.NDArray[np.float32]

LEAST = 600  # detections: of fewer, some parts hold no request that follows at once
CHUNKS, HELD_OUT = 20, 2  # parts of the scenes, and those of them that nothing is learnt from
NEAR, FAR = 0.75, 1.5  # frames: the word ends at the frames as near as this, and not at those farther than this
AROUND = (-1, 0, 1)  # frames about the right one, in which the right one may be taken for another
JITTER_S = (-0.06, -0.03, 0.0, 0.03, 0.06)  # the end will not be told exactly
LEARNING = {
    "hidden_layer_sizes": (HIDDEN,),
    "batch_size": 512,
    "learning_rate_init": 1e-3,
    "max_iter": 30,
    "random_state": 0,
}
PLACE_DECAY, OFFSET_DECAY, FOLLOWED_DECAY = 1.0, 10.0, 0.5


def main(arguments: list[str] | None = None) -> int:
    """Train on drawn scenes, print how well others are told, write the weights; return the exit status."""
    parser = Parser(prog="train-word-ends", description=__doc__.partition(": ")[2])
    parser.add_argument(
        "--size", type=positive_number, default=6000, help="detections to learn each word from (default: 6000)"
    )
    parser.add_argument("--seed", type=whole_number, default=1, help="of the scenes (default: 1)")
    parser.add_argument("--jobs", type=positive_number, default=2, help="processes (default: 2)")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help=f"default: {WEIGHTS}")
    options = parser.parse_args(arguments)
    if options.size < LEAST:
        parser.error(f"argument --size: {options.size} is too few to learn from; {LEAST} or more")
    if not os.access(options.out.parent, os.W_OK) or options.out.is_dir():  # said before what takes an hour
        parser.error(f"argument --out: {options.out} cannot be written; name a file in a folder that can")
    if missing := missing_synthesisers():
        print(f"train-word-ends: not installed: {', '.join(missing)}; apt-get install them", file=sys.stderr)
        return 1
    rows = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for number, word in enumerate(BUNDLED_WORDS):
            voices = heard_voices(word)
            chunks = [(word, voices, [options.seed, number, chunk], options.size // CHUNKS) for chunk in range(CHUNKS)]
            parts = list(pool.map(hear, *zip(*chunks, strict=True)))
            rows.append(train([example for part in parts[HELD_OUT:] for example in part]))
            _tell(word, rows[-1], [example for part in parts[:HELD_OUT] for example in part])
    np.save(options.out, np.array(rows))
    return 0


def train(examples: Sequence[Example]) -> Row:
    """Return the weights of one word, float16, shape (WordEndModel.SIZE,)."""
    return np.concatenate([_place(examples), _offset(examples), _followed(examples)]).astype(np.float16)


def _place(examples: Sequence[Example]) -> Row:
    """Learn at which frame a word ends."""
    windows, off = [], []
    for example in examples:
        found, first = example.heard.candidates()
        windows.append(found)
        off.append(np.abs(example.end / FRAME_SAMPLES - (first + np.arange(len(found)))))
    inputs, far = np.concatenate(windows), np.concatenate(off)
    clear = (far < NEAR) | (far > FAR)
    return _network(MLPClassifier(alpha=PLACE_DECAY, **LEARNING), inputs[clear], far[clear] < NEAR)


def _offset(examples: Sequence[Example]) -> Row:
    """Learn how many frames from the end of a frame near it a word ends."""
    inputs, offsets = [], []
    for example in examples:
        for frame in (round(example.end / FRAME_SAMPLES) + number for number in AROUND):
            if FIRST <= frame <= LAST:
                inputs.append(example.heard.at(frame))
                offsets.append(example.end / FRAME_SAMPLES - frame)
    return _network(MLPRegressor(alpha=OFFSET_DECAY, **LEARNING), np.array(inputs), np.array(offsets))


def _followed(examples: Sequence[Example]) -> Row:
    """Learn whether more was said at once."""
    known = [example for example in examples if example.followed is not None]
    inputs = [example.heard.after(example.end + samples_of(jitter_s)) for example in known for jitter_s in JITTER_S]
    more = [example.followed for example in known for _ in JITTER_S]
    return _network(MLPClassifier(alpha=FOLLOWED_DECAY, **LEARNING), np.array(inputs), np.array(more))


def _network(model: MLPRegressor | MLPClassifier, inputs: Inputs, targets: npt.NDArray[np.generic]) -> Row:
    """Fit the model and return its weights as `Network` has them, of inputs as they are."""
    scale = StandardScaler().fit(inputs.astype(np.float64))
    scale.scale_ = np.maximum(scale.scale_, 1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it ends early: longer, it learnt the scenes by heart
        model.fit(scale.transform(inputs), targets)
    (hidden, output), (biases, bias) = model.coefs_, model.intercepts_
    hidden = hidden / scale.scale_[:, None]
    return np.concatenate([hidden.reshape(-1), biases - scale.mean_ @ hidden, output[:, 0], bias])


def _tell(word: str, row: Row, held_out: Sequence[Example]) -> None:
    """Print how well the tenth of the scenes is told that was not learnt from."""
    model = WordEndModel(row.astype(np.float32))
    told = [model.tell(example.heard, example.detection) for example in held_out]
    ends = [end.sample - one.detection.wake_sample - one.end for end, one in zip(told, held_out, strict=True)]
    off = np.array(ends) / RATE_HZ
    low, high = np.quantile(off, (0.005, 0.995))
    odds = {
        more: np.array([end.followed for end, one in zip(told, held_out, strict=True) if one.followed is more])
        for more in (False, True)
    }
    most, least = np.sort(odds[False])[-3:].round(1), np.sort(odds[True])[:3].round(1)
    print(
        f"{word}: {len(held_out)} held out, off by {off.std():.3f} s, 99 % within {low:+.3f} to {high:+.3f} s; "
        f"log odds of bare ones at most {most}, of followed ones at least {least}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
