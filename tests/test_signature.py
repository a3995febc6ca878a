"""A signed tag: whatever is changed of it or of its sound is seen; the key is made once and is the owner's alone."""

from __future__ import annotations

import functools
import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from support.broker import Broker, Listener
from support.daemon import Device
from support.tags import VERSION, tag_of

from device.edges import signing
from device.edges.flac import flac
from device.errors import StateFolderError, TagError, UsageError
from device.message.envelope import message, tag_json, wav
from device.message.review import Review, spelled_out
from device.message.signature import parse_keys, parts, signed
from device.tools.known_keys import KnownKeys

REQUEST = Path(__file__).parent / "fixtures" / "hey-jarvis-request.wav"
PCM = bytes(range(256)) * 20
TAG = tag_of(PCM, review=spelled_out(Review(opt_out=True, choice="default", revision=0, changed_at=None)), waited_s=1.5)
OPENSSL_PREFIX = bytes.fromhex("302a300506032b6570032100")  # of an Ed25519 public key in DER


@pytest.fixture
def signer(tmp_path):
    return signing.load_or_make(tmp_path)


@pytest.fixture
def known(signer, tmp_path):
    key = {"device": "kitchen", "algorithm": "Ed25519", "key": signer.public}
    (tmp_path / "keys").write_bytes(msgspec.json.encode(key) + b"\n")
    return KnownKeys(tmp_path / "keys")


def file_of(tag, encode=wav):
    return message(tag, PCM, prefix="wakeword", encode=functools.partial(encode, version=VERSION)).payload


@pytest.mark.parametrize("encode", [wav, flac])
@pytest.mark.parametrize("source", ["mic:USB", "mic:Küche"])
def test_what_the_device_signed_is_believed_in_either_format(signer, known, encode, source):
    tag = signed(msgspec.structs.replace(TAG, source=source), signer.sign)
    known.check(tag, file_of(tag, encode))


@pytest.mark.parametrize(
    "change",
    [
        {
            "review": spelled_out(
                Review(opt_out=False, choice="user", revision=1, changed_at="2026-01-01T00:00:00.000Z")
            )
        },
        {"audio": tag_of(b"\1\0").audio},
        {"waited_s": 0.0},
        {"id": "0193a5c4-1111-7abc-8def-000000000000"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_tag_is_refused(signer, known, change):
    tag = msgspec.structs.replace(signed(TAG, signer.sign), **change)
    with pytest.raises(TagError, match="does not fit"):
        known.check(tag, file_of(tag))


def test_a_tag_without_a_signature_or_of_another_key_or_device_is_refused(signer, known):
    with pytest.raises(TagError, match="it has no signature"):
        known.check(TAG, file_of(TAG))
    other = signed(TAG, signing.Signer(bytes(32)).sign)
    with pytest.raises(TagError, match="does not fit"):
        known.check(other, file_of(other))
    cellar = signed(msgspec.structs.replace(TAG, device="cellar"), signer.sign)
    with pytest.raises(TagError, match="nobody gave the key of the device 'cellar'"):
        known.check(cellar, file_of(cellar))


def test_a_field_that_only_a_newer_version_knows_is_signed_too(signer):
    text = tag_json(TAG).encode()[:-1] + b',"newer":[1]}'
    whole = text[:-1] + b',"signature":' + msgspec.json.encode(signer.sign(text)) + b"}"
    of, signature = parts(whole)
    assert of == text
    assert signing.fits(signer.public, of, signature)
    with pytest.raises(TagError):  # behind the signature nothing may stand: of two fields readers take the last
        parts(whole[:-1] + b',"review":{}}')


def test_openssl_comes_to_the_same_verdict(signer, tmp_path):
    tag = signed(TAG, signer.sign)
    of, signature = parts(tag_json(tag).encode())
    for name, content in (("tag", of), ("sig", signature), ("key", OPENSSL_PREFIX + signer.public)):
        (tmp_path / name).write_bytes(content)
    verify = "openssl pkeyutl -verify -rawin -in tag -sigfile sig -pubin -keyform DER -inkey key"
    assert subprocess.run(verify.split(), cwd=tmp_path, capture_output=True, check=False).returncode == 0
    (tmp_path / "tag").write_bytes(of.replace(b'"opt_out":true', b'"opt_out":false'))
    assert subprocess.run(verify.split(), cwd=tmp_path, capture_output=True, check=False).returncode == 1


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path):
    made = [signing.load_or_make(tmp_path).public for _ in range(2)]
    assert made[0] == made[1]
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_processes_that_make_a_key_at_once_come_to_one(tmp_path):
    code = "import sys, pathlib; from device.edges import signing; sys.stdin.read()\n"
    code += "print(signing.load_or_make(pathlib.Path(sys.argv[1])).public.hex())"
    command = [sys.executable, "-c", code, tmp_path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    several = [subprocess.Popen(command, **pipes) for _ in range(4)]
    for each in several:
        each.stdin.close()
        each.stdin = None
    assert len({each.communicate()[0] for each in several}) == 1


@pytest.mark.parametrize("content", [b"", b"00\n", b"\xff" * 32, b"zz" * 32])
def test_a_damaged_key_is_one_line_that_says_what_to_do(tmp_path, content):
    (tmp_path / signing.KEY_FILE).write_bytes(content)
    with pytest.raises(StateFolderError, match="it is damaged; bring it back from a backup, or delete it"):
        signing.load_or_make(tmp_path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"", "there is no key in it"),
        (b"hello", "key 1 is none"),
        (b'{"device":"kitchen","key":"AAAA"}', "key 1 is none"),
        (b"\xff", "key 1 is none"),
        (b'{"device":"kitchen","key":"%s"}\n' % (b"A" * 43 + b"=") * 2, "key 2 is another one of the device 'kitchen'"),
    ],
)
def test_what_is_no_file_of_keys_is_refused_before_anything_is_received(text, complaint):
    with pytest.raises(UsageError, match=complaint):
        parse_keys(text)


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path) as broker:
        yield broker


def receive(device, *options):
    """The command, once it is subscribed."""
    command = device.command("receive", "--log-format", "json", "--timeout", 60, *options)
    process = subprocess.Popen(command, env=device.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert json.loads(process.stderr.readline())["event"] == "subscribed"
    return process


def test_a_signing_device_is_believed_by_the_key_that_it_shows_and_publishes(tmp_path, broker):
    device = Device(tmp_path, broker.port, review="sign = true")
    key = device.call("review", "key").stdout
    (tmp_path / "keys").write_text(key)
    process = receive(device, "--key", tmp_path / "keys", "--count", 1, "--save-to", tmp_path / "requests")
    device.hear(REQUEST)
    tag = json.loads(process.communicate()[0])
    assert process.returncode == 0
    assert re.fullmatch("[A-Za-z0-9+/]{86}==", tag["signature"])
    with Listener(broker.port, "wakeword/kitchen/key") as listener:
        heard = listener.next()
    assert (heard.retain, heard.payload.decode()) == (True, key.strip())


def test_a_device_that_does_not_sign_is_refused_where_a_key_is_asked_for(tmp_path, broker):
    signs = Device(tmp_path, broker.port, review="sign = true")
    (tmp_path / "keys").write_text(signs.call("review", "key").stdout)
    (tmp_path / "plain").mkdir()
    plain = Device(tmp_path / "plain", broker.port)
    assert "not signed here; [review] sign = true has them signed" in plain.call("review", "key").stderr
    process = receive(plain, "--key", tmp_path / "keys", "--count", 1)
    plain.hear(REQUEST)
    refused = json.loads(process.stderr.readline())
    assert refused["event"] == "refused"
    assert "it has no signature" in refused["message"]
    process.kill()
    process.communicate()


@pytest.mark.parametrize("sign", [False, True])
def test_what_signs_is_loaded_only_where_it_is_asked_for(tmp_path, broker, sign):
    device = Device(tmp_path, broker.port, review=f"sign = {str(sign).lower()}")
    arguments = device.command("run", "--input", REQUEST, "--pace", "fast", "--drain-timeout", 0)[1:]
    code = f"""
import sys
from device.__main__ import main
try:
    main({arguments})
finally:
    print(sorted({{"nacl", "device.edges.signing"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], env=device.env, capture_output=True, text=True, check=False)
    expected = ["device.edges.signing", "nacl"] if sign else []
    assert done.stdout.splitlines()[-1] == str(expected), done.stderr


def test_without_the_library_signing_is_one_line_that_says_what_brings_it(tmp_path):
    device = Device(tmp_path, review="sign = true")
    (tmp_path / "nacl").mkdir()
    (tmp_path / "nacl" / "__init__.py").write_text("raise ImportError('nothing here')")
    command = [sys.executable, "-m", "device", *device.command("run", "--input", REQUEST)[1:]]
    env = device.env | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert done.stderr.splitlines()[-1].endswith(
        "[review] sign = true: signatures need PyNaCl (nothing here); scripts/setup --extras sign brings it"
    )
    assert "Traceback" not in done.stderr
