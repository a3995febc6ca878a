"""Whatever arrives, files, tags, topics, properties or bytes of a broker: a result or a documented error, no more."""

import contextlib
import functools
import io
import json
import socket
import threading

import msgspec
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tags import VERSION, tag_of

from device.edges.flac import flac, read_flac
from device.edges.mqtt.link import LinkSettings
from device.edges.mqtt.subscriber import Arrived, Subscriber
from device.edges.wav import AudioFile
from device.errors import BrokerUnavailableError, RecordingError, TagError
from device.message.envelope import MAX_TAG_BYTES, message, parse_tag, read_wav, tag_json, wav
from device.message.receive import check
from device.message.tag import Tag
from device.tools.receiver import Folder, Receiver

RNG = np.random.default_rng(5)
PCM = RNG.integers(-2000, 2000, 3000, np.int16).astype("<i2").tobytes()
TAG = tag_of(PCM)
FILES = {encode.__name__: encode(TAG, PCM, version=VERSION) for encode in (wav, flac)}
many = settings(deadline=None, max_examples=300)
some = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def damaged(draw, original):
    """Bytes of the original overwritten, cut out, put in or doubled; more often near its start, where headers are."""
    data = bytearray(original)
    places = st.integers(0, min(len(data), 120)) | st.integers(0, len(data))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(places)
        match draw(st.sampled_from(["overwrite", "insert", "cut", "double", "end"])):
            case "overwrite":
                new = draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f"]))
                data[at : at + len(new)] = new
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=16))
            case "cut":
                del data[at : at + draw(st.integers(1, 64))]
            case "double":
                data[at:at] = data[at : at + draw(st.integers(1, 64))]
            case "end":
                del data[at:]
    return bytes(data)


any_file = st.binary(max_size=300) | st.binary(max_size=200).map(b"RIFF".__add__) | st.binary(max_size=200).map(
    b"fLaC".__add__
)  # fmt: skip
files = any_file | damaged(FILES["wav"]) | damaged(FILES["flac"])


@many
@given(files)
def test_the_wav_reader_gives_a_tag_and_whole_samples_or_a_tag_error(data):
    with contextlib.suppress(TagError):
        tag, pcm = read_wav(data)
        assert isinstance(tag, Tag)
        assert len(pcm) % 2 == 0


@many
@given(files)
def test_the_flac_reader_gives_a_tag_and_whole_samples_or_a_tag_error(data):
    with contextlib.suppress(TagError):
        tag, pcm = read_flac(data)
        assert isinstance(tag, Tag)
        assert len(pcm) % 2 == 0


@many
@given(files, st.sampled_from(["wakeword/kitchen/request/opted-out", "wakeword/kitchen/request/reviewable"]))
def test_a_damaged_file_never_passes_with_another_sound_or_another_decision(data, topic):
    with contextlib.suppress(TagError):
        received = check(topic, data, None, None, read_flac=read_flac)
        assert received.pcm == PCM
        assert received.tag.review.opt_out == topic.endswith("opted-out")


@many
@given(st.binary(max_size=400) | json_values.map(json.dumps).map(str.encode) | damaged(tag_json(TAG).encode()))
def test_the_tag_parser_gives_a_tag_or_a_tag_error_in_one_printable_line(text):
    try:
        assert isinstance(parse_tag(text), Tag)
    except TagError as error:
        assert str(error).isprintable()
        assert len(str(error)) < 500


@many
@given(st.sampled_from(Tag.__struct_fields__), json_values)
def test_a_tag_with_anything_in_one_field_gives_a_tag_or_a_tag_error(field, value):
    fields = {**msgspec.to_builtins(TAG), field: value}
    with contextlib.suppress(TagError):
        tag = parse_tag(json.dumps(fields).encode())
        assert read_wav(wav(tag, PCM, version=VERSION)) == (tag, PCM)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"schema":', b'[{"a":', b'{"review":{"x":'])
def test_a_deeply_nested_tag_is_a_tag_error(opening):
    with pytest.raises(TagError):
        parse_tag((opening * MAX_TAG_BYTES)[:MAX_TAG_BYTES])


@many
@given(
    st.text(max_size=60) | st.just("wakeword/kitchen/request/opted-out"),
    st.none() | st.text(max_size=20) | st.just("audio/wav"),
    st.none()
    | st.lists(st.tuples(st.sampled_from(["id", "device", "review_opt_out"]) | st.text(), st.text()), max_size=9),
)
def test_any_topic_and_properties_give_a_request_or_a_tag_error_in_one_printable_line(topic, content_type, properties):
    try:
        check(topic, FILES["wav"], content_type, properties, read_flac=read_flac)
    except TagError as error:
        assert str(error).isprintable()
        assert len(str(error)) < 500


class NothingMoreError(Exception):
    """All has been brought."""


class Bringing:
    """A subscriber to which one message comes."""

    kept_s = wanted_s = 0

    def __init__(self, arrived: Arrived) -> None:
        self._arrived = [arrived]

    def connect(self) -> None:
        """It is subscribed."""

    def wait(self, timeout_s: float) -> list[Arrived]:
        if not self._arrived:
            raise NothingMoreError
        return [self._arrived.pop()]

    def acknowledge(self, arrived: Arrived) -> None:
        """It was taken."""


@some
@given(
    st.text(max_size=30) | st.sampled_from(["../../escaped", "/escaped", "..", "a\0b", "a/b", "x" * 5000]),
    st.text(max_size=30) | st.sampled_from(["../kitchen", "kitchen\n"]),
    st.text(max_size=60),
    st.sampled_from([wav, flac]),
)
def test_receive_writes_nothing_outside_its_folder_whatever_ids_and_names_arrive(
    tmp_path_factory, request_id, device, source, encode
):
    root = tmp_path_factory.mktemp("root")
    for changes in ({"id": request_id}, {"device": device}, {"source": source}):
        with contextlib.suppress(UnicodeEncodeError, soundfile.LibsndfileError):  # what no file could carry
            parts = message(
                tag_of(PCM, **changes), PCM, prefix="wakeword", encode=functools.partial(encode, version=VERSION)
            )
            arrived = Arrived(parts.topic, parts.payload)
            receiver = Receiver(Bringing(arrived), show=lambda _tag, _path: None, folder=Folder(root / "requests"))
            with contextlib.suppress(NothingMoreError):
                receiver.run(count=None, timeout_s=None)
    names = {str(path.relative_to(root)) for path in root.rglob("*")}
    assert names <= {"requests", f"requests/{TAG.id}.{encode.__name__}"}


recordings = {}
for kind, subtype in [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "MS_ADPCM"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"),
                      ("AIFF", "PCM_24"), ("AU", "ULAW"), ("W64", "PCM_16"), ("CAF", "ALAC_16")]:  # fmt: skip
    memory = io.BytesIO()
    soundfile.write(memory, RNG.uniform(-0.5, 0.5, (2000, 2)), 22_050, subtype, format=kind)
    recordings[kind, subtype] = memory.getvalue()


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(recordings)).flatmap(lambda kind: damaged(recordings[kind])) | any_file)
def test_any_recording_gives_blocks_or_a_recording_error_in_one_line(tmp_path, data):
    path = tmp_path / "recording"
    path.write_bytes(data)
    try:
        for number, block in enumerate(AudioFile(path)):
            assert block.dtype == np.int16
            assert block.ndim == 1
            assert 0 < len(block) <= 16_000 * 1.1
            if number > 100:
                break  # a header may promise hours of what a codec makes up
    except RecordingError as error:
        assert "\n" not in str(error)
        assert str(path) in str(error)


@contextlib.contextmanager
def broker_that_says(answer):
    """A server that answers each connection's first bytes with the same ones, then closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with contextlib.suppress(OSError):  # the end of the block closes the server
                while True:
                    answer_one(server.accept()[0])

        def answer_one(connection):
            with contextlib.suppress(OSError), connection:  # the client may go at any moment
                connection.settimeout(5)
                connection.recv(4096)
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)


GREETED = b"\x20\x03\x00\x00\x00" + b"\x90\x04\x00\x01\x00\x01"  # MQTT 5: connected; subscription 1 granted


@some
@given(st.binary(max_size=60), st.sampled_from([b"", GREETED[:5], GREETED, GREETED + b"\x32", GREETED + b"\x30"]))
def test_a_broker_that_speaks_garbage_is_a_broker_unavailable_error(garbage, opening):
    with broker_that_says(opening + garbage) as port:
        link = LinkSettings(host="127.0.0.1", port=port, base_topic="wakeword/kitchen", client_id="receive")
        subscriber = Subscriber(link, "wakeword/+/request/+")
        with pytest.raises(BrokerUnavailableError) as caught:  # noqa: PT012 - either step may notice it
            subscriber.connect()
            for _ in range(100):
                subscriber.wait(1.0)
        assert "\n" not in str(caught.value)
        subscriber.close()
