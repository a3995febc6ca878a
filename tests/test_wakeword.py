"""Finding the models, what is said when they are not usable, and the engine that is openwakeword itself."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from openwakeword.model import Model

from device.edges.wakeword import ENGINES, load_scorer
from device.edges.wakeword.words import model_folder
from device.errors import ModelError
from device.hearing.frames import FRAME_SAMPLES
from device.hearing.words import BUNDLED_WORDS

RNG = np.random.default_rng(5)


def noise(frames: int) -> np.ndarray:
    return RNG.normal(0, 3000, (frames, FRAME_SAMPLES)).astype(np.int16)


def classifier(path, input_shape, output_shape) -> str:
    """Write a model that sums up its window, whatever its shape, as the score."""
    nodes = [helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0)]
    nodes += [helper.make_node("Expand", ["sum", "shape"], ["score"])]
    shape = helper.make_tensor("shape", TensorProto.INT64, [len(output_shape)], output_shape)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape)]
    outputs = [helper.make_tensor_value_info("score", TensorProto.FLOAT, output_shape)]
    graph = helper.make_graph(nodes, "classifier", inputs, outputs, [shape])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return str(path)


@pytest.fixture(params=ENGINES)
def engine(request) -> str:
    return request.param


def test_every_bundled_word_loads_and_scores_come_in_the_words_order(engine):
    scorer = load_scorer(BUNDLED_WORDS, engine=engine, cache_dir=None)
    assert scorer.words == BUNDLED_WORDS
    scores = scorer.score(noise(7))
    assert scores.shape == (7, 4)
    assert scores.dtype == np.float32
    assert ((scores >= 0) & (scores <= 1)).all()


def test_no_frames_give_no_scores(engine):
    assert load_scorer(["alexa"], engine=engine, cache_dir=None).score(noise(0)).shape == (0, 1)


def test_a_path_is_a_word_named_by_the_files_stem(engine, tmp_path):
    path = tmp_path / "computer.onnx"
    shutil.copy(model_folder() / "alexa_v0.1.onnx", path)
    scorer = load_scorer([str(path), "hey_jarvis"], engine=engine, cache_dir=None)
    assert scorer.words == ("computer", "hey_jarvis")


def test_the_longest_window_decides_how_much_past_the_scores_depend_on(engine):
    assert load_scorer(["hey_jarvis"], engine=engine, cache_dir=None).context_frames == 25
    path = str(model_folder() / "weather_v0.1.onnx")
    assert load_scorer(["hey_jarvis", path], engine=engine, cache_dir=None).context_frames == 31


def test_an_unknown_word_lists_the_bundled_ones_and_the_closest(engine):
    with pytest.raises(ModelError) as caught:
        load_scorer(["hey_jarvis", "hey_marvim"], engine=engine, cache_dir=None)
    assert str(caught.value).startswith(
        "there is no wake word 'hey_marvim'; did you mean 'hey_marvin'? bundled are alexa"
    )
    assert caught.value.exit_status == 78


def test_no_word_at_all_is_an_error(engine):
    with pytest.raises(ModelError, match="no wake word is named"):
        load_scorer([], engine=engine, cache_dir=None)


def test_a_missing_file_is_named(engine, tmp_path):
    with pytest.raises(ModelError, match=f"no wake word model {tmp_path}/hey.onnx"):
        load_scorer([str(tmp_path / "hey.onnx")], engine=engine, cache_dir=None)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x08\x07" * 1000])
def test_a_file_that_is_no_model_is_named_in_one_line(engine, tmp_path, content):
    path = tmp_path / "hey.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load_scorer([str(path)], engine=engine, cache_dir=None)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_model_is_named(engine, tmp_path):
    path = tmp_path / "hey.onnx"
    path.write_bytes((model_folder() / "alexa_v0.1.onnx").read_bytes()[:400_000])
    with pytest.raises(ModelError, match=str(path)):
        load_scorer([str(path)], engine=engine, cache_dir=None)


@pytest.mark.parametrize(
    ("input_shape", "output_shape"),
    [
        ([1, 16, 95], [1, 1]),
        ([1, 0x7FFF, 96], [1, 1]),
        ([1, 16 * 96], [1, 1]),
        ([2, 16, 96], [1, 1]),
        ([1, 16, 96], [1, 2]),
        ([1, "time", 96], [1, 1]),
    ],
)
def test_a_model_of_another_shape_is_named_with_its_shape(engine, tmp_path, input_shape, output_shape):
    path = classifier(tmp_path / "odd.onnx", input_shape, output_shape)
    with pytest.raises(ModelError) as caught:
        load_scorer([path], engine=engine, cache_dir=None)
    assert path in str(caught.value)
    assert str(input_shape) in str(caught.value)
    assert str(output_shape) in str(caught.value)


def test_a_model_of_several_classes_is_named_with_its_shape(engine):
    with pytest.raises(ModelError, match=r"timer_v0\.1\.onnx.*\[1, 34, 96\].*\[1, 7\]"):
        load_scorer([str(model_folder() / "timer_v0.1.onnx")], engine=engine, cache_dir=None)


def test_a_model_that_fails_when_it_runs_is_named(engine, tmp_path):
    path = tmp_path / "failing.onnx"
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["score"])]
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1, 1])
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16, 96])]
    outputs = [helper.make_tensor_value_info("score", TensorProto.FLOAT, [1, 1])]
    graph = helper.make_graph(nodes, "failing", inputs, outputs, [shape])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    with pytest.raises(ModelError, match=str(path)):
        load_scorer([str(path)], engine=engine, cache_dir=None)


@pytest.mark.parametrize("words", [["alexa", "alexa"], ["alexa", "{}/alexa.onnx"], ["alexa", "{}/alexa_v0.1.onnx"]])
def test_two_words_of_one_name_are_refused(engine, tmp_path, words):
    for name in ("alexa.onnx", "alexa_v0.1.onnx"):
        shutil.copy(model_folder() / "alexa_v0.1.onnx", tmp_path / name)
    with pytest.raises(ModelError, match="named twice"):
        load_scorer([word.format(tmp_path) for word in words], engine=engine, cache_dir=None)


def test_an_engine_that_does_not_exist_is_refused():
    with pytest.raises(ModelError, match="'stream'; one of streaming, reference"):
        load_scorer(["alexa"], engine="stream", cache_dir=None)


@pytest.mark.filterwarnings("ignore:.*CUDAExecutionProvider:UserWarning")
def test_without_openwakewords_own_dependencies_the_reference_names_the_way_to_get_them(monkeypatch):
    """As scripts/setup installs it for the service, which only uses its files."""
    monkeypatch.setitem(sys.modules, "openwakeword.model", None)
    with pytest.raises(ModelError, match=r'engine = "reference" .*; scripts/setup --extras reference brings'):
        load_scorer(["alexa"], engine="reference", cache_dir=None)


def test_the_reference_gives_what_openwakewords_model_gives():
    scorer = load_scorer(["alexa", "hey_mycroft"], engine="reference", cache_dir=None)
    paths = [str(model_folder() / f"{word}_v0.1.onnx") for word in scorer.words]
    model = Model(wakeword_model_paths=paths)
    frames = noise(30)
    expected = [list(model.predict(frame).values()) for frame in frames]
    np.testing.assert_array_equal(scorer.score(frames), np.array(expected, np.float32))


def test_the_reference_is_as_new_after_a_reset():
    scorer = load_scorer(["hey_jarvis", "hey_marvin"], engine="reference", cache_dir=None)
    frames = noise(30)
    first = scorer.score(frames).copy()
    scorer.score(noise(9))
    scorer.reset()
    np.testing.assert_array_equal(scorer.score(frames), first)


def test_streaming_imports_neither_openwakeword_nor_what_comes_with_it_nor_onnx_once_the_cache_is_warm(tmp_path):
    load_scorer(["hey_jarvis"], engine="streaming", cache_dir=tmp_path)
    program = """
import sys, pathlib
from device.edges.wakeword import load_scorer
load_scorer(["hey_jarvis"], engine="streaming", cache_dir=pathlib.Path(sys.argv[1]))
print(*sorted({"openwakeword", "sklearn", "scipy", "onnx", "google", "tqdm", "requests"} & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_a_command_that_loads_no_model_does_not_import_onnxruntime():
    program = "import sys, device.edges.wakeword; print(*{'onnxruntime', 'onnx', 'openwakeword'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
