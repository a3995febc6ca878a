"""A FLAC holds the same tag and samples as the WAV, for our own reader and for others; what is not ours is refused."""

import functools
import io
import json
import struct
import subprocess

import mutagen.flac
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from support.tags import VERSION, tag_of, tagged

from device.edges.flac import MAX_DURATION_S, flac, read_flac
from device.errors import TagError
from device.message.envelope import message, tag_json

PCM = np.random.default_rng(7).integers(-32768, 32767, 33_281, np.int16, endpoint=True).astype("<i2").tobytes()
TAG = tag_of(PCM, source='file:größe "ж" 語 🎤 \x00\x1b\\.wav')
FILE = flac(TAG, PCM, version=VERSION)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "request.flac"
    path.write_bytes(FILE)
    return path


def test_mutagen_shows_the_tag_and_its_companions(path):
    file = mutagen.flac.FLAC(path)
    comments = {name: value for name, [value] in file.tags.as_dict().items()}
    assert comments.pop("software").startswith("wakeword-recorder 1.2.3 (libsndfile-")
    assert comments == {"comment": tag_json(TAG), "date": TAG.captured_at, "artist": "kitchen"}
    assert file.info.total_samples == 33_281


def test_ffprobe_shows_the_tag_and_its_companions(path):
    shown = subprocess.check_output(["ffprobe", "-v", "error", "-show_format", "-of", "json", path])
    tags = json.loads(shown)["format"]["tags"]
    assert {name: tags[name] for name in ("comment", "date", "artist")} == {
        "comment": tag_json(TAG),
        "date": TAG.captured_at,
        "artist": "kitchen",
    }


def test_soundfile_shows_the_tag_and_the_same_samples(path):
    with soundfile.SoundFile(path) as file:
        assert file.comment == tag_json(TAG)
        assert (file.format, file.subtype, file.samplerate, file.channels) == ("FLAC", "PCM_16", 16000, 1)
        assert file.read(dtype="int16").tobytes() == PCM


def test_soxi_counts_every_sample(path):
    assert subprocess.check_output(["soxi", "-s", path]).strip() == b"33281"


def test_ffmpeg_decodes_the_same_samples(path):
    assert subprocess.check_output(["ffmpeg", "-v", "error", "-i", path, "-f", "s16le", "-"]) == PCM


@settings(deadline=None, max_examples=80)
@given(tagged(min_samples=1))
def test_whatever_tag_and_audio_go_into_a_flac_come_out_again(request_):
    tag, pcm = request_
    assert read_flac(flac(tag, pcm, version=VERSION)) == (tag, pcm)


def test_the_message_of_a_flac_says_so():
    sent = message(TAG, PCM, prefix="wakeword", encode=functools.partial(flac, version=VERSION))
    assert (sent.topic, sent.content_type) == ("wakeword/kitchen/request/opted-out", "audio/flac")
    assert sent.payload == FILE


def test_a_request_without_samples_is_no_flac():
    with pytest.raises(ValueError, match="at least one sample"):
        flac(TAG, b"", version=VERSION)


def written(samples, rate=16000, channels=1, kind="FLAC", subtype="PCM_16", comment="none"):
    memory = io.BytesIO()
    with soundfile.SoundFile(memory, "w", rate, channels, subtype, format=kind) as file:
        file.comment = comment
        file.write(np.zeros((samples, channels), np.int16))
    return memory.getvalue()


@pytest.mark.parametrize(
    ("file", "complaint"),
    [
        (b"", "FLAC file: "),
        (b"fLaC", "FLAC file: "),
        (FILE[:100], "FLAC file: "),
        (written(10), "tag: "),
        (written(10, comment="{}"), "missing required field"),
        (written(10, rate=8000), "16-bit, 16 kHz mono is expected"),
        (written(10, channels=2), "16-bit, 16 kHz mono is expected"),
        (written(10, subtype="PCM_24"), "16-bit, 16 kHz mono is expected"),
        (written(10, kind="WAV"), "16-bit, 16 kHz mono is expected"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_in_one_line_that_says_why(file, complaint):
    with pytest.raises(TagError, match=complaint) as caught:
        read_flac(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [100, 800, 20_000, 60_000, len(FILE) - 1])
def test_a_truncated_file_is_refused(length):
    with pytest.raises(TagError, match="FLAC file: "):
        read_flac(FILE[:length])


def test_a_small_file_that_unpacks_to_hours_is_refused_after_ten_minutes_of_it():
    bomb = written((MAX_DURATION_S + 60) * 16000, comment=tag_json(TAG))
    assert len(bomb) < 100_000
    with pytest.raises(TagError, match="longer than 600 s"):
        read_flac(bomb)


@pytest.mark.parametrize("samples", [0, 33_282, 2**36 - 1])
def test_a_header_that_promises_more_than_there_is_is_refused(samples):
    at = 4 + 4 + 10  # in STREAMINFO: 28 bits of rate, channels and width, then 36 of the number of samples
    (word,) = struct.unpack_from(">Q", FILE, at)
    with pytest.raises(TagError, match="FLAC file: "):
        read_flac(FILE[:at] + struct.pack(">Q", word >> 36 << 36 | samples) + FILE[at + 8 :])
