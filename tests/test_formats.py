"""What is said of a file that is no wake word model: what it is instead, and what to do."""

from __future__ import annotations

import gzip
import importlib.util
import pickle
import re
import shutil
import zipfile
from pathlib import Path

import onnx
import pytest
from sklearn.linear_model import LogisticRegression

from device.edges.wakeword.sessions import open_classifier
from device.edges.wakeword.words import model_folder
from device.errors import ModelError

ALEXA = (model_folder() / "alexa_v0.1.onnx").read_bytes()
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 854246\n"
TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."  # how PyTorch before 1.6 began a file


def complaint(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        open_classifier(path)
    text = str(caught.value)
    assert text.startswith(f"{path} ")
    assert "\n" not in text
    assert "; " in text  # what to do
    return text


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (bytes(5000), "holds only zeros"),
        (POINTER, "a Git LFS pointer.*git lfs pull"),
        (b"\n\n<!DOCTYPE html>\n<html>", "a web page.*Download raw file"),
        (b'\xef\xbb\xbf<html lang="en">', "a web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML or JSON"),
        (b'{"error": "rate limited"}', "XML or JSON"),
        (b"404: Not Found\n", "is text"),
        ("keine Datei für Sie".encode("utf-16"), "is text"),
        (gzip.compress(ALEXA), "a gzip archive; unpack it"),
        (b"PK\x03\x04" + bytes(40), "a damaged one"),
        (b"RIFF\x24\0\0\0WAVE", "a sound"),
        (pickle.dumps({"a": 1}), "a Python pickle"),
        (pickle.dumps(LogisticRegression()), "scikit-learn, as openWakeWord's custom verifier"),
        (TORCH, "a PyTorch file"),
        (ALEXA[:1], "is cut off: 1 bytes"),
        (ALEXA[:3], "is cut off"),
        (ALEXA[:400_000], "is cut off: 400000 bytes, and at least 4542.. are missing"),
        (ALEXA[:-100], "is cut off"),
        (bytes(range(256)) * 9, "is not a usable ONNX model: Protobuf parsing failed"),
        (b"\x08\x07" * 1000, "is not a usable ONNX model: No graph"),
    ],
)
def test_it_is_told_from_its_bytes_whatever_its_name_says(tmp_path, content, what):
    path = tmp_path / "computer.onnx"
    path.write_bytes(content)
    text = complaint(path)
    assert re.search(what, text), text


def test_a_model_of_microwakewords_is_named_and_the_onnx_beside_it_pointed_to(tmp_path):
    spec = importlib.util.find_spec("pymicro_wakeword")
    shutil.copy(next(Path(spec.origin).parent.glob("models/*.tflite")), tmp_path / "alexa.tflite")
    assert "is a TensorFlow Lite model (.tflite)" in complaint(tmp_path / "alexa.tflite")
    (tmp_path / "alexa.onnx").write_bytes(ALEXA)
    assert f"{tmp_path}/alexa.onnx beside it may be it" in complaint(tmp_path / "alexa.tflite")


@pytest.mark.parametrize(
    ("entry", "what"),
    [("archive/data.pkl", "a PyTorch file"), ("m/computer.onnx", "with 'm/computer.onnx' in it"), ("x", "without")],
)
def test_an_archive_is_named_by_what_is_in_it(tmp_path, entry, what):
    with zipfile.ZipFile(tmp_path / "computer.onnx", "w") as archive:
        archive.writestr(entry, "x")
    assert what in complaint(tmp_path / "computer.onnx")


def test_a_pickle_is_never_loaded(tmp_path):
    class Touch:
        def __reduce__(self):
            return Path.touch, (tmp_path / "run",)

    (tmp_path / "x.onnx").write_bytes(pickle.dumps(Touch()))
    complaint(tmp_path / "x.onnx")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("embedding_model", "the embedding model that all wake words share"),
        ("melspectrogram", "the melspectrogram model that all wake words share"),
        ("silero_vad", "the Silero speech detector"),
        ("timer_v0.1", "tells 7 phrases apart"),
    ],
)
def test_the_other_models_of_this_field_are_known(name, what):
    assert what in complaint(model_folder() / f"{name}.onnx")


def test_weights_that_are_missing_beside_the_model_are_named(tmp_path):
    model = onnx.load_from_string(ALEXA)
    onnx.save(model, tmp_path / "x.onnx", save_as_external_data=True, location="x.onnx.data", size_threshold=100)
    open_classifier(tmp_path / "x.onnx")
    (tmp_path / "x.onnx.data").unlink()
    assert "in a file of their own (such as NAME.onnx.data)" in complaint(tmp_path / "x.onnx")


def test_a_model_of_a_later_format_is_named_without_the_places_in_onnxruntime(tmp_path):
    model = onnx.load_from_string(ALEXA)
    model.ir_version = 99
    (tmp_path / "x.onnx").write_bytes(model.SerializeToString())
    assert "model: Unsupported model IR version: 99, max" in complaint(tmp_path / "x.onnx")
