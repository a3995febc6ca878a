"""A request that nobody meant: it goes, its wake word's sound stays if that is wanted, and `wake try` learns of it."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.broker import Broker, listening
from support.daemon import Device
from support.stores import bytes_of, drain, open_store, put

from device.edges.store import Store
from device.errors import RecorderError
from device.hil.recordings import load_recording
from device.tools import not_for_me

REQUEST = Path(__file__).parent / "fixtures" / "hey-jarvis-request.wav"
WAKE = np.arange(4_000, dtype=np.int16)
WAKE_BYTES = WAKE.astype("<i2").tobytes()


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path, keep_wake_sound=True) as store:
        yield store


def waiting(store: Store):
    return store.waiting()[0]


def test_the_wake_words_sound_waits_beside_its_request_and_goes_with_it(store, tmp_path):
    put(store, 1, wake_pcm=WAKE)
    assert store.wake_sound(waiting(store).id) == WAKE_BYTES
    (sent,) = drain(store)
    assert WAKE_BYTES not in sent.pcm
    store.flush()
    assert store.wake_sound(sent.tag.id) == b""
    assert WAKE_BYTES not in bytes_of(tmp_path)


def test_it_is_not_kept_unless_the_configuration_says_so(tmp_path):
    with open_store(tmp_path) as store:
        put(store, 1, wake_pcm=WAKE)
        assert store.wake_sound(waiting(store).id) == b""
    assert WAKE_BYTES not in bytes_of(tmp_path)


def test_it_counts_towards_what_may_wait(tmp_path):
    with open_store(tmp_path, keep_wake_sound=True, max_bytes=3 * 6_400 + 2 * 8_000) as store:
        for seed in range(3):
            dropped = put(store, seed, wake_pcm=WAKE).dropped
        assert len(dropped) == 1
        assert store.count() == 2


def test_the_request_goes_and_the_sound_stays_as_a_fixture_in_which_nothing_is_said(store, tmp_path):
    put(store, 1, wake_pcm=WAKE)
    path = not_for_me.refuse(store, waiting(store), tmp_path)
    assert store.waiting() == []
    recording = load_recording(path, path.with_suffix(".json"))
    assert (recording.truth.wake_word, recording.truth.requests) == ("hey_jarvis", ())
    np.testing.assert_array_equal(recording.samples, WAKE)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert not_for_me.sounds(tmp_path, "hey_jarvis") == [path]
    assert not_for_me.sounds(tmp_path, "alexa") == []


def test_unless_it_is_wanted_nothing_stays(store, tmp_path):
    put(store, 1, wake_pcm=WAKE)
    assert not_for_me.refuse(store, waiting(store), None) is None
    assert store.waiting() == []
    assert WAKE_BYTES not in bytes_of(tmp_path)


def test_a_request_stays_whose_sound_cannot_be_kept(store, tmp_path):
    put(store, 1, wake_pcm=WAKE)
    (tmp_path / "not-for-me").write_text("a file in the folder's place")
    with pytest.raises(RecorderError, match=r"cannot be written: .*; the request still waits"):
        not_for_me.refuse(store, waiting(store), tmp_path)
    assert store.count() == 1


def test_only_the_newest_sounds_are_kept(store, tmp_path, monkeypatch):
    monkeypatch.setattr(not_for_me, "MOST", 2)
    kept = []
    for seed in range(3):
        put(store, seed, wake_pcm=WAKE)
        kept.append(not_for_me.refuse(store, waiting(store), tmp_path))
    assert not_for_me.sounds(tmp_path, "hey_jarvis") == kept[1:]
    assert len(list((tmp_path / "not-for-me").iterdir())) == 4


@pytest.fixture
def device(tmp_path):
    """A device with a request that waits, and the sound of its wake word."""
    device = Device(tmp_path, wake="keep_sound = true\n")
    device.hear(REQUEST, arguments=("--drain-timeout", 0), status=69)
    return device


def request_id(device):
    return json.loads(device.call("outbox", "list", "--json").stdout)["id"]


def test_it_is_asked_whether_the_sound_is_to_be_kept_and_no_is_the_default(device, tmp_path):
    one = request_id(device)
    done = device.call("outbox", "not-for-me", one, input="\n")
    assert done.stderr.startswith("Keep the sound of the wake word on this device, for `wake try`? It is sent nowhere.")
    assert done.stdout == f"{one} deleted\n"
    assert not (tmp_path / "state" / "not-for-me").exists()
    assert device.call("outbox", "list").stdout == ""


def test_what_is_kept_is_the_word_as_it_was_heard_and_wake_try_takes_it_into_account(device, tmp_path):
    one = request_id(device)
    done = device.call("outbox", "not-for-me", one, input="yes\n")
    path = tmp_path / "state" / "not-for-me" / f"{one}.wav"
    assert done.stdout == f"{one} deleted; the sound of its wake word is kept in {path}\n"
    kept, whole = soundfile.read(path, dtype="int16")[0], soundfile.read(REQUEST, dtype="int16")[0]
    starts = np.flatnonzero(whole[: len(whole) - len(kept)] == kept[0])
    assert any(np.array_equal(whole[start : start + len(kept)], kept) for start in starts)
    tried = device.call("wake", "try", "hey_jarvis", "--input", REQUEST)
    score = float(re.search(r"1 sound that was not for the device: the highest score is (\d\.\d\d)", tried.stderr)[1])
    assert score > 0.5
    assert f"but what was not the word {score:.2f}: none tells them apart" in tried.stdout


def test_without_a_sound_nothing_is_asked(tmp_path):
    device = Device(tmp_path)
    device.hear(REQUEST, arguments=("--drain-timeout", 0), status=69)
    one = request_id(device)
    done = device.call("outbox", "not-for-me", one, stdin=subprocess.DEVNULL)
    assert (done.stdout, done.stderr) == (f"{one} deleted\n", "")


def test_a_keep_without_a_sound_says_what_that_takes(tmp_path):
    device = Device(tmp_path)
    device.hear(REQUEST, arguments=("--drain-timeout", 0), status=69)
    done = device.call("outbox", "not-for-me", request_id(device), "--keep")
    assert done.stderr == "its wake word has no sound to keep: that takes [wake] keep_sound = true\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("not-for-me",), "not-for-me takes the ids of requests; `wakeword-recorder outbox list` shows them"),
        (("not-for-me", "x"), "no waiting request has the id 'x'; nothing was deleted"),
        (("list", "--keep"), "--keep only goes with not-for-me"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(tmp_path, arguments, complaint):
    done = Device(tmp_path).call("outbox", *arguments)
    assert (done.returncode, done.stderr) == (2, f"error: {complaint}\n")


def test_the_sound_never_leaves_the_device(tmp_path):
    with Broker(tmp_path) as broker, listening(broker.port, "#") as listener:
        device = Device(tmp_path, broker.port, wake="keep_sound = true\n")
        device.hear(REQUEST)
        heard = listener.until_barrier(lambda: listener.publish("the/end", b""), "the/end")
    whole = soundfile.read(REQUEST, dtype="int16")[0]
    word = whole[int(1.0 * 16_000) : int(1.2 * 16_000)].astype("<i2").tobytes()
    assert all(word not in message.payload for message in heard)
