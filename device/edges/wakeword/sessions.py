"""Opening models with onnxruntime, for one thread, and finding out whether a file is a wake word's classifier."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as _states

from device.edges.wakeword.formats import diagnosis
from device.errors import ModelError

_EXTERNAL = "its weights are in a file of their own (such as NAME.onnx.data), which must lie beside it, whole"
_PLACE = re.compile(
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .* failed:)?(/onnxruntime_src/.*\) (?=[A-Z]))?"
)

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
        reason = _reason(error)
        what, advice = _diagnosis(model) if isinstance(model, Path) else ("", "")
        advice = advice or (_EXTERNAL if "xternal" in reason else "is it damaged, or newer than this onnxruntime?")
        raise ModelError(f"{name} {what or f'is not a usable ONNX model: {reason}'}", hint=advice) from error


def _diagnosis(path: Path) -> tuple[str, str]:
    try:
        return diagnosis(path)
    except OSError as error:
        return f"cannot be read: {error.strerror}", "give it to the user who runs this"


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
        found = " and ".join(" + ".join(f"{value.type}{value.shape}" for value in side) for side in (inputs, outputs))
        kind = _kind(*shapes)
        raise ModelError(
            f"{path} is {kind or 'not a wake word model of openwakeword'}: its input and output are {found}",
            hint=f"the input must be [1, frames up to {LONGEST_WINDOW}, {FEATURES}], the output [1, 1], both floats",
        )
    window = int(shapes[0][0][1])
    try:
        session.run(None, {inputs[0].name: np.zeros((1, window, FEATURES), np.float32)})
    except LOAD_ERRORS as error:
        raise ModelError(f"{path} does not run: {_reason(error)}", hint="is it a model for openwakeword?") from error
    return session, window


def _kind(inputs: list[Any], outputs: list[Any]) -> str:
    """Return which other model of this field has such shapes; empty if none is known to."""
    match inputs, outputs:
        case [[[_, 76, 32, 1]], [[_, *_, 96]]]:
            return "the embedding model that all wake words share, not a wake word's"
        case [[[_, _]], [[*_, 32]]]:
            return "the melspectrogram model that all wake words share, not a wake word's"
        case [[_, [], [2, _, 64] | [2, _, 128], *_], _]:
            return "the Silero speech detector, not a wake word model"
        case [[[_, _, 96]], [[_, int(classes)]]] if classes > 1:
            return f"a model of openwakeword that tells {classes} phrases apart, not one wake word's"
        case [[[_, _, 40]], _]:
            return "a model of microWakeWord's features, not of openwakeword's"
    return ""


def _reason(error: Exception) -> str:
    """Return the first line of onnxruntime's reason without its own names and places, which help nobody here."""
    return _PLACE.sub("", str(error).splitlines()[0])
