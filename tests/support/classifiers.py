"""Tiny models of the shape of openwakeword's classifiers, made to score as a test wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

FEATURES = 96
WINDOW = 16


def write_classifier(
    path: Path, *, weights: float | npt.NDArray[np.float64] = 1.0, bias: float = 0.0, end: str = "Sigmoid"
) -> Path:
    """Write a model whose score is made of the mean of its window's features.

    Args:
        path: the file.
        weights: of the features; one number: of each.
        bias: is added to their sum.
        end: the operator that makes a score of it: ``Sigmoid``, ``Identity`` or ``Log``.
    """
    column = (np.zeros((FEATURES, 1)) + np.reshape(weights, (-1, 1))).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["sum"]),
        helper.make_node("Add", ["sum", "bias"], ["logit"]),
        helper.make_node(end, ["logit"], ["score"]),
    ]
    constants = [
        numpy_helper.from_array(column, "weights"),
        numpy_helper.from_array(np.array([bias], np.float32), "bias"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, WINDOW, FEATURES])]
    outputs = [helper.make_tensor_value_info("score", TensorProto.FLOAT, [1, 1])]
    graph = helper.make_graph(nodes, "classifier", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path
