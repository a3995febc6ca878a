"""The daemon end to end: the installed command, recordings or a virtual microphone, a real broker."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile
from support.broker import Broker, Listener
from support.daemon import PROGRAM, Daemon, Device
from support.recordings import write_sidecar
from support.scenes import Scene, Utterance, render
from support.speech import Voice, missing_synthesisers

from device.edges.flac import read_flac
from device.edges.wakeword.words import model_folder
from device.hil.recordings import load_recordings, name_of, words_of
from device.hil.virtual import virtual_microphone
from device.message.envelope import read_wav

FIXTURES = Path(__file__).parent / "fixtures"
RECORDINGS = {recording.name: recording for recording in load_recordings(FIXTURES)}
REQUEST = FIXTURES / "hey-jarvis-request.wav"


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path) as broker:
        yield broker


def samples_of(path):
    return soundfile.read(path, dtype="int16")[0]


def named(events, name):
    return [event for event in events if event.get("event") == name]


def check_that_each_arrives_as_exactly_its_requests(folder, tmp_path, broker):
    """Run the daemon on all recordings of a folder, those of a channel at once, and hold it to their sidecars."""
    recordings = {f"file:{recording.name}.wav": recording for recording in load_recordings(folder)}
    listener = Listener(broker.port, "wakeword/kitchen/request/+")
    wake = f"words = {json.dumps(words_of(recordings.values()))}"
    events = []
    for channel in {recording.truth.channel for recording in recordings.values()}:
        device = Device(tmp_path, broker.port, wake=wake, microphone=f"channel = {channel}")
        its = [one.name for one in recordings.values() if one.truth.channel == channel]
        events += device.hear(*(folder / f"{name}.wav" for name in its))
    assert len(named(events, "sent")) == len(named(events, "stored"))
    by_source = {}
    for _ in named(events, "sent"):
        tag, pcm = read_wav(listener.next().payload)
        by_source.setdefault(tag.source, []).append((tag, np.frombuffer(pcm, "<i2")))
    for source, recording in recordings.items():
        got, truth = by_source.pop(source, []), recording.truth
        assert [tag.wake_word for tag, _ in got] == [
            name_of(request.wake_word or truth.wake_word) for request in truth.requests
        ], source
        for tag, pcm in got:
            kept = recording.samples[tag.start_sample : tag.end_sample]
            # One of another rate was resampled twice, in floats of 32 and of 64 bits, which may round differently.
            assert np.abs(pcm.astype(int) - kept).max() <= (0 if recording.rate_hz == 16_000 else 1), source
    assert not by_source
    bare = sum(len(recording.truth.bare_wakes) for recording in recordings.values())
    assert len(named(events, "no-speech")) == bare


def test_every_fixture_arrives_as_exactly_its_requests_sample_for_sample(tmp_path, broker):
    check_that_each_arrives_as_exactly_its_requests(FIXTURES, tmp_path, broker)


@pytest.mark.skipif(bool(missing_synthesisers()), reason=f"not installed: {' '.join(missing_synthesisers())}")
def test_a_fixture_may_have_any_rate_width_channel_and_wake_word(tmp_path, broker):
    """Two of 24 bits: another bundled word in one of two channels at 48 kHz, and a model of one's own beside it."""
    import soxr

    folder = tmp_path / "fixtures"
    folder.mkdir()
    voice = Voice(synthesiser="espeak-ng", name="en-gb-scotland+f1")  # a voice that hey_mycroft hears
    scene = Scene(utterances=(Utterance(voice=voice, wake_word="hey_mycroft", text="turn off the radio"),))
    said = render(scene, "stereo", wake_word="hey_mycroft")
    second = soxr.resample(said.samples / 32768, 16_000, 48_000)
    soundfile.write(folder / "stereo.wav", np.stack((np.zeros_like(second), second), axis=1), 48_000, "PCM_24")
    write_sidecar(msgspec.structs.replace(said.truth, channel=2), folder / "stereo.json")
    shutil.copy(model_folder() / "hey_jarvis_v0.1.onnx", folder / "mine.onnx")
    soundfile.write(folder / "own.wav", RECORDINGS[REQUEST.stem].samples / 32768 + 0.7 / 32768, 16_000, "PCM_24")
    write_sidecar(msgspec.structs.replace(RECORDINGS[REQUEST.stem].truth, wake_word="mine.onnx"), folder / "own.json")
    check_that_each_arrives_as_exactly_its_requests(folder, tmp_path, broker)


def test_a_request_says_the_same_in_its_topic_its_properties_and_its_tag(tmp_path, broker):
    listener = Listener(broker.port, "wakeword/kitchen/#")
    Device(tmp_path, broker.port, review='default = "opted-in"').hear(REQUEST)
    message = listener.next("request/reviewable")
    tag, _ = read_wav(message.payload)
    properties = dict(message.properties["UserProperty"])
    assert message.properties["ContentType"] == "audio/wav"
    assert (tag.review.opt_out, tag.review.choice) == (False, "default")
    assert properties["id"] == tag.id
    assert (properties["review_opt_out"], properties["review_choice"]) == ("false", "default")
    assert not message.retain


def test_flac_holds_the_same_samples(tmp_path, broker):
    listener = Listener(broker.port, "wakeword/kitchen/request/+")
    Device(tmp_path, broker.port, mqtt='format = "flac"').hear(REQUEST)
    message = listener.next()
    tag, pcm = read_flac(message.payload)
    assert message.properties["ContentType"] == "audio/flac"
    assert np.array_equal(np.frombuffer(pcm, "<i2"), samples_of(REQUEST)[tag.start_sample : tag.end_sample])


def test_the_pace_changes_no_sample(tmp_path, broker):
    listener = Listener(broker.port, "wakeword/kitchen/request/+")
    device = Device(tmp_path, broker.port)
    device.hear(REQUEST)
    device.call("run", "--input", REQUEST, "--pace", "realtime")
    fast, real = (read_wav(listener.next().payload) for _ in range(2))
    assert fast[1] == real[1]
    assert (fast[0].start_sample, fast[0].wake_sample) == (real[0].start_sample, real[0].wake_sample)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("engine", ["streaming", "reference"])
@pytest.mark.parametrize("gate", ["true", "false"])
def test_neither_engine_nor_gate_changes_a_request(tmp_path, engine, gate):
    device = Device(tmp_path, wake=f'engine = "{engine}"\ngate = {gate}')
    (stored,) = named(device.hear(REQUEST, arguments=("--drain-timeout", 0), status=69), "stored")
    plain = Device(tmp_path / "plain") if (tmp_path / "plain").mkdir() is None else None
    (expected,) = named(plain.hear(REQUEST, arguments=("--drain-timeout", 0), status=69), "stored")
    assert (stored["start_sample"], stored["end_sample"]) == (expected["start_sample"], expected["end_sample"])


def test_without_a_broker_the_request_is_kept_and_sent_by_the_next_run(tmp_path, broker):
    broker.stop()
    device = Device(tmp_path, broker.port)
    events = device.hear(REQUEST, arguments=("--drain-timeout", 0.2), status=69)
    (stored,) = named(events, "stored")
    assert named(events, "kept")[0]["count"] == 1
    assert stored["id"] in device.call("outbox", "list").stdout
    broker.start()
    listener = Listener(broker.port, "wakeword/kitchen/request/+")
    assert [event["id"] for event in named(device.hear(FIXTURES / "quiet-room.wav"), "sent")] == [stored["id"]]
    assert read_wav(listener.next().payload)[0].id == stored["id"]
    assert device.call("outbox", "list").stdout == ""


def test_all_recordings_are_looked_at_before_the_first_is_heard(tmp_path):
    header = bytes.fromhex("52494646 24000000 57415645 666d7420 10000000 0100 0100 803e0000 007d0000 0200 1000")
    contents = {"broken.wav": b"RIFF????WAVE", "empty.wav": header + b"data" + bytes(4), "folder.wav": None}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content) if content else (tmp_path / name).mkdir()
    names = (*contents, "missing.wav")
    device = Device(tmp_path)
    events = device.hear(REQUEST, *(tmp_path / name for name in names), status=1)
    assert {event["event"] for event in events} == {"error"}
    for name, event in zip(names, events, strict=True):
        assert event["message"].startswith(f"recording '{tmp_path / name}': ")
    assert not (tmp_path / "state").exists()


def test_a_recording_that_comes_through_a_pipe_is_heard(tmp_path):
    device = Device(tmp_path)
    command = " ".join(device.command("run", "--input", "/dev/stdin", "--pace", "fast", "--drain-timeout", 0))
    done = subprocess.run(["sh", "-c", f"cat {REQUEST} | {command}"], env=device.env, capture_output=True, check=False)
    assert done.stderr.count(b" stored 1.2 s after ") == 1


def test_a_recording_that_turns_out_unreadable_is_said_and_the_next_one_heard(tmp_path, broker):
    _subscriber = Listener(broker.port, "wakeword/kitchen/request/+")
    events = Device(tmp_path, broker.port).hear(Path("/dev/null"), REQUEST, status=1)
    assert [event["source"] for event in named(events, "input-unreadable")] == ["file:null"]
    assert len(named(events, "sent")) == 1


@pytest.mark.parametrize(
    ("subtype", "rate_hz", "channels"),
    [("PCM_U8", 16_000, 1), ("PCM_24", 48_000, 2), ("FLOAT", 44_100, 1), ("PCM_16", 8_000, 1), ("DOUBLE", 96_000, 2)],
)
def test_recordings_of_any_format_are_heard(tmp_path, subtype, rate_hz, channels):
    import soxr

    audio = soxr.resample(samples_of(REQUEST) / 32768, 16_000, rate_hz)
    path = tmp_path / "recording.wav"
    soundfile.write(path, np.tile(audio[:, None], channels), rate_hz, subtype)
    events = Device(tmp_path).hear(path, arguments=("--drain-timeout", 0), status=69)
    assert len(named(events, "stored")) == 1


def test_states_are_retained_and_the_last_will_says_offline(tmp_path, broker):
    device = Device(tmp_path, broker.port)
    with Daemon(device, "--input", REQUEST) as daemon:
        daemon.wait_for("broker-connected")
        listener = Listener(broker.port, "wakeword/kitchen/#")
        assert listener.next("status").payload == b"online"
        daemon.process.kill()
        assert listener.next("status").payload == b"offline"
    retained = Listener(broker.port, "wakeword/kitchen/review")
    assert json.loads(retained.next().payload) == {
        "opt_out": True, "choice": "default", "revision": 0, "changed_at": None
    }  # fmt: skip


def test_a_stop_in_mid_request_keeps_what_was_said(tmp_path):
    """The speech goes on for a minute, so that the stop falls into it however busy the machine is."""
    recording = RECORDINGS[REQUEST.stem]
    (said,) = recording.truth.requests
    speech = recording.samples[said.start_sample : said.end_sample]
    path = tmp_path / "long-speech.wav"
    soundfile.write(path, np.concatenate([recording.samples[: said.start_sample], np.tile(speech, 60)]), 16_000)
    device = Device(tmp_path, capture="max_s = 120")
    with Daemon(device, "--input", path, "--pace", "realtime") as daemon:
        daemon.wait_for("wake")
        time.sleep(1.5)  # the moment of the stop, not a wait for something: by then something was said
        assert daemon.stop() == 0
    (stored,) = named(daemon.events, "stored")
    assert stored["ended_by"] == "shutdown"


def test_opting_out_while_requests_wait_retags_them_before_they_are_sent(tmp_path, broker):
    broker.stop()
    device = Device(tmp_path, broker.port, review='default = "opted-in"')
    device.hear(REQUEST, arguments=("--drain-timeout", 0), status=69)
    assert "1 waiting request was retagged" in device.call("review", "opt-out").stdout
    broker.start()
    listener = Listener(broker.port, "wakeword/kitchen/request/+")
    device.hear(FIXTURES / "quiet-room.wav")
    message = listener.next()
    tag = read_wav(message.payload)[0]
    assert message.topic.endswith("/opted-out")
    assert (tag.review.opt_out, tag.review.choice, tag.review.revision) == (True, "user", 1)


def test_a_second_daemon_on_the_same_state_is_refused(tmp_path):
    device = Device(tmp_path)
    with Daemon(device, "--input", REQUEST) as daemon:
        daemon.wait_for("started")
        second = device.call("run", "--input", REQUEST)
        assert second.returncode == 1
        assert str(daemon.process.pid) in second.stderr


def test_a_database_that_is_none_is_set_aside_and_recording_goes_on_opted_out(tmp_path, broker):
    _subscriber = Listener(broker.port, "wakeword/kitchen/request/+")
    device = Device(tmp_path, broker.port, review='default = "opted-in"')
    device.hear(REQUEST)
    (database,) = (tmp_path / "state").glob("*.db")
    database.write_bytes(b"no database at all" * 1000)
    events = device.hear(REQUEST)
    (stored,) = named(events, "stored")
    assert stored["opt_out"] is True
    assert named(events, "store-damaged")


@pytest.fixture(scope="module")
def microphone():
    with virtual_microphone() as microphone:
        yield microphone


def test_what_a_microphone_hears_arrives_sample_for_sample(tmp_path, broker, microphone):
    listener = Listener(broker.port, "wakeword/kitchen/#")
    with Daemon(Device(tmp_path, broker.port), env=microphone.env) as daemon:
        daemon.wait_for("microphone-listening")
        assert json.loads(listener.next("microphone").payload)["state"] == "listening"
        microphone.play(REQUEST)
        daemon.wait_for("sent")
        tag, pcm = read_wav(listener.next("request/opted-out").payload)
        assert tag.source.startswith("mic:")
        assert samples_of(REQUEST).tobytes().find(pcm) % 2 == 0
        assert daemon.stop() == 0


def test_mute_closes_the_microphone_over_restarts_until_unmute(tmp_path, broker, microphone):
    device = Device(tmp_path, broker.port)
    with Daemon(device, env=microphone.env) as daemon:
        daemon.wait_for("microphone-listening")
        device.call("microphone", "mute")
        daemon.wait_for("microphone-muted")
        daemon.stop()
    with Daemon(device, env=microphone.env) as daemon:
        daemon.wait_for("microphone-muted")
        listener = Listener(broker.port, "wakeword/kitchen/microphone")
        assert json.loads(listener.next().payload)["state"] == "muted"
        device.call("microphone", "unmute")
        daemon.wait_for("microphone-listening")


def test_remote_commands_opt_out_and_mute_and_no_more(tmp_path, broker, microphone):
    device = Device(tmp_path, broker.port, review='default = "opted-in"')
    listener = Listener(broker.port, "wakeword/kitchen/#")
    with Daemon(device, env=microphone.env) as daemon:
        daemon.wait_for("microphone-listening")
        assert listener.next("status").payload == b"online"  # which comes after the subscription to commands
        listener.client.publish("wakeword/kitchen/review/set", "opt-out", 1)
        daemon.wait_for("command")
        listener.client.publish("wakeword/kitchen/review/set", "opt-in", 1)
        daemon.wait_for("command-ignored")
        listener.client.publish("wakeword/kitchen/microphone/set", "mute", 1)
        daemon.wait_for("microphone-muted")
        listener.client.publish("wakeword/kitchen/microphone/set", "unmute", 1)
        daemon.wait_for("command-ignored")
    assert json.loads(device.call("review", "status", "--json").stdout)["opt_out"] is True
    assert json.loads(device.call("microphone", "status", "--json").stdout)["muted"] is True


def test_no_microphone_is_said_and_the_daemon_waits_for_one(tmp_path):
    with Daemon(Device(tmp_path, microphone='name = "no such thing"')) as daemon:
        assert "no such thing" in daemon.wait_for("microphone-lost")["reason"]
        assert daemon.stop() == 0


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed: apt-get install ffmpeg")
def test_a_state_that_the_broker_refuses_is_said_and_requests_are_sent_all_the_same(tmp_path):
    broker = Broker(tmp_path)
    topics = ("status", "request/#", "event", "+/set")
    broker.settings.append(broker.acl_file("".join(f"topic readwrite wakeword/kitchen/{topic}\n" for topic in topics)))
    with broker:
        listener = Listener(broker.port, "wakeword/kitchen/request/+")
        events = Device(tmp_path, broker.port).hear(REQUEST)
        assert listener.next()
    (refused,) = named(events, "state-refused")
    assert (refused["state"], refused["level"]) == ("review", "warning")
    assert "not authorized" in refused["message"]
    assert named(events, "sent")


def test_demo_ends_with_the_tag_and_a_wav_that_plays(tmp_path):
    done = subprocess.run([PROGRAM, "demo", "--save-to", tmp_path], capture_output=True, text=True, check=True)
    path = Path(done.stdout.split("The request: ")[1].strip())
    assert '"opt_out": true' in done.stdout
    probe = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", path]
    assert float(subprocess.run(probe, capture_output=True, text=True, check=True).stdout) > 1
