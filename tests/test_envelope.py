"""A WAV holds the tag and the sound, whole, for our own reader and for others; what is not ours is refused."""

import functools
import io
import json
import struct
import subprocess
import wave

import mutagen.wave
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tags import VERSION, tag_of, tagged

from device.errors import TagError
from device.message import envelope, riff
from device.message.envelope import message, parse_tag, read_wav, tag_json, wav
from device.message.review import Review

PCM = np.random.default_rng(7).integers(-32768, 32767, 33_281, np.int16, endpoint=True).astype("<i2").tobytes()
TAG = tag_of(PCM)
FILE = wav(TAG, PCM, version=VERSION)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "request.wav"
    path.write_bytes(FILE)
    return path


def test_the_tag_has_the_fields_of_the_contract_in_its_order():
    assert tag_json(TAG) == (
        '{"schema":1,"id":"0193a5c4-1111-7abc-8def-0123456789ab","device":"kitchen","wake_word":"hey_jarvis",'
        '"score":0.998,"captured_at":"2026-11-22T20:43:21.652Z","clock_synced":true,'
        '"source":"mic:USB PnP Sound Device","start_sample":88320,"end_sample":121601,"wake_sample":84480,'
        '"duration_s":2.0800625,"ended_by":"silence",'
        '"review":{"opt_out":true,"choice":"default","revision":0,"changed_at":null},'
        f'"audio":{{"rate_hz":16000,"channels":1,"sha256":"{TAG.audio.sha256}"}}}}'
    )


@pytest.mark.parametrize(("waited_s", "shown"), [(12.5, "12.5"), (None, "null")])
def test_waited_s_stands_last_once_the_request_is_published(waited_s, shown):
    assert tag_json(tag_of(PCM, waited_s=waited_s)).endswith(f',"waited_s":{shown}}}')


def test_ffprobe_shows_the_tag_and_its_companions_in_a_wav(path):
    shown = subprocess.check_output(["ffprobe", "-v", "error", "-show_format", "-of", "json", path])
    assert json.loads(shown)["format"]["tags"] == {
        "comment": tag_json(TAG),
        "date": TAG.captured_at,
        "encoder": "wakeword-recorder 1.2.3",
        "artist": "kitchen",
    }


def test_soundfile_shows_the_tag_its_companions_and_the_same_samples_in_a_wav(path):
    with soundfile.SoundFile(path) as file:
        assert file.comment == tag_json(TAG)
        assert (file.date, file.artist) == (TAG.captured_at, "kitchen")
        assert file.software == "wakeword-recorder 1.2.3"
        assert (file.format, file.subtype, file.samplerate, file.channels) == ("WAV", "PCM_16", 16000, 1)
        assert file.read(dtype="int16").tobytes() == PCM


def test_soxi_counts_every_sample_of_a_wav(path):
    assert subprocess.check_output(["soxi", "-s", path]).strip() == b"33281"


def test_pythons_wave_module_reads_the_same_samples(path):
    with wave.open(str(path)) as file:
        assert file.getparams()[:4] == (1, 2, 16000, 33281)
        assert file.readframes(40_000) == PCM


def test_mutagen_reads_a_wavs_length(path):
    assert mutagen.wave.WAVE(path).info.length == pytest.approx(2.0800625)


def test_a_tag_with_every_script_of_the_world_is_ascii_in_the_file_and_whole_in_every_reader(tmp_path):
    tag = tag_of(PCM, source='file:größe "ж" 語 🎤 \x00\x1b\x7f\\.wav')
    path = tmp_path / "scripts.wav"
    path.write_bytes(wav(tag, PCM, version=VERSION))
    assert tag_json(tag).isascii()
    assert soundfile.SoundFile(path).comment == tag_json(tag)
    shown = json.loads(subprocess.check_output(["ffprobe", "-v", "error", "-show_format", "-of", "json", path]))
    assert parse_tag(shown["format"]["tags"]["comment"].encode()) == tag


def test_the_longest_names_still_give_a_tag_that_soundfile_shows():
    """Libsndfile shows no INFO text of 2,048 bytes or more; ours stays below with the longest file name there is."""
    tag = tag_of(
        PCM,
        device="d" * 64,
        source="file:" + "🎤" * 63,  # 252 of the 255 bytes that a file system allows, 12 characters each when escaped
        captured_at="2026-11-22T20:43:21.652Z",
        start_sample=2**53,
        end_sample=2**53 + len(PCM) // 2,
        wake_sample=2**53,
        duration_s=1234.5678901234567,
        review=Review(opt_out=False, choice="unreadable", revision=2**53, changed_at="2026-11-22T20:43:21.652Z"),
        waited_s=123456789.123456,
    )
    assert soundfile.SoundFile(io.BytesIO(wav(tag, PCM, version=VERSION))).comment == tag_json(tag)


@settings(deadline=None, max_examples=150)
@given(tagged())
def test_whatever_tag_and_audio_go_into_a_wav_come_out_again(request_):
    tag, pcm = request_
    file = wav(tag, pcm, version=VERSION)
    assert read_wav(file) == (tag, pcm)
    with wave.open(io.BytesIO(file)) as reader:
        assert reader.readframes(1_000_000) == pcm


@settings(deadline=None, max_examples=60)
@given(st.permutations(range(5)), st.binary(max_size=5))
def test_chunks_are_read_in_any_order_among_unknown_ones(order, content):
    parts = [
        riff.chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16)),
        riff.chunk(b"LIST", b"adtl", riff.chunk(b"note", content)),
        riff.chunk(b"LIST", b"INFO", riff.chunk(b"INAM", content), riff.chunk(b"ICMT", tag_json(TAG).encode(), b"\0")),
        riff.chunk(b"data", PCM),
        riff.chunk(b"junk", content),
    ]
    assert read_wav(riff.chunk(b"RIFF", b"WAVE", *(parts[i] for i in order))) == (TAG, PCM)


def repacked(**changes: bytes) -> bytes:
    """A WAV made of named chunks, each replaceable; None leaves it out."""
    parts = {
        "fmt": riff.chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16)),
        "info": riff.chunk(b"LIST", b"INFO", riff.chunk(b"ICMT", tag_json(TAG).encode(), b"\0")),
        "data": riff.chunk(b"data", PCM),
    }
    return riff.chunk(b"RIFF", b"WAVE", *(parts | changes).values())


@pytest.mark.parametrize(
    ("file", "complaint"),
    [
        (b"", "no RIFF WAVE header"),
        (b"RIFF", "4 bytes are left over"),
        (FILE[:-1], "says 67208 bytes, 67207 are there"),
        (FILE + b"\0\0", "2 bytes follow its end"),
        (b"RIFX" + FILE[4:], "no RIFF WAVE header"),
        (repacked(fmt=b""), "'fmt ' is missing"),
        (repacked(info=b""), "'INFO ICMT' is missing"),
        (repacked(data=b""), "'data' is missing"),
        (repacked(data=2 * riff.chunk(b"data", PCM)), "'data' stands there twice"),
        (repacked(data=riff.chunk(b"data", PCM[:-1])), "not 16-bit PCM"),
        (repacked(fmt=riff.chunk(b"fmt ", struct.pack("<HHIIHH", 1, 2, 16000, 64000, 4, 16))), "not 16-bit PCM"),
        (repacked(fmt=riff.chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16))), "not 16-bit PCM"),
        (repacked(fmt=riff.chunk(b"fmt ", b"\1\0")), "not 16-bit PCM"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_in_one_line_that_says_why(file, complaint):
    with pytest.raises(TagError, match=complaint) as caught:
        read_wav(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"", "truncated"),
        (b"null", "Expected `object`"),
        (b"[" * 10_000, "Expected `object`"),
        (b'{"x":' + b"[" * 10_000, "recursion"),
        (b"{" + b" " * 65_536, "65537 bytes"),
        (tag_json(TAG).replace("kitchen", "kitchen\\n").encode(), "device"),
        (tag_json(TAG).replace("kitchen", "../kitchen").encode(), "device"),
        (tag_json(TAG).replace("-7abc-", "-4abc-").encode(), r"\$\.id"),
        (tag_json(TAG).replace('"schema":1', '"schema":2').encode(), "schema"),
        (tag_json(TAG).replace("2026", "٢٠٢٦").encode(), "captured_at"),
        (tag_json(TAG).replace("true", '"true"').encode(), "clock_synced"),
    ],
)
def test_a_tag_that_breaks_the_schema_is_refused_in_one_line_that_says_where(text, complaint):
    with pytest.raises(TagError, match=complaint) as caught:
        parse_tag(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("opt_out", "level"), [(True, "opted-out"), (False, "reviewable")])
def test_topic_properties_and_file_of_a_message_say_the_same(opt_out, level):
    tag = tag_of(PCM, review=Review(opt_out=opt_out, choice="user", revision=3, changed_at="2026-01-01T00:00:00.000Z"))
    sent = message(tag, PCM, prefix="home/wakeword", encode=functools.partial(wav, version=VERSION))
    assert sent.topic == f"home/wakeword/kitchen/request/{level}"
    assert sent.content_type == "audio/wav"
    assert sent.user_properties == (
        ("id", tag.id),
        ("device", "kitchen"),
        ("wake_word", "hey_jarvis"),
        ("captured_at", "2026-11-22T20:43:21.652Z"),
        ("review_opt_out", str(opt_out).lower()),
        ("review_choice", "user"),
        ("review_revision", "3"),
        *((("Content-Usage", "train-ai=n"),) if opt_out else ()),
    )
    assert read_wav(sent.payload) == (tag, PCM)


def test_a_payload_of_another_kind_has_no_content_type():
    with pytest.raises(TagError, match="WAV or FLAC"):
        envelope.content_type(b"OggS")
