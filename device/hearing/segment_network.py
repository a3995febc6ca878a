"""A small network of dilated convolutions: which 20 ms belong to the wake word, which to the request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

NOTHING, WAKE_WORD, REQUEST = range(3)  # what a frame may be part of
KINDS = 3
DILATIONS = (1, 2, 4, 8, 16, 1, 2)
REACH = sum(DILATIONS)  # frames on either side that a frame's chances depend on


@dataclass(frozen=True, slots=True)
class Weights:
    """All weights, float32; a layer's weights multiply rows of inputs from the right.

    Attributes:
        embedding: shape (EMBEDDING_INPUTS, e); ``embedding_bias``, shape (e,).
        words: shape (words + 1, w): what is known of each word, the last row being for all other ones.
        first: shape (FRAME_INPUTS + e + w, c); ``first_bias``, shape (c,).
        layers: shape (len(DILATIONS), 3 * c, c), for a frame before, the frame, a frame after; ``layer_biases``,
            shape (len(DILATIONS), c).
        last: shape (c, KINDS); ``last_bias``, shape (KINDS,).
    """

    embedding: Array
    embedding_bias: Array
    words: Array
    first: Array
    first_bias: Array
    layers: Array
    layer_biases: Array
    last: Array
    last_bias: Array


def chances(weights: Weights, word: int, frames: Array, embeddings: Array) -> Array:
    """Say what consecutive frames are part of.

    Args:
        weights: the network's.
        word: the wake word's row in ``weights.words``.
        frames: float32, shape (n, FRAME_INPUTS).
        embeddings: float32, shape (n, EMBEDDING_INPUTS).

    Returns:
        float32, shape (n, KINDS), the probability of each kind; what lies beyond both ends counts as zeros.
    """
    known = np.broadcast_to(weights.words[word], (len(frames), weights.words.shape[1]))
    projected = embeddings @ weights.embedding + weights.embedding_bias
    hidden = np.maximum(np.hstack([frames, projected, known]) @ weights.first + weights.first_bias, 0.0)
    for layer, bias, dilation in zip(weights.layers, weights.layer_biases, DILATIONS, strict=True):
        hidden = hidden + np.maximum(_around(hidden, dilation) @ layer + bias, 0.0)
    logits = hidden @ weights.last + weights.last_bias
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Array = odds / odds.sum(axis=1, keepdims=True)
    return shares


def _around(rows: Array, distance: int) -> Array:
    """Return each row with the ones ``distance`` before and after it on either side, zeros beyond the ends."""
    padded = np.pad(rows, ((distance, distance), (0, 0)))
    return np.hstack([padded[: len(rows)], rows, padded[2 * distance :]])
