"""The shipped network's file: its weights, and beside them what they were made for and from."""

from __future__ import annotations

import json
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from device.errors import ModelError
from device.hearing import segment_inputs, segment_network
from device.hearing.noise import EDGES_HZ, QUIET_DB
from device.hearing.segment_network import Weights

SHIPPED = Path(__file__).parents[2] / "resources" / "segments.npz"


def input_form() -> dict[str, Any]:
    """Return the constants that weights are learnt with: with others they would mean something else."""
    return {
        "bands_hz": list(EDGES_HZ),
        "quiet_db": QUIET_DB,
        "frame_inputs": segment_inputs.FRAME_INPUTS,
        "embedding_inputs": segment_inputs.EMBEDDING_INPUTS,
        "ahead": segment_inputs.AHEAD,
        "before": segment_inputs.BEFORE,
        "word_frames": segment_inputs.WORD_FRAMES,
        "dilations": list(segment_network.DILATIONS),
        "kinds": ["nothing", "wake word", "request"],
    }


def load(path: Path) -> tuple[Weights, tuple[str, ...]]:
    """Read a network.

    Returns:
        Its weights, and the words that it knows, in the order of their rows.

    Raises:
        ModelError: the file is missing or damaged, or was made for another form of inputs.
    """
    try:
        with np.load(path, allow_pickle=False) as held:
            about = json.loads(str(held["about"]))
            arrays = {field.name: held[field.name].astype(np.float32) for field in fields(Weights)}
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} cannot be read: {error}", hint="install wakeword-recorder again") from error
    wanted = input_form()
    for name, value in wanted.items():
        if about["form"].get(name) != value:
            raise ModelError(
                f"{path} was learnt with {name} = {about['form'].get(name)}, not {value}",
                hint="install wakeword-recorder again, or learn it anew with scripts/train-segments",
            )
    return Weights(**arrays), tuple(about["words"])
