"""The rewriting itself: a program that reads openwakeword's two models and writes the graph to its standard output.

``python rewriting.py MELSPECTROGRAM EMBEDDING``. A program of its own because the package ``onnx``, with what it
imports, takes 20 MB that the daemon would keep for ever. Models that it cannot rewrite are status 1 and one line on
standard error. It imports nothing of this project, so that it can be run by its path.

openwakeword runs its embedding network over a window of 76 rows every 8 rows. The network has no padding on its time
axis, and its time strides multiply to 8, so that all but the newest rows of every layer were computed before: each
convolution over three rows needs only the last two of its input kept. They become inputs and outputs of the graph.
Nothing else is changed but the order of two steps that give the same in either.

Before it comes openwakeword's melspectrogram, as far as it counts: the Fourier bins that no band weighs, and the
samples that its window weighs zero, are left out. The factors, and the order of adding up, are the model's own. A fast
Fourier transform would cost the same, but where there is nothing but rounding in the bands (a constant, a low tone)
it rounds otherwise, and the scores would differ.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

ROWS = 8  # of 10 ms that a frame of 80 ms adds
BANDS = 32
ROW_SAMPLES = 160
WINDOW_START, WINDOW_SAMPLES = 57, 399  # of the 512 samples of a row, those that its window does not weigh zero
SPAN_SAMPLES = WINDOW_SAMPLES + (ROWS - 1) * ROW_SAMPLES  # the part of 480 + 1280 samples that a frame's rows depend on


def rewrite(melspectrogram: str, embedding: str) -> bytes:
    """Make the graph of ``feature_graph.load_graph`` from the files of openwakeword's two models.

    Raises:
        DecodeError, KeyError, ValueError, onnx.checker.ValidationError: they are not the models of openwakeword 0.4.0.
    """
    import onnx

    rows = _Rows(onnx.load(melspectrogram).graph)
    layers = _Layers(onnx.load(embedding).graph)
    graph = onnx.helper.make_graph(
        rows.nodes + layers.nodes,
        "features",
        rows.inputs + [_floats(name, shape) for name, shape in layers.states.items()],
        [
            _floats("features", ["frames", 96]),
            *(_floats(_next(name), shape) for name, shape in layers.states.items()),
        ],
        rows.constants + layers.constants,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _next(state: str) -> str:
    return state.replace("state", "next")


def _floats(name: str, shape: list[Any]) -> onnx.ValueInfoProto:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _tensors(graph: onnx.GraphProto) -> dict[str, Any]:
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


class _Rows:
    """From ``spans`` and ``heard`` to ``rows``, float32 (8 n, BANDS): openwakeword's melspectrogram, frame by frame."""

    def __init__(self, source: onnx.GraphProto) -> None:
        import numpy as np
        from onnx import TensorProto, helper, numpy_helper

        tensors = _tensors(source)
        bands = tensors["1.melW"]
        weighed = np.flatnonzero(bands.any(axis=1))
        bins = slice(weighed[0], weighed[-1] + 1)
        waves = np.concatenate([tensors[f"0.stft.conv_{part}.weight"][bins] for part in ("real", "imag")])
        window = slice(WINDOW_START, WINDOW_START + WINDOW_SAMPLES)
        if waves.shape[2] != 512 or np.count_nonzero(waves) != np.count_nonzero(waves[..., window]):
            raise ValueError("the melspectrogram's window is another one")
        self.inputs = [
            _floats("spans", ["frames", 1, 1, SPAN_SAMPLES]),
            helper.make_tensor_value_info("heard", TensorProto.BOOL, ["frames", ROWS, 1]),
        ]
        floats = {
            "waves": waves[:, :, None, window],
            "bands": bands[bins],
            "zero": 0,
            "one": 1,
            "two": 2,
            "ten": 10,
            "ln_ten": 2.3025851,
            "least_power": 1e-10,
            "range_db": 80,
        }
        integers = {"parts": [len(waves) // 2] * 2, "height": [2], "by_row": [-1, BANDS]}
        self.constants = [numpy_helper.from_array(np.ascontiguousarray(v, np.float32), k) for k, v in floats.items()]
        self.constants += [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in integers.items()]
        self.nodes = self._nodes()

    @staticmethod
    def _nodes() -> list[onnx.NodeProto]:
        from onnx import helper

        node = helper.make_node
        return [
            # In two dimensions, because onnxruntime has a faster kernel for that, which adds in the same order.
            node("Conv", ["spans", "waves"], ["spectrum"], strides=[1, ROW_SAMPLES], kernel_shape=[1, WINDOW_SAMPLES]),
            node("Mul", ["spectrum", "spectrum"], ["squares"]),
            node("Split", ["squares", "parts"], ["real", "imaginary"], axis=1),
            node("Add", ["real", "imaginary"], ["power_flat"]),
            node("Squeeze", ["power_flat", "height"], ["power_by_bin"]),
            node("Transpose", ["power_by_bin"], ["power"], perm=[0, 2, 1]),
            node("MatMul", ["power", "bands"], ["sounding"]),
            # What came before the stream is no sound, so that it cannot be the loudest.
            node("Where", ["heard", "sounding", "zero"], ["band_power"]),
            node("Clip", ["band_power", "least_power"], ["audible"]),
            node("Log", ["audible"], ["ln"]),
            node("Mul", ["ln", "ten"], ["ten_ln"]),
            node("Div", ["ten_ln", "ln_ten"], ["db"]),
            # openwakeword cuts what is 80 dB below the loudest of one call of its model, which is one frame.
            node("ReduceMax", ["db"], ["loudest"], axes=[1, 2], keepdims=1),
            node("Sub", ["loudest", "range_db"], ["floor"]),
            node("Max", ["db", "floor"], ["cut"]),
            node("Div", ["cut", "ten"], ["tenth"]),
            node("Add", ["tenth", "two"], ["scaled"]),
            node("Where", ["heard", "scaled", "one"], ["rows_by_frame"]),
            node("Reshape", ["rows_by_frame", "by_row"], ["rows"]),
        ]


class _Layers:
    """From ``rows`` and the states to ``features`` and the next states: openwakeword's embedding network.

    ``states`` holds the shape of each by its name.
    """

    def __init__(self, source: onnx.GraphProto) -> None:
        import numpy as np
        from onnx import NodeProto, helper, numpy_helper

        tensors = _tensors(source)
        self.states: dict[str, list[int]] = {}
        self.nodes: list[onnx.NodeProto] = []
        self._lowest: dict[str, Any] = {}  # of a Clip, by the name of the constant it comes from
        width = BANDS
        for original in source.node:
            node = NodeProto()
            node.CopyFrom(original)
            match node.op_type:
                case "Pad":  # of the frequency axis; the first convolution does it instead
                    continue
                case "Reshape" if not self.states:
                    node = helper.make_node("Unsqueeze", ["rows", "leading"], node.output)
                case "Reshape":
                    self.nodes.append(helper.make_node("Squeeze", [node.input[0], "outer"], ["by_channel"]))
                    node = helper.make_node("Transpose", ["by_channel"], ["features"], perm=[1, 0])
                case "Max":
                    self._clip(node, tensors)
                case "MaxPool":
                    width //= 2
                    self._pool_before_clip(node)
                    continue
                case "Conv":
                    _, channels, rows, bands = tensors[node.input[1]].shape
                    if rows == 3:
                        self._keep_two_rows(node, [1, channels, 2, width])
                    if rows == bands == 3:
                        node.attribute.extend([helper.make_attribute("pads", [0, 1, 0, 1])])
                case "Relu" | "LeakyRelu" | "BatchNormalization":
                    pass
                case other:
                    raise ValueError(f"the embedding network has a layer {other!r}")
            self.nodes.append(node)
        used = {name for node in self.nodes for name in node.input}
        indices = {"leading": [0, 1], "outer": [0, 3], "time": [2], "last_two": [-2], "end": [2**31]}
        self.constants = [tensor for tensor in source.initializer if tensor.name in used]
        self.constants += [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in indices.items()]
        self.constants += [numpy_helper.from_array(v, f"lowest_{k}") for k, v in self._lowest.items()]
        if len(self.states) != 11:
            raise ValueError(f"the embedding network has {len(self.states)} convolutions over time instead of 11")

    def _keep_two_rows(self, convolution: onnx.NodeProto, shape: list[int]) -> None:
        from onnx import helper

        state = f"state_{len(self.states)}"
        longer = f"{state}_and_new"
        self.nodes.append(helper.make_node("Concat", [state, convolution.input[0]], [longer], axis=2))
        self.nodes.append(helper.make_node("Slice", [longer, "last_two", "end", "time"], [_next(state)]))
        convolution.input[0] = longer
        self.states[state] = shape

    def _clip(self, maximum: onnx.NodeProto, tensors: dict[str, Any]) -> None:
        """Make the greater of a layer and a constant a Clip: the same, and cheaper to run."""
        from onnx import helper

        (constant,) = (name for name in maximum.input if name in tensors)
        (layer,) = (name for name in maximum.input if name not in tensors)
        self._lowest[constant] = tensors[constant].reshape(())
        maximum.CopyFrom(helper.make_node("Clip", [layer, f"lowest_{constant}"], maximum.output))

    def _pool_before_clip(self, pool: onnx.NodeProto) -> None:
        """Put a pool before the Clip that it follows: the same, with less to clip and to bring into another layout."""
        clip = self.nodes[-1]
        if clip.op_type != "Clip" or clip.output[0] != pool.input[0]:
            raise ValueError("the embedding network pools something else than a clipped layer")
        layer, clipped, pooled = clip.input[0], clip.output[0], pool.output[0]
        pool.input[0], pool.output[0] = layer, clipped
        clip.input[0], clip.output[0] = clipped, pooled
        self.nodes.insert(-1, pool)


def main() -> int:
    """Rewrite the models named on the command line; return the exit status."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        sys.stdout.buffer.write(rewrite(*sys.argv[1:]))
    except (DecodeError, KeyError, OSError, ValueError, onnx.checker.ValidationError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
