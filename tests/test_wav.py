"""A recording is heard as 16 kHz mono whatever its format, in flat memory; one that cannot be is said in one line."""

import os
import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from device.edges.wav import AudioFile
from device.errors import RecordingError
from device.hearing.frames import RATE_HZ

RNG = np.random.default_rng(3)
NOISE = RNG.integers(-32768, 32767, 40_001, np.int16, endpoint=True)


def tone(rate_hz, seconds=2.0, hz=440.0, peak=0.5):
    return peak * np.sin(2 * np.pi * hz * np.arange(round(rate_hz * seconds)) / rate_hz)


def heard(path, channel=1):
    blocks = list(AudioFile(path, channel))
    assert all(block.dtype == np.int16 and block.ndim == 1 for block in blocks)
    return np.concatenate(blocks)


@pytest.mark.parametrize(("kind", "suffix"), [("WAV", "wav"), ("FLAC", "flac"), ("WAVEX", "wav"), ("AIFF", "aiff")])
def test_16_bit_mono_at_16_khz_passes_bit_for_bit(tmp_path, kind, suffix):
    path = tmp_path / f"plain.{suffix}"
    soundfile.write(path, NOISE, RATE_HZ, "PCM_16", format=kind)
    assert np.array_equal(heard(path), NOISE)


def test_a_wav_passes_whatever_its_name_ends_in(tmp_path):
    for name in ("speech.raw", "speech", "speech.WAV", "größe 🎤.wav", "no utf-8 \udcff.wav"):
        path = tmp_path / name
        with path.open("wb") as file:
            soundfile.write(file, NOISE, RATE_HZ, "PCM_16", format="WAV")
        assert np.array_equal(heard(path), NOISE), name


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
def test_every_wav_encoding_gives_the_samples_that_ffmpeg_gives(tmp_path, subtype):
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(RATE_HZ), RATE_HZ, subtype)
    decoded = subprocess.check_output(["ffmpeg", "-v", "error", "-i", path, "-f", "s16le", "-"])
    difference = heard(path) - np.frombuffer(decoded, "<i2").astype(int)
    assert np.abs(difference).max() <= (1 if subtype in {"PCM_24", "PCM_32", "FLOAT", "DOUBLE"} else 0)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_compressed_recordings_give_the_same_sound(tmp_path, subtype):
    path = tmp_path / "tone"
    soundfile.write(path, tone(RATE_HZ), RATE_HZ, subtype, format="OGG")
    samples = heard(path)[8000:24000].astype(float)
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(0.5 * 32768 / np.sqrt(2), rel=0.05)


def test_floats_beyond_full_scale_are_clipped_and_what_is_no_number_is_silence(tmp_path):
    path = tmp_path / "float.wav"
    given_ = np.array([0.0, 2.0, -2.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5], np.float32)
    soundfile.write(path, given_, RATE_HZ, "FLOAT")
    assert heard(path).tolist() == [0, 32767, -32768, 32767, -32768, 0, 32767, -32768, 16384]


@pytest.mark.parametrize(("value", "around"), [(np.nan, 10), (np.inf, 30), (-1e30, 30), (4.0, 30)])
def test_a_float_that_is_no_sound_harms_nothing_else_when_resampled(tmp_path, value, around):
    path = tmp_path / "float.wav"
    wave = tone(48_000).astype(np.float32)
    wave[48_000] = value  # where the tone is at zero
    soundfile.write(path, wave, 48_000, "FLOAT")
    difference = np.abs(heard(path) - tone(RATE_HZ) * 32768)
    difference[[*range(100), *range(16_000 - around, 16_000 + around), *range(-100, 0)]] = 0
    assert difference.max() < 60


@pytest.mark.parametrize("rate_hz", [8000, 11025, 22050, 24000, 32000, 44100, 48000, 88200, 96000])
def test_any_rate_gives_the_same_tone_at_16_khz(tmp_path, rate_hz):
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(rate_hz), rate_hz, "FLOAT")
    samples = heard(path)
    assert abs(len(samples) - 2 * RATE_HZ) <= 1
    difference = samples - tone(RATE_HZ)[: len(samples)] * 32768
    assert np.abs(difference[400:-400]).max() < 60  # -55 dB of full scale: no shift, no other level, no other pitch


@settings(deadline=None, max_examples=60)
@given(rate_hz=st.integers(8000, 96_000), frames=st.integers(12, 200_000))
def test_resampling_keeps_the_length_to_within_one_sample(tmp_path_factory, rate_hz, frames):
    path = tmp_path_factory.mktemp("rate") / "noise.wav"
    soundfile.write(path, np.zeros(frames, np.int16), rate_hz)
    assert abs(sum(map(len, AudioFile(path))) - frames * RATE_HZ / rate_hz) <= 1


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
@pytest.mark.parametrize("channel", [1, 2, 3])
def test_the_channel_asked_for_is_heard(tmp_path, rate_hz, channel):
    path = tmp_path / "three.wav"
    soundfile.write(path, np.stack([tone(rate_hz, peak=peak) for peak in (0.1, 0.2, 0.4)], axis=1), rate_hz)
    assert np.abs(heard(path, channel)).max() == pytest.approx(32768 * 0.05 * 2**channel, rel=0.02)


def test_a_mono_recording_gives_its_one_channel_whatever_is_asked(tmp_path):
    path = tmp_path / "mono.wav"
    soundfile.write(path, NOISE, RATE_HZ)
    assert np.array_equal(heard(path, channel=4), NOISE)


def test_every_iteration_reads_from_the_start(tmp_path):
    path = tmp_path / "plain.wav"
    soundfile.write(path, NOISE, RATE_HZ)
    recording = AudioFile(path)
    assert next(iter(recording)).tolist() == next(iter(recording)).tolist() == NOISE[:16_000].tolist()


@pytest.mark.parametrize("left_bytes", [1, 2, 301, 40_000])
def test_of_a_truncated_wav_every_whole_sample_is_read(tmp_path, left_bytes):
    path = tmp_path / "cut.wav"
    soundfile.write(path, NOISE, RATE_HZ)
    os.truncate(path, 44 + left_bytes)
    if left_bytes < 2:
        with pytest.raises(RecordingError, match="holds no audio"):
            heard(path)
    else:
        assert np.array_equal(heard(path), NOISE[: left_bytes // 2])


def test_of_a_damaged_flac_what_stands_before_the_damage_is_read_and_the_log_says_so(tmp_path, caplog):
    path = tmp_path / "cut.flac"
    soundfile.write(path, NOISE, RATE_HZ)
    os.truncate(path, path.stat().st_size * 6 // 10)
    samples = heard(path)
    assert 20_000 <= len(samples) < 24_000
    assert np.array_equal(samples, NOISE[: len(samples)])
    assert f"'{path}': damaged after 1." in caplog.text


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not read as audio"),
        (b"RIFF", "not read as audio"),
        (b"these are words\n" * 100, "not read as audio"),
        (bytes(10_000), "not read as audio"),
        (b"fLaC" + bytes(100), "not read as audio"),
    ],
)
def test_a_file_that_is_no_audio_is_one_line_that_names_it(tmp_path, content, complaint):
    path = tmp_path / "notes.wav"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=complaint) as caught:
        heard(path)
    assert str(path) in str(caught.value)
    assert "WAV, FLAC or OGG is expected" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_without_samples_is_said_to_hold_no_audio(tmp_path):
    path = tmp_path / "empty.wav"
    for rate_hz in (RATE_HZ, 48_000):
        soundfile.write(path, NOISE[:0], rate_hz)
        with pytest.raises(RecordingError, match=f"recording '{path}': holds no audio"):
            heard(path)


def test_a_missing_file_a_directory_and_an_unreadable_file_each_say_so(tmp_path):
    with pytest.raises(RecordingError, match=r"absent\.wav': No such file"):
        heard(tmp_path / "absent.wav")
    with pytest.raises(RecordingError, match="Is a directory"):
        heard(tmp_path)
    secret = tmp_path / "secret.wav"
    soundfile.write(secret, NOISE, RATE_HZ)
    secret.chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)  # root reads everything
    try:
        with pytest.raises(RecordingError, match=r"secret\.wav': Permission denied; name a readable audio file"):
            heard(secret)
    finally:
        os.seteuid(os.getuid())


def test_a_channel_that_is_not_there_names_those_that_are(tmp_path):
    path = tmp_path / "two.wav"
    soundfile.write(path, np.zeros((100, 2)), RATE_HZ)
    with pytest.raises(RecordingError, match="no channel 3; it has channels 1 to 2"):
        heard(path, channel=3)


@pytest.mark.parametrize("rate_hz", [1, 3999, 400_000, 2**31 - 1])
def test_a_rate_that_no_recording_has_is_refused(tmp_path, rate_hz):
    path = tmp_path / "odd.wav"
    soundfile.write(path, NOISE, RATE_HZ)
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, 24, rate_hz)
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=f"rate {rate_hz} Hz; 4000 to 384000 Hz can be resampled"):
        heard(path)


def test_half_an_hour_of_audio_is_read_in_flat_memory(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, NOISE[:0], 48_000)
    content = bytearray(path.read_bytes())
    silence_bytes = 1800 * 48_000 * 2
    struct.pack_into("<I", content, 4, len(content) - 8 + silence_bytes)
    struct.pack_into("<I", content, len(content) - 4, silence_bytes)
    path.write_bytes(content)
    os.truncate(path, len(content) + silence_bytes)  # a hole: takes no room on the disk
    program = textwrap.dedent("""
        import pathlib, resource, sys
        from device.edges.wav import AudioFile
        samples = 0
        for number, block in enumerate(AudioFile(pathlib.Path(sys.argv[1]))):
            samples += len(block)
            if number == 30:
                before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(samples, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib)
    """)
    samples, growth_kib = subprocess.check_output([sys.executable, "-c", program, path], text=True).split()
    assert int(samples) == 1800 * RATE_HZ
    assert int(growth_kib) < 2048  # the samples alone would be 57,600


def test_soxr_is_imported_only_to_resample(tmp_path):
    soundfile.write(tmp_path / "16.wav", NOISE, 16_000)
    soundfile.write(tmp_path / "48.wav", NOISE, 48_000)
    program = textwrap.dedent("""
        import sys, pathlib
        from device.edges.wav import AudioFile
        folder = pathlib.Path(sys.argv[1])
        print("soundfile" in sys.modules, end=" ")
        list(AudioFile(folder / "16.wav"))
        print("soxr" in sys.modules, end=" ")
        list(AudioFile(folder / "48.wav"))
        print("soxr" in sys.modules)
    """)
    shown = subprocess.check_output([sys.executable, "-c", program, tmp_path], text=True)
    assert shown.split() == ["False", "False", "True"]


def test_a_recording_whose_chosen_channel_is_silent_names_the_one_that_is_not(tmp_path):
    tone = np.round(8_000 * np.sin(np.arange(16_000) / 5)).astype(np.int16)
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([np.full(16_000, 700, np.int16), tone], axis=1), 16_000)
    for channel, remarks in ((1, 1), (2, 0)):
        recording = AudioFile(path, channel)
        assert recording.remarks == []  # before it was read
        list(recording)
        assert len(recording.remarks) == remarks
    recording = AudioFile(path)
    list(recording)
    assert "set [microphone] channel = 2" in recording.remarks[0]


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_what_is_no_number_and_what_clips_is_said_of_a_recording_of_any_rate(tmp_path, rate_hz):
    sound = (2 * np.sin(np.arange(rate_hz) / 20)).astype(np.float32)
    sound[100:110] = np.nan
    path = tmp_path / "odd.wav"
    soundfile.write(path, sound, rate_hz, subtype="FLOAT")
    recording = AudioFile(path, 3)  # of one channel all are the first
    list(recording)
    assert "10 of its samples are no numbers" in recording.remarks[0]
    assert "it clips" in recording.remarks[1]
