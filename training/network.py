"""The network of `device.hearing.segment_network` as PyTorch learns it, and its way into the shipped file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from device.hearing.segment_inputs import EMBEDDING_INPUTS, FRAME_INPUTS
from device.hearing.segment_network import DILATIONS, KINDS, Weights
from training.examples import inputs_of
from training.scenes import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from training.examples import Example

CHANNELS, TOLD, KNOWN = 48, 24, 8  # of a layer; made of an embedding; known of a word
EPOCHS, BATCH, FRAMES = 14, 16, 330
RATE, DECAY, SMOOTHED = 2e-3, 1e-2, 0.02
CUT_SHORT, LATE, FORGOTTEN = 0.6, 0.25, 0.3
LATEST = 10
_WEIGHT = (1.0, 1.5, 1.0)  # of the kinds: the wake word's frames are few


class Network(nn.Module):
    """See `device.hearing.segment_network.chances`.

    Args:
        words: how many words it knows; there is one more row for all others.
    """

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(EMBEDDING_INPUTS, TOLD)
        self.words = nn.Embedding(words + 1, KNOWN)
        self.first = nn.Linear(FRAME_INPUTS + TOLD + KNOWN, CHANNELS)
        self.layers = nn.ModuleList(nn.Conv1d(CHANNELS, CHANNELS, 3, padding=one, dilation=one) for one in DILATIONS)
        self.last = nn.Linear(CHANNELS, KINDS)

    def forward(self, frames: torch.Tensor, embeddings: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (batch, n, KINDS)."""
        known = self.words(words)[:, None].expand(-1, frames.shape[1], -1)
        hidden = torch.relu(self.first(torch.cat([frames, self.embedding(embeddings), known], 2))).transpose(1, 2)
        for layer in self.layers:
            hidden = hidden + torch.relu(layer(hidden))
        logits: torch.Tensor = self.last(hidden.transpose(1, 2))
        return logits

    def weights(self) -> Weights:
        """Return what was learnt."""
        layers = [layer.weight.detach().numpy().transpose(2, 1, 0) for layer in self.layers]
        biases = [layer.bias.detach().numpy() for layer in self.layers]
        return Weights(
            embedding=_rows(self.embedding), embedding_bias=_bias(self.embedding),
            words=self.words.weight.detach().numpy(),
            first=_rows(self.first), first_bias=_bias(self.first),
            layers=np.array([layer.reshape(-1, CHANNELS) for layer in layers]), layer_biases=np.array(biases),
            last=_rows(self.last), last_bias=_bias(self.last),
        )  # fmt: skip


def learn(examples: Sequence[Example], words: Sequence[str], seed: int, epochs: int = EPOCHS) -> Network:
    """Learn from detections; prints each epoch's mean loss.

    Args:
        examples: at least ``BATCH`` of them.
        words: those to tell apart; all others count as one.
        seed: of the first weights and of everything drawn.
        epochs: how often all are seen.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = Network(len(words))
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=epochs * (len(examples) // BATCH))
    for epoch in range(epochs):
        losses = []
        for frames, embeddings, kinds, named in _batches(examples, words, rng):
            logits = network(frames, embeddings, named)
            loss = nn.functional.cross_entropy(
                logits.reshape(-1, KINDS), kinds.reshape(-1), torch.tensor(_WEIGHT), ignore_index=UNKNOWN,
                label_smoothing=SMOOTHED,
            )  # fmt: skip
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1} of {epochs}: loss {np.mean(losses):.4f}", flush=True)
    return network


def _batches(
    examples: Sequence[Example], words: Sequence[str], rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, ...]]:
    order = rng.permutation(len(examples))
    for start in range(0, len(order) - BATCH + 1, BATCH):
        rows = [_row(examples[number], words, rng) for number in order[start : start + BATCH]]
        yield tuple(torch.tensor(np.array(part)) for part in zip(*rows, strict=True))


def _row(
    example: Example, words: Sequence[str], rng: np.random.Generator
) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.generic], npt.NDArray[np.generic], int]:
    """Draw how much was heard so far, how late the word was detected, and whether it is one that is known."""
    after = len(example.levels) - example.fired
    heard = int(rng.integers(0, after + 1)) if rng.random() < CUT_SHORT else after
    late = int(rng.integers(-2, LATEST + 1)) if rng.random() < LATE else 0
    late = late if 0 < example.fired + late * 4 < len(example.levels) - 8 else 0
    frames, embeddings, kinds = inputs_of(example, heard, late)
    short = FRAMES - len(kinds)
    frames, embeddings = (np.pad(rows, ((0, max(short, 0)), (0, 0)))[:FRAMES] for rows in (frames, embeddings))
    kinds = np.pad(kinds, (0, max(short, 0)), constant_values=UNKNOWN)[:FRAMES]
    known = example.word in words and rng.random() >= FORGOTTEN
    return frames, embeddings, kinds, words.index(example.word) if known else len(words)


def _rows(layer: nn.Linear) -> npt.NDArray[np.float32]:
    rows: npt.NDArray[np.float32] = layer.weight.detach().numpy().T
    return rows


def _bias(layer: nn.Linear) -> npt.NDArray[np.float32]:
    bias: npt.NDArray[np.float32] = layer.bias.detach().numpy()
    return bias
