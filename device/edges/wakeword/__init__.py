"""The wake word models of openwakeword: found, checked and run, by its own code or by a cheaper one with its scores."""

import os

# Before anything imports onnxruntime: 1.32 otherwise makes a device id, notes each model and sends that to its maker.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from device.edges.wakeword.load import ENGINES, load_scorer

__all__ = ["ENGINES", "load_scorer"]
