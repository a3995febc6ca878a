"""The unit's hardening proven not to break what it protects: the real parts run under the same restrictions."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.answering import Answering, Publisher, said
from support.broker import Broker, await_true
from support.daemon import Device
from support.fake_home_assistant import TOKEN, FakeHomeAssistant
from support.stores import open_store, put
from support.unit_sandbox import obstacle, sandboxed
from support.web import Page, Visitor

from device.daemon.control import Control
from device.daemon.masking import Masking
from device.hil.virtual import NAME, virtual_microphone

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "systemd" / "wakeword-recorder.service"
ANSWER = ROOT / "systemd" / "wakeword-recorder-answer.service"
WEB = ROOT / "systemd" / "wakeword-recorder-web.service"


def run(code, writable, **settings):
    command = sandboxed(UNIT, [sys.executable, "-c", code], writable)
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, **settings)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", "PermissionError"),
        ("import os; os.chown('.', 0, 0)", "PermissionError"),
        ("import os; os.nice(1)", "PermissionError"),
        ("import time; time.clock_settime(time.CLOCK_REALTIME, time.time())", "PermissionError"),
        pytest.param(
            "open('outside', 'w')",
            "Read-only file system",
            marks=pytest.mark.skipif(bool(obstacle()), reason=obstacle()),
        ),
    ],
)
def test_the_restrictions_are_there(tmp_path, code, error):
    assert error in run(code, tmp_path).stderr


def test_the_microphone_is_heard_under_the_unit_s_restrictions(tmp_path):
    noise = np.random.default_rng(2).integers(-9000, 9000, 16_000).astype(np.int16)
    with virtual_microphone() as room:
        probe = subprocess.Popen(
            sandboxed(UNIT, [sys.executable, str(ROOT / "tests/support/microphone_probe.py"), NAME, "1"], tmp_path),
            env=room.env | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert json.loads(probe.stdout.readline())["state"] == "listening"
        room.play_samples(noise)
        probe.stdin.write("hear 3000\n")
        probe.stdin.flush()
        assert json.loads(probe.stdout.readline())["event"] == "hear"
        probe.communicate(f"save {tmp_path / 'heard.npy'}\n", timeout=20)
    assert probe.returncode == 0
    heard = np.load(tmp_path / "heard.npy")
    first = np.flatnonzero(heard)[0]
    np.testing.assert_array_equal(heard[first : first + len(noise) - 100], noise[:-100])


def test_models_the_database_and_the_network_work_under_the_unit_s_restrictions(tmp_path):
    models = Path(importlib.util.find_spec("openwakeword").origin).parent / "resources" / "models"
    done = run(
        f"""
import socket, sqlite3, sys
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1  # more would be pinned to cores, which the filter forbids
session = onnxruntime.InferenceSession({str(models / "melspectrogram.onnx")!r}, options)
session.run(None, {{session.get_inputs()[0].name: numpy.zeros((1, 1760), numpy.float32)}})
database = sqlite3.connect({str(tmp_path / "state.db")!r})
database.execute("PRAGMA journal_mode=WAL")
database.execute("PRAGMA synchronous=FULL")
database.execute("CREATE TABLE request (pcm BLOB)")
database.commit()
database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
    socket.getaddrinfo("localhost", 1883)
print(open("/proc/sys/kernel/random/boot_id").read())
""",
        tmp_path,
        timeout=60,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / ".cache").exists()  # onnxruntime's telemetry would keep its device id there


@pytest.mark.parametrize("cache", ["cache", "nowhere/cache"])
def test_the_feature_graph_is_made_under_the_unit_s_restrictions(tmp_path, cache):
    """Even where the cache folder cannot be written; the rewriting is a process of its own."""
    (tmp_path / "nowhere").write_text("")  # a file in the way
    done = run(
        f"""
from pathlib import Path
from device.edges.wakeword import load_scorer
print(load_scorer(["alexa"], engine="streaming", cache_dir=Path({str(tmp_path / cache)!r})).words)
""",
        tmp_path,
        timeout=60,
        env=os.environ | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stdout) == (0, "('alexa',)\n"), done.stderr


def test_code_is_given_back_under_the_unit_s_restrictions(tmp_path):
    done = run(
        """
from pathlib import Path
from device.edges.memory import release_code
resident = lambda: int(Path("/proc/self/statm").read_text().split()[2])
before = resident()
release_code()
print(resident() < 0.8 * before)
""",
        tmp_path,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_a_request_is_answered_under_the_restrictions_of_the_answers_unit(tmp_path):
    """With the rest of the recorder's state folder read-only, as there; the recorder is told of a hook's sound."""
    own = tmp_path / "state" / "answer"
    own.mkdir(parents=True)
    (tmp_path / "token").write_text(TOKEN)
    with FakeHomeAssistant() as home, Broker(tmp_path) as broker:
        answer = f'home_assistant = "{home.url}"\ntoken_file = "{tmp_path / "token"}"'
        command = Answering(
            tmp_path, broker.port, answer, within=lambda line: sandboxed(ANSWER, line, own),
            hooks='on_answer = ["true"]\nmask_s = 0.5',
        )  # fmt: skip
        marks, masking = [], Masking()
        masking.mark = marks.append
        recorder = Control(tmp_path / "state", press=lambda: None, masking=masking, status=dict)
        recorder.start()
        with command, Publisher(broker.port) as device:
            tag = device.say(said())
            assert command.await_event("answered")["id"] == tag.id
            await_true(lambda: marks, "the recorder is told")
            assert command.stop() == 0
        recorder.stop()
    assert (own / "answered").read_text() == f"{tag.id}\n"


def test_the_page_works_under_the_restrictions_of_its_unit(tmp_path):
    """Without a network of its own: what it answers goes over the socket that it was handed."""
    state = tmp_path / "state"
    with open_store(state) as store:
        tag = put(store).tag
        with Page(Device(tmp_path), within=lambda line: sandboxed(WEB, line, state)) as page:
            visitor = Visitor(page)
            assert visitor.get(f"/waiting/{tag.id}.wav").body[:4] == b"RIFF"
            assert "Chosen today" in visitor.press("/opt-out").said()
            visitor.press("/delete-all")
        assert (store.review().opt_out, store.count()) == (True, 0)
