"""Explain: what it says is what the recorder does, in text, JSON and picture."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.daemon import Device

REQUEST = Path(__file__).parent / "fixtures" / "hey-jarvis-request.wav"
TWO = Path(__file__).parent / "fixtures" / "two-requests.wav"
ALONE = Path(__file__).parent / "fixtures" / "wake-word-alone.wav"
BOTH = Path(__file__).parent / "fixtures" / "both-words.wav"
ALEXA = Path(__file__).parent / "fixtures" / "alexa-request.wav"
NONE = Path(__file__).parent / "fixtures" / "near-misses.wav"


@pytest.fixture
def device(tmp_path):
    return Device(tmp_path)


def explained(device, path):
    done = device.call("explain", path, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("path", [REQUEST, TWO, ALONE, NONE], ids=lambda path: path.stem)
def test_it_keeps_exactly_what_run_stores(device, path):
    events = device.hear(path, arguments=("--drain-timeout", 0), status=69 if path in (REQUEST, TWO) else 0)
    stored = [(event["start_sample"], event["end_sample"]) for event in events if event.get("event") == "stored"]
    found = explained(device, path)
    assert [(kept["start_sample"], kept["end_sample"]) for kept in found["requests"]] == stored
    assert len(found["no_speech"]) == (path == ALONE)


def test_scores_gate_and_segments_stand_on_the_recordings_own_time(device):
    found = explained(device, REQUEST)
    frames = found["samples"] // 1280
    scores = found["scores"]["hey_jarvis"]
    assert len(scores) == frames
    (detection,) = found["detections"]
    fired = detection["wake_sample"] // 1280 - 1
    assert scores[fired] == pytest.approx(detection["score"], abs=1e-4)
    assert max(scores[:fired]) < found["thresholds"]["hey_jarvis"] <= scores[fired]
    assert not found["gate_open"][3]
    assert found["gate_open"][fired]
    (segmented,) = found["segments"]
    (kept,) = found["requests"]
    sure = np.flatnonzero(np.array(segmented["request"]) >= segmented["sure"])
    said = segmented["start_sample"] + 320 * sure
    assert kept["start_sample"] < said[0] == kept["speech_sample"] < said[-1] < kept["end_sample"]
    word = segmented["start_sample"] + 320 * np.flatnonzero(np.array(segmented["wake_word"]) >= 0.5)
    assert word[0] < detection["wake_sample"]
    assert len(segmented["request"]) == len(segmented["wake_word"]) == len(segmented["level_dbfs"])


def test_how_sure_a_second_model_is_of_the_wake_word_is_shown(tmp_path):
    device = Device(tmp_path, wake='words = ["alexa"]')
    (detection,) = explained(device, ALEXA)["detections"]
    assert detection["counts"]
    assert 0.5 == detection["threshold"] <= detection["together"] <= 1.0
    shown = f"confirmed {detection['confirmed']:.2f}, together {detection['together']:.2f}, threshold 0.50"
    assert shown in device.call("explain", ALEXA).stdout
    alone = Device(tmp_path, wake='words = ["alexa"]\nconfirm = false')
    assert explained(alone, ALEXA)["detections"][0]["confirmed"] is None
    assert "confirmed" not in alone.call("explain", ALEXA).stdout


def test_the_text_says_when_and_why(device):
    lines = device.call("explain", REQUEST).stdout
    assert "hears hey_jarvis: score 0.56, threshold 0.50" in lines
    assert "silence after it ended it" in lines
    assert "its highest score is" in device.call("explain", NONE).stdout
    assert "nothing was said" in device.call("explain", ALONE).stdout


def test_what_a_wake_word_sets_off_once_more_is_said_and_changes_neither_detection_nor_what_was_heard(tmp_path):
    # The end of "volume six" sounds like "alexa" to the first model.
    device = Device(tmp_path, wake='words = ["alexa", "hey_jarvis"]\nconfirm = false')
    lines = device.call("explain", BOTH).stdout.splitlines()
    first = next(number for number, line in enumerate(lines) if "hears alexa" in line)
    assert "a capture is open already" in "".join(lines)
    found = explained(device, BOTH)
    detections = [one for one in found["detections"] if one["wake_word"] == "alexa"]
    assert [one["again"] for one in detections] == [False, True]
    assert found["requests"][0]["wake_sample"] == detections[0]["wake_sample"]
    assert found["segments"][0]["start_sample"] == max(detections[0]["wake_sample"] - 40_000, 0) % 320
    assert "keeps" in lines[first + 1]


def test_a_wake_word_said_twice_starts_the_capture_over(device, tmp_path):
    samples, rate_hz = soundfile.read(REQUEST, dtype="int16")
    twice = tmp_path / "twice.wav"
    pause, rest = samples[: int(0.3 * rate_hz)], samples[int(1.3 * rate_hz) :]
    soundfile.write(twice, np.concatenate([samples[: int(2.4 * rate_hz)], pause, rest]), rate_hz)
    found = explained(device, twice)
    assert len(found["detections"]) > 1
    assert len(found["requests"]) == 1
    assert "a capture is open already, which starts over" in device.call("explain", twice).stdout


@pytest.fixture
def drawn(device, tmp_path):
    """Draw a recording and return the picture's pixels; standard error has nothing else to say."""
    image = pytest.importorskip("matplotlib.image", reason="matplotlib is not installed: scripts/setup --extras plot")
    picture = tmp_path / "picture.png"

    def draw(path):
        done = device.call("explain", path, "--plot", picture)
        assert (done.returncode, done.stderr) == (0, f"drawn: {picture}\n")
        return image.imread(picture)

    return draw


def grey_in_the_last_third(pixels):
    """How many of the columns have something grey in the picture's lowest third, where the level is."""
    lowest = pixels[len(pixels) * 2 // 3 : len(pixels) * 9 // 10, :, :3] * 255
    return np.all(np.abs(lowest - (0x88, 0x8A, 0x85)) < 40, axis=2).any(axis=0).mean()


@pytest.mark.parametrize("path", [TWO, NONE], ids=["requests", "nothing"])
def test_the_picture_is_drawn(drawn, path):
    pixels = drawn(path)
    assert pixels.shape[0] > 600
    assert pixels.shape[1] > 900
    colours = (pixels[:, :, :3] * 255).astype(np.uint32) @ np.array((1 << 16, 1 << 8, 1), np.uint32)
    assert len(np.unique(colours)) > 20


def test_without_a_wake_word_the_picture_shows_the_level_of_the_whole_recording(drawn):
    assert grey_in_the_last_third(drawn(NONE)) > 0.7


@pytest.mark.parametrize("kept_s", [3.0, 0.01])
def test_silence_is_drawn(drawn, tmp_path, kept_s):
    soundfile.write(tmp_path / "silence.wav", np.zeros(int(kept_s * 16_000), np.int16), 16_000)
    drawn(tmp_path / "silence.wav")


def test_a_recording_that_ends_with_the_wake_word_is_drawn(device, drawn, tmp_path):
    (detection,) = explained(device, REQUEST)["detections"]
    samples, _ = soundfile.read(REQUEST, dtype="int16")
    soundfile.write(tmp_path / "cut.wav", samples[: detection["wake_sample"]], 16_000)
    assert grey_in_the_last_third(drawn(tmp_path / "cut.wav")) > 0.7


def test_what_is_no_recording_is_one_line(device, tmp_path):
    empty = tmp_path / "empty.wav"
    empty.write_bytes(b"")
    for path in (empty, tmp_path / "missing.wav"):
        done = device.call("explain", path)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "status", "complaint"),
    [
        ("x.txt", 2, "drawn is what ends in .png, .svg or .pdf"),
        ("x", 2, "drawn is what ends in .png, .svg or .pdf"),
        ("none/x.png", 1, "there is no folder {folder}/none"),
        ("folder.png", 1, "cannot be written"),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_refused_before_the_recording_is_read(
    device, tmp_path, name, status, complaint
):
    (tmp_path / "folder.png").mkdir()
    done = device.call("explain", tmp_path / "missing.wav", "--plot", tmp_path / name)
    assert done.returncode == status
    assert done.stderr.startswith(f"error: --plot {tmp_path / name}: {complaint.format(folder=tmp_path)}")
    assert done.stderr.count("\n") == 1


def test_without_matplotlib_the_way_to_get_it_is_named_before_the_recording_is_read(device, tmp_path):
    (tmp_path / "matplotlib").mkdir()
    (tmp_path / "matplotlib" / "__init__.py").write_text("raise ImportError('not installed')")
    env = device.env | {"PYTHONPATH": str(tmp_path)}
    done = device.call("explain", tmp_path / "missing.wav", "--plot", tmp_path / "x.png", env=env)
    assert (done.returncode, done.stderr) == (
        1,
        "error: --plot needs matplotlib; scripts/setup --extras plot brings it\n",
    )


@pytest.mark.parametrize(("suffix", "begins"), [(".PNG", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_the_file_has_the_format_that_its_name_ends_in(device, tmp_path, suffix, begins):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: scripts/setup --extras plot")
    picture = tmp_path / f"picture{suffix}"
    assert device.call("explain", REQUEST, "--plot", picture).returncode == 0
    assert picture.read_bytes().startswith(begins)


def test_nothing_is_stored(device, tmp_path):
    device.call("explain", REQUEST)
    assert not (tmp_path / "state").exists()


def test_a_silent_channel_beside_one_with_sound_is_said_by_explain_run_and_meter(device, tmp_path):
    said, rate_hz = soundfile.read(REQUEST, dtype="int16")
    stereo = tmp_path / "stereo.wav"
    soundfile.write(stereo, np.stack([np.full_like(said, 300), said], axis=1), rate_hz)
    advice = "channel 1 is silent, but channel 2 holds sound: set [microphone] channel = 2"
    assert explained(device, stereo)["remarks"] == [advice]
    assert f"warning: {advice}" in device.call("explain", stereo).stdout
    events = [event for event in device.hear(stereo) if event.get("event") == "input-odd"]
    assert [(event["source"], event["level"]) for event in events] == [("file:stereo.wav", "warning")]
    assert advice in events[0]["message"]
    assert advice in device.call("meter", "--input", stereo, "--pace", "fast").stderr
    assert explained(device, REQUEST)["remarks"] == []
