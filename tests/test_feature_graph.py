"""The rewritten graph is made once, kept whole or not at all, and made anew when what is kept is not it."""

from __future__ import annotations

import hashlib
import logging
import shutil
import sys

import onnx
import pytest

from device.edges.wakeword import feature_graph
from device.edges.wakeword.feature_graph import load_graph
from device.edges.wakeword.words import model_folder
from device.errors import ModelError


@pytest.fixture(scope="module")
def folder():
    return model_folder()


@pytest.fixture(scope="module")
def graph(folder) -> bytes:
    return load_graph(folder, None)


def no_rewriting(*sources):
    raise AssertionError("it was rewritten")


def test_the_cache_is_made_once_and_read_from_then_on(folder, graph, tmp_path, monkeypatch):
    cache = tmp_path / "not" / "yet"
    assert load_graph(folder, cache) == graph
    (kept,) = cache.iterdir()
    monkeypatch.setattr(feature_graph, "rewrite", no_rewriting)
    assert load_graph(folder, cache) == graph
    assert list(cache.iterdir()) == [kept]


def test_the_caches_name_holds_the_sources_hash(folder, graph, tmp_path):
    sources = tmp_path / "models"
    sources.mkdir()
    for name in ("melspectrogram.onnx", "embedding_model.onnx"):
        shutil.copy(folder / name, sources)
    load_graph(sources, tmp_path / "cache")
    network = onnx.load(sources / "embedding_model.onnx")
    network.doc_string = "another file, the same network"
    onnx.save(network, sources / "embedding_model.onnx")
    load_graph(sources, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("damage", ["empty", "short", "flipped bit", "garbage"])
def test_a_damaged_cache_is_told_and_rebuilt(folder, graph, tmp_path, caplog, damage):
    load_graph(folder, tmp_path)
    (kept,) = tmp_path.iterdir()
    whole = kept.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    damaged = {"empty": b"", "short": whole[:-1], "flipped bit": bytes(flipped), "garbage": b"no graph" * 99}
    kept.write_bytes(damaged[damage])
    with caplog.at_level(logging.WARNING):
        assert load_graph(folder, tmp_path) == graph
    assert f"{kept} is damaged" in caplog.text
    assert kept.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [kept]


def test_a_cache_that_cannot_be_written_is_told_and_the_graph_made_in_memory(folder, graph, tmp_path, caplog):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with caplog.at_level(logging.WARNING):
        assert load_graph(folder, in_the_way / "cache") == graph
    assert "Not a directory" in caplog.text


def test_a_write_that_fails_leaves_nothing_behind(folder, graph, tmp_path, caplog):
    load_graph(folder, tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.unlink()
    kept.mkdir()  # nothing can be renamed to it
    with caplog.at_level(logging.WARNING):
        assert load_graph(folder, tmp_path) == graph
    assert "cannot write" in caplog.text
    assert list(tmp_path.iterdir()) == [kept]


def test_what_is_kept_is_the_graph_after_its_digest_for_every_user(folder, graph, tmp_path):
    load_graph(folder, tmp_path)
    (kept,) = tmp_path.iterdir()
    assert kept.read_bytes() == hashlib.sha256(graph).digest() + graph
    assert kept.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("cached", [True, False])
def test_a_missing_source_is_named(folder, tmp_path, cached):
    with pytest.raises(ModelError, match=r"melspectrogram\.onnx"):
        load_graph(tmp_path, tmp_path / "cache" if cached else None)


@pytest.mark.parametrize("network", ["alexa_v0.1.onnx", "melspectrogram.onnx", "silero_vad.onnx"])
def test_another_network_is_refused(folder, tmp_path, network):
    shutil.copy(folder / "melspectrogram.onnx", tmp_path)
    shutil.copy(folder / network, tmp_path / "embedding_model.onnx")
    with pytest.raises(ModelError, match=r"cannot be rewritten.*install openwakeword==0\.4\.0"):
        load_graph(tmp_path, None)


def test_a_source_that_is_no_model_is_refused(folder, tmp_path):
    shutil.copy(folder / "embedding_model.onnx", tmp_path)
    (tmp_path / "melspectrogram.onnx").write_bytes(b"garbage")
    with pytest.raises(ModelError, match="cannot be rewritten"):
        load_graph(tmp_path, None)


def test_a_rewriting_that_cannot_begin_or_dies_is_told(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ModelError, match=r"cannot be rewritten.*No such file.*install openwakeword==0\.4\.0"):
        load_graph(folder, None)
    (tmp_path / "python").write_text("#!/bin/sh\nkill -9 $$\n")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(ModelError, match=r"the process ended with -9"):
        load_graph(folder, None)


def test_a_rewriting_that_hangs_is_ended_and_told(folder, tmp_path, monkeypatch):
    (tmp_path / "python").write_text("#!/bin/sh\nexec sleep 600\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(feature_graph, "REWRITING_LIMIT_S", 0.2)
    with pytest.raises(ModelError, match=r"cannot be rewritten.*timed out"):
        load_graph(folder, None)


def test_no_weight_is_changed(folder, graph):
    """Every factor of the rewritten embedding is one of the installed file's, to the bit."""
    ours = {tensor.name: tensor for tensor in onnx.load_from_string(graph).graph.initializer}
    theirs = onnx.load(folder / "embedding_model.onnx").graph.initializer
    weights = [tensor for tensor in theirs if len(tensor.dims) == 4 and tensor.name != "const_fold_opt__286"]
    assert len(weights) == 20
    for tensor in weights:
        assert ours[tensor.name].SerializeToString() == tensor.SerializeToString()
