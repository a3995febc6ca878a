"""The daemon starts lean: what it does not use at the time, it does not import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.daemon import Device

FIXTURES = Path(__file__).parent / "fixtures"
RUN = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules))))
from device.__main__ import main
main(sys.argv[1:])
"""
UNUSED = {
    *("aiohttp", "amqtt", "asyncio", "google.protobuf", "matplotlib"),  # heavy
    *("onnx", "openwakeword", "rich", "scipy", "sklearn"),
    *("importlib.metadata", "numpy.random", "webrtcvad"),  # what looking up a version, or drawing at random, brings
    *(
        "device.tools.checks",
        "device.tools.receiver",
        "device.edges.flac",
        "device.edges.mqtt.subscriber",
        "device.answering",
        "device.edges.home_assistant",
        "device.edges.wyoming",
        "device.tools.answerer",
        "device.build_answer",
        "device.page",
        "device.edges.web",
        "device.tools.privacy",
        "device.build_web",
        "starlette",
        "uvicorn",
    ),  # other commands'
}


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    return Device(tmp_path_factory.mktemp("device"))


def imported_by_a_run(device):
    arguments = device.command("run", "--input", FIXTURES / "quiet-room.wav", "--pace", "fast")[1:]
    command = [sys.executable, "-c", RUN, *arguments]
    done = subprocess.run(command, env=device.env, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.fixture(scope="module")
def imported_at_first(device):
    return imported_by_a_run(device)


@pytest.fixture(scope="module")
def imported(device, imported_at_first):
    return imported_by_a_run(device)


def test_the_very_first_daemon_lets_another_process_make_the_graph(imported_at_first):
    assert "subprocess" in imported_at_first
    assert imported_at_first & UNUSED == set()


def test_a_daemon_with_a_warm_cache_has_loaded_nothing_that_it_does_not_use(imported):
    assert imported & UNUSED == set()
    assert {"onnxruntime", "_webrtcvad", "paho.mqtt.client", "soundfile"} <= imported


def test_a_recording_is_heard_without_portaudio_and_16_khz_without_a_resampler(imported):
    assert imported & {"sounddevice", "soxr"} == set()


def test_numpy_starts_no_threads_of_its_own():
    program = "import os, device.cli.run, numpy; print(len(os.listdir('/proc/self/task')))"
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == "1\n"
