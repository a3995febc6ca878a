"""The features of a stream: openwakeword's embeddings, made with each layer's past kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from onnxruntime import OrtValue

from device.edges.wakeword.rewriting import ROW_SAMPLES, ROWS, SPAN_SAMPLES, WINDOW_START
from device.edges.wakeword.sessions import FEATURES
from device.hearing.frames import FRAME_SAMPLES

if TYPE_CHECKING:
    import numpy.typing as npt
    from onnxruntime import InferenceSession

    from device.hearing.frames import Samples

BEFORE_SAMPLES = 3 * ROW_SAMPLES  # a frame's first row begins this long before it
SETTLING_CALLS = 5  # of two frames: 80 rows, at least the 76 that a feature sees
BATCH_FRAMES = 4  # in one run of the graph, at most: 8 would cost 7 % less CPU a frame, and keep 0.7 MB for ever


class FeatureGraph:
    """The graph of ``feature_graph.load_graph``, and the state in which every stream begins.

    Args:
        session: the graph.

    Attributes:
        silence: float32, shape (FEATURES,), the features of digital silence: what a stream's past is made of.
    """

    def __init__(self, session: InferenceSession) -> None:
        self.session = session
        shapes = {value.name: value.shape for value in session.get_inputs() if value.name.startswith("state_")}
        states = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        # By two, as most of a stream: what ten at once need, onnxruntime would keep for ever (2 MB).
        call = _Call(session, states, 2)
        for _ in range(SETTLING_CALLS):
            call.run()
        self.silence = call.features[-1].copy()
        call.heard[:] = False
        for _ in range(SETTLING_CALLS):
            call.run()
        self.first_states = states

    def stream(self) -> FeatureStream:
        """Begin a stream."""
        return FeatureStream(self)


class FeatureStream:
    """The features of consecutive frames of one stream.

    Args:
        graph: what makes them.
    """

    def __init__(self, graph: FeatureGraph) -> None:
        self._session = graph.session
        self._first_states = graph.first_states
        self._states = {name: state.copy() for name, state in graph.first_states.items()}
        self._before = np.zeros(BEFORE_SAMPLES, np.int16)
        self._calls: dict[int, _Call] = {}
        self._at_start = True  # what _before holds then is not heard

    def reset(self) -> None:
        """Forget everything: the next frame is the first of a stream."""
        for name, state in self._states.items():
            state[:] = self._first_states[name]
        self._at_start = True

    def push(self, frames: Samples) -> npt.NDArray[np.float32]:
        """Return the features of frames that follow those of the call before.

        Args:
            frames: int16, shape (n, FRAME_SAMPLES).

        Returns:
            float32, shape (n, 96), valid until the next call.
        """
        call = self._calls.get(len(frames))
        if call is None:
            call = self._calls[len(frames)] = _Call(self._session, self._states, len(frames))
        call.samples[:BEFORE_SAMPLES] = self._before
        call.samples[BEFORE_SAMPLES:] = frames.reshape(-1)
        self._before[:] = call.samples[-BEFORE_SAMPLES:]
        if self._at_start:
            call.heard[0, : BEFORE_SAMPLES // ROW_SAMPLES] = False
        call.run()
        if self._at_start:
            call.heard[:] = True
            self._at_start = False
        return call.features

    def features(self, frames: Samples) -> npt.NDArray[np.float32]:
        """Return the features of any number of frames that follow, int16, shape (n, FRAME_SAMPLES): shape (n, 96)."""
        batches = range(0, len(frames), BATCH_FRAMES)
        return np.concatenate([self.push(frames[start : start + BATCH_FRAMES]).copy() for start in batches])


class _Call:
    """The buffers of one call of the graph with a fixed number of frames, bound once."""

    def __init__(self, session: InferenceSession, states: dict[str, npt.NDArray[np.float32]], frames: int) -> None:
        self.samples = np.zeros(BEFORE_SAMPLES + frames * FRAME_SAMPLES, np.int16)
        self.heard = np.ones((frames, ROWS, 1), np.bool_)
        self.features = np.empty((frames, FEATURES), np.float32)
        self._spans = np.empty((frames, 1, 1, SPAN_SAMPLES), np.float32)
        self._windows = sliding_window_view(self.samples[WINDOW_START:], SPAN_SAMPLES)[::FRAME_SAMPLES]
        self._session = session
        self._binding = session.io_binding()
        self._bind_input("spans", self._spans)
        self._bind_input("heard", self.heard)
        self._binding.bind_ortvalue_output("features", OrtValue.ortvalue_from_numpy(self.features))
        for name, state in states.items():
            # In place: the graph cuts a layer's next state out of a copy of the old one and the new rows.
            self._bind_input(name, state)
            value = OrtValue.ortvalue_from_numpy(state)
            self._binding.bind_ortvalue_output(name.replace("state", "next"), value)

    def _bind_input(self, name: str, array: npt.NDArray[np.generic]) -> None:
        self._binding.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(array))

    def run(self) -> None:
        """Compute ``features`` and the next states from ``samples`` and ``heard``."""
        np.copyto(self._spans[:, 0, 0], self._windows)
        self._session.run_with_iobinding(self._binding)
