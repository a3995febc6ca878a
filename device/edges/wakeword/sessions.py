"""Opening models with onnxruntime, for one thread, and telling whether a file is a wake word's classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as _states

from device.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

FEATURES = 96  # of openwakeword's embedding, for each frame
LONGEST_WINDOW = 116  # openwakeword starts with the features of 10 s of silence, which are this many

# Each is a class of its own under Exception: onnxruntime gives them no common one.
LOAD_ERRORS: tuple[type[Exception], ...] = (
    _states.EPFail,
    _states.Fail,
    _states.InvalidArgument,
    _states.InvalidGraph,
    _states.InvalidProtobuf,
    _states.NoSuchFile,
    _states.NotImplemented,
    _states.RuntimeException,
)


def open_model(model: Path | bytes, name: Path) -> onnxruntime.InferenceSession:
    """Open a model for one thread.

    Args:
        model: the file, or its bytes.
        name: the file to name in an error.

    Raises:
        ModelError: it is no model, or not one that onnxruntime can run.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong is raised; it need not be printed too
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except LOAD_ERRORS as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"{name} is not a usable ONNX model: {reason}", hint="is it damaged or not an .onnx?"
        ) from error


def open_classifier(path: Path) -> tuple[onnxruntime.InferenceSession, int]:
    """Open a wake word's classifier.

    Returns:
        The session, and the length of its window in frames.

    Raises:
        ModelError: it is no model, or its input or output has a shape that a classifier of openwakeword has not.
    """
    session = open_model(path, path)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shapes = [value.shape for value in inputs], [value.shape for value in outputs]
    match shapes:
        case ([[batch, int(window), int(features)]], [[scores_batch, 1]]):
            fits = features == FEATURES and 0 < window <= LONGEST_WINDOW
            fits = fits and all(size == 1 or not isinstance(size, int) for size in (batch, scores_batch))
        case _:
            fits = False
    if not fits or inputs[0].type != "tensor(float)":
        told = " and ".join(" + ".join(f"{value.type}{value.shape}" for value in side) for side in (inputs, outputs))
        raise ModelError(
            f"{path} is not a wake word model of openwakeword: its input and output are {told}",
            hint=f"the input must be [1, frames up to {LONGEST_WINDOW}, {FEATURES}], the output [1, 1], both floats",
        )
    window = int(shapes[0][0][1])
    try:
        session.run(None, {inputs[0].name: np.zeros((1, window, FEATURES), np.float32)})
    except LOAD_ERRORS as error:
        raise ModelError(f"{path} does not run: {_reason(error)}", hint="is it a model for openwakeword?") from error
    return session, window


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0]
