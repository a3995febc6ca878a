"""A subscriber takes only what agrees with its tag, each request once, and acknowledges only what it has saved."""

import hashlib
import re
import signal
import socket
import stat
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import MQTTProtocolVersion
from support.broker import Broker, await_true
from support.publisher import Publisher
from support.receiving import OPTED_IN, PCM, TAG, Command, new_tag, sent
from support.tags import REQUEST_ID, tag_of, tagged

from device.edges.flac import flac, read_flac
from device.errors import RecorderError, TagError
from device.message.envelope import read_wav, wav
from device.message.erasure import erasure_json
from device.message.receive import Deduplicator, Repeat, check, sampled
from device.message.review import spelled_out, uses
from device.message.tag import AudioFormat
from device.tools.receiver import Folder


def checked(parts):
    return check(parts.topic, parts.payload, parts.content_type, parts.user_properties, read_flac=read_flac)


def spelled(review):
    """A tag as the store hands it out to be sent: its choice in standard words, too."""
    return msgspec.structs.replace(TAG, review=spelled_out(review))


@settings(deadline=None, max_examples=60)
@given(tagged(min_samples=1), st.sampled_from([wav, flac]), st.sampled_from(["wakeword", "a/b c/ж"]))
def test_whatever_the_recorder_sends_passes(request_, encode, prefix):
    tag, pcm = request_
    tag = msgspec.structs.replace(tag, duration_s=len(pcm) / 32_000)
    received = checked(sent(tag, pcm, encode, prefix))
    assert (received.tag, received.pcm) == (tag, pcm)


@pytest.mark.parametrize("properties", [None, (), (("traceparent", "00-1"),)])
def test_a_message_that_came_by_3_1_1_passes_without_properties(properties):
    parts = replace(sent(), user_properties=properties, content_type=None)
    assert checked(parts).tag == TAG


@pytest.mark.parametrize("review", [TAG.review, OPTED_IN], ids=["opted out", "opted in"])
def test_a_choice_in_standard_words_passes_where_all_parts_say_the_same(review):
    assert checked(sent(spelled(review))).tag.review.use == uses(opt_out=review.opt_out)


@pytest.mark.parametrize(("opt_out", "named"), [(True, "human_review"), (True, "ai_training"), (False, "human_review")])
def test_a_choice_that_standard_words_contradict_is_refused(opt_out, named):
    other = msgspec.structs.replace(uses(opt_out=opt_out), **{named: getattr(uses(opt_out=not opt_out), named)})
    review = msgspec.structs.replace(TAG.review if opt_out else OPTED_IN, use=other)
    with pytest.raises(TagError, match=rf"opt_out is {opt_out}, but in its use (cawg\.)?{named} is"):
        checked(sent(msgspec.structs.replace(TAG, review=review)))


def test_a_request_of_a_version_without_standard_words_passes():
    without = [pair for pair in sent().user_properties if pair[0] != "Content-Usage"]
    assert checked(replace(sent(), user_properties=without)).tag == TAG


def test_a_reviewable_request_whose_property_forbids_training_is_refused():
    parts = sent(spelled(OPTED_IN))
    forbidden = (*parts.user_properties, ("Content-Usage", "train-ai=n"))
    with pytest.raises(TagError, match="property Content-Usage is 'train-ai=n', the tag is reviewable"):
        checked(replace(parts, user_properties=forbidden))


def test_properties_of_others_do_no_harm():
    parts = sent()
    assert checked(replace(parts, user_properties=(("id2", "x"), *reversed(parts.user_properties)))).tag == TAG


@pytest.mark.parametrize(
    ("topic", "complaint"),
    [
        ("wakeword/kitchen/request/reviewable", "topic's decision is 'reviewable', tag says 'opted-out'"),
        ("wakeword/cellar/request/opted-out", "topic's device is 'cellar', tag says 'kitchen'"),
        ("wakeword/kitchen/request/opted-out/", "it must end in"),
        ("kitchen/request/opted-out", "it must end in"),
        ("wakeword/kitchen/request/opted-out\n", "it must end in"),
        ("wakeword/kitchen/event", "it must end in"),
        ("", "it must end in"),
        ("\x1b[31m" * 1000, r"topic '\\x1b\[31m"),
    ],
)
def test_a_topic_that_says_something_else_is_refused(topic, complaint):
    with pytest.raises(TagError, match=complaint) as caught:
        checked(replace(sent(), topic=topic))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "0193a5c4-1111-7abc-8def-000000000000"),
        ("device", "cellar"),
        ("wake_word", "alexa"),
        ("captured_at", "2026-11-22T20:43:21.653Z"),
        ("review_opt_out", "false"),
        ("review_opt_out", "True"),
        ("review_choice", "user"),
        ("review_revision", "1"),
        ("review_revision", "00"),
        ("Content-Usage", "train-ai=y"),
    ],
)
def test_a_property_that_says_something_else_is_refused(name, value):
    parts = sent(spelled(TAG.review))
    others = tuple(pair for pair in parts.user_properties if pair[0] != name)
    with pytest.raises(TagError, match=f"property {name} is '{value}', tag says "):
        checked(replace(parts, user_properties=(*others, (name, value))))
    with pytest.raises(TagError, match=f"property {name} is missing"):
        checked(replace(parts, user_properties=others))
    with pytest.raises(TagError, match=f"property {name} is "):
        checked(replace(parts, user_properties=(*parts.user_properties, (name, value))))


def test_a_content_type_of_another_format_is_refused():
    with pytest.raises(TagError, match="content type is 'audio/flac', the file says 'audio/wav'"):
        checked(replace(sent(), content_type="audio/flac"))


def test_a_sound_that_is_not_the_tags_is_refused():
    other = PCM[:-1] + b"\0"
    with pytest.raises(TagError, match="tag's sha256 is"):
        checked(sent(TAG, other))
    with pytest.raises(TagError, match="tag says samples 88320 to 90880, the file holds 2559"):
        checked(sent(TAG, PCM[:-2]))
    with pytest.raises(TagError, match=r"tag says 3\.0 s, the file holds 0\.16 s"):
        checked(sent(tag_of(PCM, duration_s=3.0), PCM))


@pytest.mark.parametrize("request_id", ["../../etc/passwd", "0193a5c4-1111-4abc-8def-0123456789ab", REQUEST_ID + "\n"])
def test_an_id_that_is_no_uuidv7_is_refused(request_id):
    with pytest.raises(TagError, match=r"\$\.id"):
        checked(sent(tag_of(PCM, id=request_id)))


def test_a_repeat_is_told_from_news_and_remembered_only_when_kept():
    seen = Deduplicator()
    assert seen.look(TAG) is Repeat.NEW
    assert seen.look(TAG) is Repeat.NEW
    seen.remember(TAG)
    assert seen.look(tag_of(PCM, waited_s=3.0)) is Repeat.SAME


def test_an_id_with_another_sound_is_refused():
    seen = Deduplicator()
    seen.remember(TAG)
    with pytest.raises(TagError, match="one id has one sound"):
        seen.look(tag_of(PCM, audio=AudioFormat(sha256=hashlib.sha256(b"other").hexdigest())))


def test_a_repeat_may_tighten_and_never_loosen():
    seen = Deduplicator()
    seen.remember(tag_of(PCM, review=OPTED_IN))
    assert seen.look(TAG) is Repeat.TIGHTENED
    seen.remember(TAG)
    assert seen.look(TAG) is Repeat.SAME
    with pytest.raises(TagError, match="never loosens"):
        seen.look(tag_of(PCM, review=OPTED_IN))


def test_only_the_last_ids_are_remembered():
    seen = Deduplicator(limit=3)
    tags = [new_tag() for _ in range(5)]
    for tag in tags:
        seen.remember(tag)
    assert [seen.look(tag) for tag in tags] == [Repeat.NEW] * 2 + [Repeat.SAME] * 3


def test_the_id_forgotten_first_is_the_one_that_was_kept_longest_ago_not_the_one_that_came_first():
    seen = Deduplicator(limit=2)
    first, second, third = (new_tag(review=OPTED_IN) for _ in range(3))
    seen.remember(first)
    seen.remember(second)
    tightened = msgspec.structs.replace(first, review=TAG.review)
    seen.remember(tightened)
    seen.remember(third)
    assert [seen.look(tag) for tag in (tightened, second, third)] == [Repeat.SAME, Repeat.NEW, Repeat.SAME]


def test_looking_at_an_id_keeps_it_no_longer():
    seen = Deduplicator(limit=2)
    first, second, third = (new_tag() for _ in range(3))
    seen.remember(first)
    seen.remember(second)
    assert seen.look(first) is Repeat.SAME
    seen.remember(third)
    assert seen.look(first) is Repeat.NEW


def test_a_saved_file_is_whole_private_and_alone(tmp_path):
    folder = tmp_path / "new" / "requests"
    path = Folder(folder).save(TAG, sent().payload)
    assert path == folder / f"{REQUEST_ID}.wav"
    assert path.read_bytes() == sent().payload
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.iterdir()) == [path]


def test_a_saved_link_is_replaced_and_never_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    folder = tmp_path / "requests"
    folder.mkdir()
    (folder / f"{REQUEST_ID}.wav").symlink_to(outside)
    Folder(folder).save(TAG, sent().payload)
    assert outside.read_bytes() == b"precious"
    assert (folder / f"{REQUEST_ID}.wav").read_bytes() == sent().payload


def test_a_request_saved_in_another_format_takes_the_place_of_the_first(tmp_path):
    folder = Folder(tmp_path)
    folder.save(TAG, sent().payload)
    path = folder.save(TAG, sent(encode=flac).payload)
    assert list(tmp_path.iterdir()) == [path]
    assert folder.saved(REQUEST_ID) == TAG


def test_a_damaged_file_counts_as_none(tmp_path):
    folder = Folder(tmp_path)
    folder.save(TAG, sent().payload).write_bytes(b"RIFF")
    assert folder.saved(REQUEST_ID) is None


def test_a_folder_that_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RecorderError, match="Not a directory"):
        Folder(tmp_path / "file" / "requests")
    folder = tmp_path / "requests"
    (folder / f"{REQUEST_ID}.wav").mkdir(parents=True)
    with pytest.raises(RecorderError, match=r"cannot be written: Is a directory; the broker keeps"):
        Folder(folder).save(TAG, sent().payload)
    assert [path.name for path in folder.iterdir()] == [f"{REQUEST_ID}.wav"]


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with Broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.mark.parametrize("encode", [wav, flac])
@pytest.mark.parametrize("version", [MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311])
def test_the_command_prints_the_tag_and_saves_the_file(broker, tmp_path, encode, version):
    tag = new_tag()
    with Command(broker.port, "--save-to", tmp_path / "requests", "--count", "1") as command:
        with Publisher(broker.port, version=version) as publisher:
            publisher.publish(sent(tag, encode=encode))
        line = command.line()
        assert command.status() == 0
    path = tmp_path / "requests" / f"{tag.id}.{encode.__name__}"
    assert line == {**msgspec.to_builtins(tag), "file": str(path)}
    assert path.read_bytes() == sent(tag, encode=encode).payload


def test_a_subscriber_that_speaks_3_1_1_receives_too(broker, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text('[mqtt]\nprotocol = "3.1.1"\n')
    tag = new_tag()
    with Command(broker.port, "--count", "1", config=config) as command, Publisher(broker.port) as publisher:
        publisher.publish(sent(tag))
        assert command.line()["id"] == tag.id
        assert command.status() == 0


def test_repeats_are_dropped_refused_messages_named_and_neither_counts(broker, tmp_path):
    first, second = new_tag(), new_tag()
    liar = replace(sent(first), topic="wakeword/kitchen/request/reviewable")
    with Command(broker.port, "--save-to", tmp_path, "--count", "2") as command, Publisher(broker.port) as publisher:
        for parts in (sent(first), sent(first), liar, replace(liar, payload=b"\x1b[31m"), sent(second)):
            publisher.publish(parts)
        assert [command.line()["id"], command.line()["id"]] == [first.id, second.id]
        assert command.status() == 0
        refused = command.events("refused")
    assert len(refused) == 2
    assert "topic's decision is 'reviewable', tag says 'opted-out'" in refused[0]["message"]
    assert refused[1]["message"].isprintable()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_request_opted_out_meanwhile_takes_the_place_of_the_reviewable_file(broker, tmp_path):
    open_tag = new_tag(review=OPTED_IN)
    closed_tag = msgspec.structs.replace(open_tag, review=msgspec.structs.replace(OPTED_IN, opt_out=True))
    with Command(broker.port, "--save-to", tmp_path) as command, Publisher(broker.port) as publisher:
        for tag in (open_tag, closed_tag):
            publisher.publish(sent(tag))
            assert command.line()["review"]["opt_out"] is tag.review.opt_out
        publisher.publish(sent(open_tag))
        command.await_event("refused")
    [path] = tmp_path.iterdir()
    assert read_wav(path.read_bytes())[0].review.opt_out


def test_with_a_client_id_nothing_is_lost_while_the_subscriber_is_killed_and_away(broker, tmp_path):
    before, away, after = new_tag(), new_tag(), new_tag()
    options = ["--save-to", tmp_path, "--client-id", "archive"]
    with Publisher(broker.port) as publisher:
        with Command(broker.port, *options) as command:
            publisher.publish(sent(before))
            assert command.line()["id"] == before.id
            command.process.send_signal(signal.SIGKILL)
            command.status()
        publisher.publish(sent(away))
        with Command(broker.port, *options) as command:
            publisher.publish(sent(after))
            assert {command.line()["id"], command.line()["id"]} == {away.id, after.id}
    assert {path.stem for path in tmp_path.iterdir()} == {before.id, away.id, after.id}


def test_what_was_acknowledged_does_not_come_again(broker):
    with Publisher(broker.port) as publisher:
        for tag in (new_tag(), new_tag()):
            with Command(broker.port, "--client-id", "reader", "--count", "1") as command:
                publisher.publish(sent(tag))
                assert command.line()["id"] == tag.id
                assert command.status() == 0


def test_what_could_not_be_saved_is_not_acknowledged_and_comes_again(broker, tmp_path):
    tag = new_tag()
    options = ["--save-to", tmp_path, "--client-id", "full"]
    (tmp_path / f"{tag.id}.wav").mkdir()
    with Publisher(broker.port) as publisher:
        with Command(broker.port, *options) as command:
            publisher.publish(sent(tag))
            assert command.status() == 1
            assert "cannot be written" in command.events("error")[0]["message"]
        (tmp_path / f"{tag.id}.wav").rmdir()
        with Command(broker.port, *options, "--count", "1") as command:
            assert command.line()["id"] == tag.id
            assert command.status() == 0


def test_a_repeat_is_known_after_a_restart_by_the_file(broker, tmp_path):
    tag, other = new_tag(), new_tag()
    Folder(tmp_path).save(tag, sent(tag).payload)
    with Command(broker.port, "--save-to", tmp_path, "--count", "1") as command, Publisher(broker.port) as publisher:
        publisher.publish(sent(tag))
        publisher.publish(sent(other))
        assert command.line()["id"] == other.id
        assert command.status() == 0


def test_a_broker_that_restarts_is_come_back_to(tmp_path):
    with Broker(tmp_path) as broker, Command(broker.port, "--count", "1") as command:
        broker.restart()
        command.await_event("subscribed", times=2)
        assert len(command.events("broker-lost")) == 1
        tag = new_tag()
        with Publisher(broker.port) as publisher:
            publisher.publish(sent(tag))
        assert command.line()["id"] == tag.id
        assert command.status() == 0


def test_a_broker_that_is_not_there_is_status_69_and_says_what_to_check():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and not listening: nobody else can be there
        with Command(taken.getsockname()[1], await_subscription=False) as command:
            assert command.status() == 69
        assert "nothing listens there; is the broker running?" in command.events("error")[0]["message"]


def test_a_refused_login_is_status_69(tmp_path):
    broker = Broker(tmp_path, anonymous=False)
    broker.settings.append(broker.password_file(reader="secret"))
    with broker, Command(broker.port, await_subscription=False) as command:
        assert command.status() == 69
        assert "check [mqtt] username" in command.events("error")[0]["message"]


def test_a_login_with_a_password_from_a_file_receives(tmp_path):
    broker = Broker(tmp_path, anonymous=False)
    broker.settings.append(broker.password_file(reader="secret"))
    login = {"username": "reader", "password": "secret"}
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "password").chmod(0o600)
    config = tmp_path / "config.toml"
    config.write_text(f'[mqtt]\nusername = "reader"\npassword_file = "{tmp_path}/password"\n')
    tag = new_tag()
    with broker, Command(broker.port, "--count", "1", config=config) as command:
        with Publisher(broker.port, **login) as publisher:
            publisher.publish(sent(tag))
        assert command.line()["id"] == tag.id


def test_a_count_not_reached_in_time_is_status_1_and_a_time_alone_is_0(broker):
    with Command(broker.port, "--timeout", "0.3", "--count", "1") as command:
        assert command.status() == 1
    with Command(broker.port, "--timeout", "0.3") as command:
        assert command.status() == 0


def test_a_client_id_that_no_broker_must_take_is_a_usage_error(broker):
    with Command(broker.port, "--client-id", "a/b", await_subscription=False) as command:
        assert command.status() == 2
        assert "letters, digits" in command.events("error")[0]["message"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_it_in_order_with_what_came_before_kept(broker, tmp_path, number):
    tag = new_tag()
    with Command(broker.port, "--save-to", tmp_path / "requests") as command, Publisher(broker.port) as publisher:
        publisher.publish(sent(tag))
        assert command.line()["id"] == tag.id
        command.process.send_signal(number)
        assert command.status() == 0
        assert command.events("error") == []
        goodbye = rf"Received DISCONNECT from \S+-receive-{command.process.pid}\b"
        await_true(lambda: re.search(goodbye, broker.log.read_text()), goodbye)
    assert [path.stem for path in (tmp_path / "requests").iterdir()] == [tag.id]


def test_a_signal_before_the_count_is_reached_is_status_1(broker):
    with Command(broker.port, "--count", "1") as command:
        command.process.terminate()
        assert command.status() == 1


def erasure(*tags, device="kitchen"):
    return f"wakeword/{device}/erase", erasure_json([tag.id for tag in tags])


def test_what_its_device_asks_to_be_erased_is_deleted_and_no_repeat_of_it_is_kept(broker, tmp_path):
    kept, erased, last = new_tag(), new_tag(), new_tag()
    with Command(broker.port, "--save-to", tmp_path) as command, Publisher(broker.port) as publisher:
        for tag in (kept, erased):
            publisher.publish(sent(tag))
            command.line()
        publisher.client.publish(*erasure(erased), qos=1).wait_for_publish(5)
        command.await_event("erased")
        publisher.publish(sent(erased))
        publisher.publish(sent(last))
        assert command.line()["id"] == last.id
    assert {path.stem for path in tmp_path.iterdir()} == {kept.id, last.id}
    assert command.events("erased")[0]["ids"] == [erased.id]


@pytest.mark.parametrize(
    ("topic", "payload", "event"),
    [
        ("wakeword/cellar/erase", erasure_json([TAG.id]), "erased"),
        ("wakeword/kitchen/erase", b'{"schema":1,"ids":["../../etc/passwd"]}', "refused"),
        ("wakeword/kitchen/erase", b'{"schema":1,"ids":[]}', "refused"),
        ("wakeword/kitchen/erase", b"\xff" * 70_000, "refused"),
    ],
    ids=["another device", "no id", "no ids", "garbage"],
)
def test_nobody_else_and_nothing_else_erases(broker, tmp_path, topic, payload, event):
    with Command(broker.port, "--save-to", tmp_path) as command, Publisher(broker.port) as publisher:
        publisher.publish(sent())
        command.line()
        publisher.client.publish(topic, payload, qos=1).wait_for_publish(5)
        command.await_event(event)
    assert [path.stem for path in tmp_path.iterdir()] == [REQUEST_ID]


def test_an_erasure_reaches_a_subscriber_that_was_away(broker, tmp_path):
    tag = new_tag()
    options = ["--save-to", tmp_path, "--client-id", "away"]
    with Publisher(broker.port) as publisher:
        with Command(broker.port, *options) as command:
            publisher.publish(sent(tag))
            command.line()
        publisher.client.publish(*erasure(tag), qos=1).wait_for_publish(5)
        with Command(broker.port, *options) as command:
            command.await_event("erased")
    assert list(tmp_path.iterdir()) == []


def test_a_reviewer_keeps_the_same_small_sample_of_reviewable_requests_whoever_counts(broker, tmp_path):
    tags = [new_tag(review=OPTED_IN) for _ in range(40)]
    private = [new_tag() for _ in range(40)]
    options = ["--for-review", "--sample", "0.2"]
    with (
        Command(broker.port, *options, "--save-to", tmp_path / "a") as first,
        Command(broker.port, *options, "--save-to", tmp_path / "b") as second,
        Publisher(broker.port) as publisher,
    ):
        for tag in (each for pair in zip(tags, private, strict=True) for each in pair):
            publisher.publish(sent(tag))
        for command in (first, second):
            await_true(lambda c=command: len(c.events("kept")) + len(c.events("not-sampled")) == 40, command.said)
    kept = {path.stem for path in (tmp_path / "a").iterdir()}
    assert kept == {path.stem for path in (tmp_path / "b").iterdir()} == {t.id for t in tags if sampled(t.id, 0.2)}
    assert kept == {line["id"] for line in first.events("kept")}
    assert {line["id"] for line in first.events("not-sampled")} == {tag.id for tag in tags} - kept
    assert kept
    assert len(kept) < 40


@given(st.floats(0.001, 1), st.integers(0, 2**32))
@settings(deadline=None, max_examples=50)
def test_a_sample_is_of_its_size_and_a_larger_one_holds_it(share, seed):
    ids = [f"{seed:08x}-{number:04x}-7abc-8def-0123456789ab" for number in range(2_000)]
    chosen = {one for one in ids if sampled(one, share)}
    spread = 5 * (2_000 * share * (1 - share)) ** 0.5 + 1
    assert abs(len(chosen) - 2_000 * share) <= spread
    assert chosen <= {one for one in ids if sampled(one, min(1, share * 1.5))}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--for-review"], "--for-review keeps a sample; --save-to says where"),
        (["--sample", "0.5"], "--sample only goes with --for-review"),
        (["--for-review", "--sample", "0"], "Invalid value for '--sample'"),
    ],
)
def test_a_sample_without_a_reviewer_or_a_place_is_a_usage_error(broker, options, complaint):
    with Command(broker.port, *options, await_subscription=False) as command:
        assert command.status() == 2
    assert complaint in command.said[-1]["message"]
