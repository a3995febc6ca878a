"""``configure``: three questions, answered by a person or by options; nothing is written before all of them are."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest
from support.broker import Broker, free_port
from support.daemon import PROGRAM

from device.config import settings as config
from device.hil.virtual import virtual_microphone

PATIENCE_S = 60


@pytest.fixture(scope="module")
def microphone():
    with virtual_microphone() as microphone:
        yield microphone


@pytest.fixture
def broker(tmp_path):
    """One that wants a login."""
    (tmp_path / "broker").mkdir()
    broker = Broker(tmp_path / "broker", anonymous=False)
    broker.settings[:] = [broker.password_file(kitchen="geheim")]
    with broker:
        yield broker


@pytest.fixture
def place(tmp_path):
    return tmp_path / "etc" / "config.toml"


def environment(place, microphone):
    """What lets it hear the microphone, or none at all, whatever this machine has."""
    if microphone:
        return microphone.env
    alsa = place.parents[1] / "alsa.conf"
    alsa.write_text("pcm.default { type hw card 99 }\nctl.default { type hw card 99 }\n")
    return os.environ | {"ALSA_CONFIG_PATH": str(alsa), "PULSE_SERVER": "none"}


def command(place, *arguments):
    return [str(PROGRAM), "configure", "--config", str(place), *map(str, arguments)]


def configure(place, microphone, *arguments, status=0):
    """Call it without a terminal; nothing is left behind where it fails."""
    env = environment(place, microphone)
    done = subprocess.run(
        command(place, *arguments),
        check=False,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == status, done
    if status:
        assert done.stdout == ""
        assert not place.parent.exists() or list(place.parent.iterdir()) == []
    return done.stderr if status else done.stdout


class Conversation:
    """The command on a terminal, and what it shows there."""

    def __init__(self, place, microphone, *arguments, term="xterm"):
        env = environment(place, microphone)
        self._leader, follower = pty.openpty()
        self._process = subprocess.Popen(
            command(place, *arguments), env=env | {"TERM": term}, stdin=follower, stdout=follower, stderr=follower,
            start_new_session=True,
        )  # fmt: skip
        os.close(follower)
        self._new, self.shown = "", ""

    def until(self, text):
        deadline = time.monotonic() + PATIENCE_S
        while text not in self._new:
            assert time.monotonic() < deadline, self._new
            assert self._read(), f"it ended before {text!r}: {self._new}"
        self._new = self._new.partition(text)[2]

    def _read(self):
        if not select.select([self._leader], [], [], 1)[0]:
            return True
        try:
            came = os.read(self._leader, 65_536).decode()
        except OSError:
            return False
        self._new += came
        self.shown += came
        return bool(came)

    def say(self, line):
        os.write(self._leader, f"{line}\r".encode())

    def interrupt(self):
        self._process.send_signal(signal.SIGINT)

    def hang_up(self):
        os.write(self._leader, b"\x04")

    def end(self):
        while self._read():
            pass
        os.close(self._leader)
        return self._process.wait(PATIENCE_S)


def test_unattended_it_hears_the_microphone_tries_the_broker_and_writes(place, microphone, broker, tmp_path):
    (tmp_path / "password").write_text("geheim\n")
    address = f"kitchen@127.0.0.1:{broker.port}"
    arguments = ["--yes", "--broker", address, "--password-file", tmp_path / "password", "--wake-word", "alexa"]
    said = configure(place, microphone, *arguments, "--microphone", "virtual")
    assert re.search(rf"written: {place}\n.*\n  microphone  virtual, channel 1\n  wake word   alexa\n", said)
    settings = config.load(place)
    assert (settings.microphone.name, settings.wake.words, settings.mqtt.port) == ("virtual", ("alexa",), broker.port)
    assert (place.parent / "mqtt-password").read_text() == "geheim\n"


def test_unattended_the_default_microphone_and_word_are_taken(place, microphone, broker, tmp_path):
    (tmp_path / "password").write_text("geheim")
    address = f"kitchen@127.0.0.1:{broker.port}"
    configure(place, microphone, "--yes", "--broker", address, "--password-file", tmp_path / "password")
    settings = config.load(place)
    assert settings.wake.words == ("hey_jarvis",)
    assert settings.microphone.name == "default"


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        ((), 2, "nobody can be asked here: standard input is no terminal, and --microphone is not given"),
        (("--microphone", "x", "--wake-word", "alexa"), 2, "--broker is not given"),
        (("--yes", "--microphone", "nothing like it"), 69, 'no input device has "nothing like it" in its name'),
        (("--yes", "--wake-word", "hey_jarvi"), 78, "did you mean 'hey_jarvis'?"),
        (("--yes", "--broker", "http://x"), 2, "http:// is not spoken here"),
        (("--yes", "--broker", "127.0.0.1:{closed}"), 69, "nothing listens there"),
        (("--yes", "--broker", "127.0.0.1:{broker}"), 69, "check [mqtt] username"),
        (("--yes", "--broker", "k@127.0.0.1:{broker}", "--password-file", "/no/such"), 78, "cannot be read"),
        (("--yes", "--broker", "mqtts://127.0.0.1:{broker}"), 69, "no TLS connection"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_written(place, microphone, broker, arguments, status, complaint):
    ports = {"broker": broker.port, "closed": free_port()}
    said = configure(place, microphone, *(argument.format(**ports) for argument in arguments), status=status)
    assert complaint in said
    assert said.count("\n") == 1


def test_without_a_microphone_nothing_is_written_unattended(place):
    assert "no microphone is here; plug it in" in configure(place, None, "--yes", status=69)


def test_a_configuration_that_is_there_is_described_and_stays_as_it_is(place, microphone):
    place.parent.mkdir()
    place.write_text('[wake]\nwords = ["alexa"]\n# mine\n')
    said = configure(place, microphone, "--yes", "--wake-word", "hey_mycroft", "--broker", "elsewhere")
    assert said.startswith(f"kept: {place}\n")
    assert "wake word   alexa" in said
    assert place.read_text() == '[wake]\nwords = ["alexa"]\n# mine\n'


def test_a_wrong_configuration_that_is_there_stops_it(place):
    place.parent.mkdir()
    place.write_text("[wake]\nwrods = 1\n")
    done = subprocess.run(command(place, "--yes"), check=False, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout) == (78, "")
    assert "did you mean 'words'?" in done.stderr


def test_a_person_is_asked_three_things_and_for_the_login_that_the_broker_wants(place, microphone, broker):
    talk = Conversation(place, microphone)
    talk.until("Which microphone? Say something into it")
    talk.until("Virtual Microphone")
    talk.say("")
    talk.until("Which wake word?")
    talk.say("gey_jarvis")
    talk.until("did you mean 'hey_jarvis'?")
    talk.say("1")
    talk.until("Which MQTT broker?")
    talk.say("nonsense nonsense")
    talk.until("is no address")
    talk.say(f"127.0.0.1:{broker.port}")
    talk.until("Its login")
    talk.say("kitchen")
    talk.until("Password of kitchen")
    talk.say("wrong")
    talk.until("It cannot be used")
    talk.say("")
    talk.until("Password of kitchen")
    talk.say("geheim")
    talk.until("written:")
    assert talk.end() == 0
    assert "geheim" not in talk.shown
    settings = config.load(place)
    assert settings.microphone.name == "Virtual Microphone"
    assert settings.wake.words == ("alexa",)
    assert (settings.mqtt.username, settings.mqtt.host) == ("kitchen", "127.0.0.1")
    assert (place.parent / "mqtt-password").read_text() == "geheim\n"


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_ctrl_c_at_each_question_writes_nothing_and_the_same_command_goes_on(place, microphone, term):
    for questions in range(3):
        talk = Conversation(place, microphone, term=term)
        for question in ["Which microphone?", "Which wake word?", "Which MQTT broker?"][:questions]:
            talk.until(question)
            talk.say("")
        talk.until(["Which microphone?", "Which wake word?", "Which MQTT broker?"][questions])
        talk.interrupt()
        assert talk.end() == 130
        assert "Traceback" not in talk.shown
        assert not place.parent.exists()


def test_a_terminal_that_says_no_more_is_one_line(place, microphone):
    talk = Conversation(place, microphone, "--microphone", "virtual", "--wake-word", "alexa")
    talk.until("Broker [localhost]:")
    talk.hang_up()
    assert talk.end() == 2
    assert "error: nobody answered; call this again" in talk.shown
    assert not place.parent.exists()


def test_a_person_may_plug_the_microphone_in_later_and_keep_a_broker_that_is_away(place):
    talk = Conversation(place, None, "--wake-word", "alexa")
    talk.until("No microphone is here.")
    talk.say("")
    talk.until("No microphone is here.")
    talk.say("later")
    talk.until("Which MQTT broker?")
    talk.say(f"127.0.0.1:{free_port()}")
    talk.until("nothing listens there")
    talk.until("'keep' to go on with it")
    talk.say("keep")
    talk.until("written:")
    assert talk.end() == 0
    assert config.load(place).microphone.name == ""
