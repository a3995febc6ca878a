"""Writes a learnt network as the device reads it."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from device.edges.wakeword.segment_weights import input_form
from device.hearing.segment_network import Weights

if TYPE_CHECKING:
    from pathlib import Path


def save(path: Path, weights: Weights, words: tuple[str, ...], about: dict[str, Any]) -> None:
    """Write a network for `device.edges.wakeword.segment_weights.load`.

    Args:
        path: the file.
        weights: kept as float16.
        words: the words that it knows, in the order of their rows.
        about: what else is worth knowing of it: sources, sizes, seed, figures.
    """
    described = json.dumps({"words": list(words), "form": input_form(), **about})
    arrays = {field.name: getattr(weights, field.name).astype(np.float16) for field in fields(Weights)}
    np.savez_compressed(path, about=np.array(described), **arrays)
